// SPDX-License-Identifier: Apache-2.0

package register

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// judge reads a registration and returns what is registered of it.
func (c Config) judge(body []byte) (*metadata.Client, error) {
	m, err := metadata.Parse(body, maxRedirects)
	switch {
	case errors.Is(err, metadata.ErrRedirect):
		return nil, oauthfault.New(oauthfault.InvalidRedirectURI, sentence(err))
	case err != nil:
		return nil, refused("The metadata cannot be used: %s.", err)
	case m.Statement:
		return nil, oauthfault.New(oauthfault.UnapprovedSoftware, "No software statement is approved here. Register without one.")
	}
	for i, uri := range m.RedirectURIs {
		if err := c.judgeRedirect(uri); err != nil {
			return nil, oauthfault.New(oauthfault.InvalidRedirectURI, fmt.Sprintf("Redirect URI %d of %d is refused: %s.", i+1, len(m.RedirectURIs), err))
		}
	}
	m.RedirectURIs = unique(m.RedirectURIs)
	if err := c.judgeMethod(m); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(m.Grants, metadata.GrantCode):
		return nil, refused("Of grant_types, authorization_code is needed; refresh_token is supported too.")
	case len(m.Responses) == 0:
		return nil, refused("Of response_types, code is needed.")
	}
	// What is none of the registration's business is not kept.
	m.ID, m.Methods = "", nil
	m.Scope = strings.Join(m.Scopes(c.Scopes()), " ")
	return m, nil
}

func refused(format string, a ...any) *oauthfault.Error {
	return oauthfault.New(oauthfault.InvalidClientMetadata, fmt.Sprintf(format, a...))
}

func sentence(err error) string { return "The metadata cannot be used: " + err.Error() + "." }

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (c Config) judgeRedirect(uri string) error {
	kind, err := c.Redirects.Check(uri)
	if err != nil || kind != redirect.HTTPS || c.Mode != AllowListed {
		return err
	}
	if host, ok := c.listed(uri); !ok {
		return fmt.Errorf("the host %s is not on the list of the deployment (dcr_redirect_hosts)", host)
	}
	return nil
}

// judgeMethod judges how the client wants to authenticate. One that says nothing is a public client (REG-4), which
// RFC 7591 §2 has otherwise: a secret for all would lie about on the disks of desktops.
func (c Config) judgeMethod(m *metadata.Client) error {
	keys := len(m.JWKS) > 0 || m.JWKSURI != ""
	if m.JWKSURI != "" {
		if u, err := c.Egress.CheckURL(m.JWKSURI); err != nil || u.Scheme != "https" {
			return refused("jwks_uri is no https URL that may be called.")
		}
	}
	switch m.Method {
	case "", metadata.MethodNone:
		m.Method = metadata.MethodNone
	case metadata.MethodPrivateKeyJWT:
		if !keys {
			return refused("private_key_jwt needs jwks or jwks_uri.")
		}
	case metadata.MethodBasic, metadata.MethodPost:
		if !c.Confidential {
			return refused("Clients get no client_secret here. Register with token_endpoint_auth_method none.")
		}
		if slices.ContainsFunc(m.RedirectURIs, func(uri string) bool { return !strings.HasPrefix(uri, "https://") || redirect.IsLoopback(uri) }) {
			return refused("A client with a client_secret needs https redirect URIs that are not on loopback.")
		}
	default:
		return refused("token_endpoint_auth_method is not supported. Use none.")
	}
	return nil
}
