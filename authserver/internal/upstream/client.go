// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Where a client comes from.
const (
	clientConfigured = "configured" // an administrator registered it
	clientDocument   = "document"   // it is our metadata document
	clientRegistered = "registered" // RFC 7591
)

// registrationVersion is the one version of what a registration gave: of several authservers that register at once, the first
// to keep its own counts.
const registrationVersion = "registration"

// client is Penstock at an authorization server.
type client struct {
	Source string `json:"source"`
	ID     string `json:"client_id"`
	Method string `json:"method"`
}

// clientFor returns the client that a server's authorization server is asked as: the one that an administrator registered, else
// our metadata document, else one that is registered now and kept (MCP 2025-11-25 basic/authorization, in that order).
func (u *Upstream) clientFor(ctx context.Context, s *directory.Server, f *found) (client, error) {
	if s.OAuth.ClientID != "" {
		c := client{clientConfigured, s.OAuth.ClientID, oauthclient.MethodNone}
		if s.OAuth.SecretVersion != "" {
			c.Method = oauthclient.SecretMethod(f.Methods)
		}
		return c, nil
	}
	if f.TakesID && strings.HasPrefix(u.issuer, "https://") {
		return client{clientDocument, u.issuer + DocumentPath, oauthclient.MethodNone}, nil
	}
	if f.Register == "" {
		return client{}, refuse(ReasonClient,
			"The authorization server %s takes neither client metadata documents nor registrations: register Penstock there and set oauth.client_id.", f.Issuer)
	}
	r, err := u.registration(ctx, s, f)
	return client{clientRegistered, r.ID, r.Method}, err
}

