// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// grantCredentials is the grant type of clients that act as themselves (RFC 6749 §4.4).
const grantCredentials = "client_credentials"

// fromDirectory is a client that an administrator registered. A private-use redirect URI of it needs no list.
func fromDirectory(d *directory.Client) *Client {
	c := &Client{
		ID: d.Name, Origin: Registered, Name: d.DisplayName,
		RedirectURIs: redirect.Rules{AnyPrivate: true}.Allowed(d.RedirectURIs),
		Method:       d.Method, JWKS: d.JWKS, JWKSURI: d.JWKSURI, SecretSHA256: d.SecretSHA256, Credentials: d.Credentials, Trusted: d.Trusted,
	}
	if len(c.RedirectURIs) > 0 {
		c.Grants = []string{metadata.GrantCode, metadata.GrantRefresh}
	}
	if d.Credentials != nil {
		c.Grants = append(c.Grants, grantCredentials)
	}
	// An administrator's new key is not for people to agree to.
	c.Fingerprint = fingerprint(d.UID, c.Name, c.RedirectURIs, string(c.Method))
	return c
}

// fromDocument is a client with a document. Its methods are none and private_key_jwt; a public one keeps its keys, which it
// may use (CIMD-11).
func fromDocument(m *metadata.Client, host string, scopes func() []string) *Client {
	c := &Client{
		ID: m.ID, Origin: Metadata, Name: m.Name, Host: host, RedirectURIs: m.RedirectURIs, Grants: grants(m),
		Scopes: strings.Fields(m.Scope), Method: method(m.Method), JWKS: m.JWKS, JWKSURI: m.JWKSURI,
	}
	if scopes != nil {
		c.Scopes = m.Scopes(scopes())
	}
	c.Fingerprint = fingerprint("", c.Name, c.RedirectURIs, string(c.Method), string(c.JWKS), c.JWKSURI)
	return c
}

// fromRegistration is a client that registered itself. Redirect URIs that the rules do not allow any more are gone.
func fromRegistration(row store.Client, m *metadata.Client, rules redirect.Rules) *Client {
	c := &Client{
		ID: row.ID, Origin: Dynamic, Name: m.Name, RedirectURIs: rules.Allowed(m.RedirectURIs), Grants: grants(m),
		Scopes: strings.Fields(m.Scope), Method: method(m.Method), JWKS: m.JWKS, JWKSURI: m.JWKSURI, used: row.UseTime,
	}
	if row.SecretHash != (store.Hash{}) {
		c.SecretSHA256 = [][32]byte{row.SecretHash}
	}
	c.Fingerprint = fingerprint(row.ID, c.Name, c.RedirectURIs, string(c.Method), string(c.JWKS), c.JWKSURI)
	return c
}

// grants returns the grant types of a client. One that cannot have a code as its answer cannot have a code.
func grants(m *metadata.Client) []string {
	list := slices.Clone(m.Grants)
	if len(m.Responses) == 0 {
		list = slices.DeleteFunc(list, func(g string) bool { return g == metadata.GrantCode })
	}
	return list
}

func method(m string) directory.ClientMethod {
	switch m {
	case metadata.MethodBasic, metadata.MethodPost:
		return directory.MethodClientSecret
	case metadata.MethodPrivateKeyJWT:
		return directory.MethodPrivateKeyJWT
	default:
		return directory.MethodNone
	}
}

// fingerprint is over the redirect URIs in any order and the other parts in theirs (CIMD-15).
func fingerprint(uid, name string, redirects []string, more ...string) [sha256.Size]byte {
	text, _ := json.Marshal([]any{uid, name, slices.Sorted(slices.Values(redirects)), more}) // texts only: cannot fail
	return sha256.Sum256(text)
}
