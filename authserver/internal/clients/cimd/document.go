// SPDX-License-Identifier: Apache-2.0

package cimd

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

// rules is what a document is judged by.
type rules struct {
	redirects  redirect.Rules
	policy     egress.Policy
	sameOrigin bool
}

// parse reads the document of a client_id (CIMD-2, CIMD-9 to CIMD-12, CIMD-14). In the result, Method is one of none and
// private_key_jwt, and Methods is empty. URLs for display are left out: nothing shows them (CIMD-5, REG-12).
func (r rules) parse(id string, body []byte) (*metadata.Client, error) {
	c, err := metadata.Parse(body, metadata.MaxList)
	switch {
	case err != nil:
		return nil, err
	case c.ID != id:
		return nil, errors.New("client_id is not the URL of the document")
	case strings.TrimSpace(c.Name) == "":
		return nil, errors.New("client_name is missing")
	case c.Secret:
		return nil, errors.New("there is a client_secret, which everybody can read")
	}
	for _, uri := range c.RedirectURIs {
		kind, err := r.redirects.Check(uri)
		if err != nil {
			return nil, fmt.Errorf("a redirect URI is refused: %w", err)
		}
		if r.sameOrigin && kind == redirect.HTTPS && !redirect.IsLoopback(uri) && !sameOrigin(id, uri) {
			return nil, errors.New("a redirect URI has another origin than the document")
		}
	}
	if c.Method, err = method(c); err != nil {
		return nil, err
	}
	c.Methods = nil
	if c.JWKSURI != "" {
		if u, err := r.policy.CheckURL(c.JWKSURI); err != nil || u.Scheme != "https" {
			return nil, errors.New("jwks_uri is no https URL that may be called")
		}
	}
	if c.Method == metadata.MethodPrivateKeyJWT && len(c.JWKS) == 0 && c.JWKSURI == "" {
		return nil, errors.New("private_key_jwt needs jwks or jwks_uri")
	}
	return c, nil
}

// method returns how the client authenticates (CIMD-11). One that may do without is a public client; if it has keys, it may
// use them all the same.
func method(c *metadata.Client) (string, error) {
	said := c.Methods
	if c.Method != "" {
		said = []string{c.Method}
	}
	if slices.ContainsFunc(slices.Concat(c.Methods, said), func(m string) bool { return strings.HasPrefix(m, "client_secret_") }) {
		return "", errors.New("it authenticates with a client_secret, which nobody has given it")
	}
	switch {
	case len(said) == 0, slices.Contains(said, metadata.MethodNone):
		return metadata.MethodNone, nil
	case slices.Contains(said, metadata.MethodPrivateKeyJWT):
		return metadata.MethodPrivateKeyJWT, nil
	default:
		return "", errors.New("it authenticates in no supported way")
	}
}

func sameOrigin(a, b string) bool {
	one, err1 := url.Parse(a)
	two, err2 := url.Parse(b)
	return err1 == nil && err2 == nil && one.Scheme == two.Scheme && origin(one) == origin(two)
}

func origin(u *url.URL) string { return strings.TrimSuffix(strings.ToLower(u.Host), ":443") }