// registered is what a registration gave, without the secret.
type registered struct {
	ID      string    `json:"client_id"`
	Method  string    `json:"method"`
	Secret  string    `json:"client_secret,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // of the secret
}

// registrationKey is where the vault has the registration at an issuer. The redirect URI belongs to it, since each server has
// its own.
func (u *Upstream) registrationKey(issuer, server string) string {
	sum := sha256.Sum256([]byte(issuer + "\n" + u.redirectURI(server)))
	return "registration:" + hex.EncodeToString(sum[:])
}

// registration returns the kept registration at an issuer, or registers.
func (u *Upstream) registration(ctx context.Context, s *directory.Server, f *found) (registered, error) {
	key := u.registrationKey(f.Issuer, s.Name)
	kept, err := u.kept(ctx, key)
	if err == nil && (kept.Expires.IsZero() || u.c.Now().Before(kept.Expires.Add(-time.Minute))) {
		return kept, nil
	}
	switch {
	case err == nil: // over
		if _, err := u.c.Vault.Delete(ctx, key); err != nil {
			return registered{}, err
		}
	case fault.From(err).Reason != vault.ReasonMissing:
		return registered{}, err
	}
	r, err := u.register(ctx, s, f)
	if err != nil {
		return registered{}, err
	}
	text, err := json.Marshal(r) //nolint:gosec // it is sealed next
	if err != nil {
		return registered{}, errors.New("encode a registration")
	}
	first, err := u.c.Vault.PutOnce(ctx, key, registrationVersion, vault.Secret{Grant: obs.Secret(text)})
	if err != nil || first {
		return r, err
	}
	return u.kept(ctx, key)
}

// kept returns a registration from the vault, Precondition CREDENTIAL_MISSING if there is none.
func (u *Upstream) kept(ctx context.Context, key string) (registered, error) {
	s, err := u.c.Vault.Resolve(ctx, key, registrationVersion)
	if err != nil {
		return registered{}, err
	}
	var r registered
	if err := json.Unmarshal([]byte(s.Grant.Reveal()), &r); err != nil {
		return registered{}, errors.New("decode a registration: its form is unknown")
	}
	return r, nil
}

// register registers a client (RFC 7591 §3.1), public where the server has such.
func (u *Upstream) register(ctx context.Context, s *directory.Server, f *found) (registered, error) {
	method := oauthclient.MethodNone
	if len(f.Methods) > 0 && !slices.Contains(f.Methods, oauthclient.MethodNone) {
		method = oauthclient.SecretMethod(f.Methods)
	}
	m := u.metadata([]string{u.redirectURI(s.Name)})
	m.Method = method
	body, err := json.Marshal(m)
	if err != nil {
		return registered{}, err
	}
	a, err := u.ask().PostJSON(ctx, oauthclient.TheRegistration, f.Register, string(body), nil)
	if err != nil {
		return registered{}, err
	}
	var said struct {
		ID      string `json:"client_id"`
		Secret  string `json:"client_secret"`
		Method  string `json:"token_endpoint_auth_method"`
		Expires int64  `json:"client_secret_expires_at"`
	}
	if a.Status != http.StatusCreated && a.Status != http.StatusOK {
		return registered{}, refuse(ReasonClient,
			"The authorization server %s does not let Penstock register (%d): register it by hand and set oauth.client_id.", f.Issuer, a.Status)
	}
	if err := a.Decode(&said); err != nil || said.ID == "" || len(said.ID) > 2048 {
		return registered{}, refuse(ReasonResponse, "The answer of the %s has no client_id.", oauthclient.TheRegistration)
	}
	r := registered{ID: said.ID, Method: said.Method, Secret: said.Secret}
	switch {
	case said.Secret == "":
		r.Method = oauthclient.MethodNone
	case said.Method != oauthclient.MethodBasic && said.Method != oauthclient.MethodPost:
		r.Method = oauthclient.SecretMethod(f.Methods)
	}
	if said.Expires > 0 {
		r.Expires = time.Unix(said.Expires, 0)
	}
	return r, nil
}

// secretOf opens the secret of a client, empty if it has none.
func (u *Upstream) secretOf(ctx context.Context, s *directory.Server, issuer string, c client) (obs.Secret, error) {
	switch {
	case c.Method == oauthclient.MethodNone:
		return "", nil
	case c.Source == clientRegistered:
		r, err := u.kept(ctx, u.registrationKey(issuer, s.Name))
		if err != nil || r.ID != c.ID {
			return "", refuse(ReasonClient, "The registration of Penstock at the authorization server %s is gone.", issuer)
		}
		return obs.Secret(r.Secret), nil
	default:
		secret, err := u.c.Vault.Resolve(ctx, s.UID, s.OAuth.SecretVersion)
		if err == nil && secret.ClientSecret == "" {
			err = refuse(ReasonClient, "The server %q has no client secret stored: set oauth.client_secret anew.", s.Name)
		}
		return secret.ClientSecret, err
	}
}

// forget drops a registration that the authorization server does not know any more: the next grant registers anew.
func (u *Upstream) forget(ctx context.Context, s *directory.Server, issuer string, c client) {
	if c.Source != clientRegistered {
		return
	}
	if _, err := u.c.Vault.Delete(ctx, u.registrationKey(issuer, s.Name)); err != nil {
		u.c.Log.WarnContext(ctx, "registration not forgotten", obs.Fault(err))
	}
}

// metadata of Penstock as a client (RFC 7591 §2).
type metadata struct {
	ID            string   `json:"client_id,omitempty"`
	Name          string   `json:"client_name"`
	URI           string   `json:"client_uri,omitempty"`
	RedirectURIs  []string `json:"redirect_uris"`
	GrantTypes    []string `json:"grant_types"`
	ResponseTypes []string `json:"response_types"`
	Method        string   `json:"token_endpoint_auth_method"`
	Application   string   `json:"application_type"` // MCP 2026-07-28 basic/authorization; OpenID Connect Registration 1.0 §2
}

func (u *Upstream) metadata(redirects []string) metadata {
	application := "web"
	if !strings.HasPrefix(u.issuer, "https://") { // redirect URIs of web applications are https
		application = "native"
	}
	return metadata{
		Application: application, Name: "Penstock", URI: u.issuer, RedirectURIs: redirects, GrantTypes: []string{"authorization_code", "refresh_token"},
		ResponseTypes: []string{"code"}, Method: oauthclient.MethodNone,
	}
}

// ServeHTTP serves [DocumentPath]: Penstock's client metadata document, with the callbacks of the servers for which no client is
// registered by hand.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	redirects := []string{}
	if view := u.c.View(); view != nil {
		for _, s := range view.Servers() {
			if s.OAuth != nil && s.OAuth.ClientID == "" {
				redirects = append(redirects, u.redirectURI(s.Name))
			}
		}
	}
	if len(redirects) == 0 { // a document without redirect URIs is none
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, "no server uses this document", http.StatusNotFound)
		return
	}
	m := u.metadata(redirects)
	m.ID = u.issuer + DocumentPath
	body, err := json.Marshal(m)
	if err != nil {
		http.Error(w, "the document cannot be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(body) // who left does not read it
}
