// SPDX-License-Identifier: Apache-2.0

package cimd

import (
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/clients/redirect"
	"github.com/penstockhq/penstock/sdk/kit/egress"
)

func FuzzParseID(f *testing.F) {
	for _, id := range []string{
		"https://client.example/oauth/c.json", "https://client.example/a/../c", "https://client.example/%2e%2e/c", "https://client.example//c", "https://client.example:443/%63",
		"https://[2606:4700::1111]/c", "https://u@client.example/c", "https://client.example/c?x#y", "https://client.example/%2f", `https://client.example/a"b`,
	} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		u, err := ParseID(id, egress.Policy{})
		if err != nil {
			return
		}
		if u.String() != id || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(id, "?#\\ ") || len(id) > maxID {
			t.Fatalf("%q is taken as %q", id, u)
		}
		decoded, err := url.PathUnescape(u.EscapedPath())
		if err != nil || strings.Trim(decoded, "/") == "" && u.Path == "/" {
			t.Fatalf("%q has no path (%v)", id, err)
		}
		// What a browser or a proxy makes of the path is that path.
		if clean := path.Clean("/" + decoded); strings.Count(clean, "/") != strings.Count(path.Clean(squeeze(decoded)), "/") {
			t.Fatalf("%q: the path is another one once it is cleaned: %q", id, clean)
		}
	})
}

// squeeze removes empty segments, and nothing else.
func squeeze(p string) string {
	return "/" + strings.Join(strings.FieldsFunc(p, func(r rune) bool { return r == '/' }), "/")
}

func FuzzDocument(f *testing.F) {
	const id = "https://client.example/c.json"
	f.Add([]byte(`{"client_id":"https://client.example/c.json","client_name":"C","redirect_uris":["http://127.0.0.1/callback"]}`))
	f.Add([]byte(`{"client_id":"https://client.example/c.json","client_name":"C","redirect_uris":["https://c.example/cb"],"jwks_uri":"https://c.example/j","token_endpoint_auth_methods_supported":["none","private_key_jwt"]}`))
	f.Add([]byte(`{"client_id":"https://client.example/c.json","client_name":"C","redirect_uris":["https://c.example/cb"],"jwks":{"keys":[{"kty":"oct"}]},"client_secret":"x"}`))
	r := rules{}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := r.parse(id, body)
		if err != nil {
			return
		}
		if c.ID != id || strings.TrimSpace(c.Name) == "" || c.Secret || len(c.RedirectURIs) == 0 || c.Method != "none" && c.Method != "private_key_jwt" {
			t.Fatalf("taken: %+v", c)
		}
		for _, uri := range c.RedirectURIs {
			if _, err := (redirect.Rules{}).Check(uri); err != nil {
				t.Fatalf("%q is taken: %v", uri, err)
			}
		}
	})
}

func TestTrustIsChecked(t *testing.T) {
	for _, trust := range []Trust{{}, {Mode: "some"}, {Mode: AllowListed}} {
		if err := trust.validate(); err == nil {
			t.Errorf("%+v is taken", trust)
		}
	}
}
