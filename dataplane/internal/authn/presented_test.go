// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/authn"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// JW-13: only what an identity provider issued is a subject for exchanges: no token of Penstock's.
func TestPresented(t *testing.T) {
	for _, tt := range []struct {
		name            string
		p               ident.Principal
		header          string
		token, provider string
	}{
		{"identity provider's", ident.Principal{Method: authn.MethodJWKS, ClientID: "okta/client-1"}, "Bearer a.b.c", "a.b.c", "okta"},
		{"client with slashes", ident.Principal{Method: authn.MethodJWKS, ClientID: "okta/https://client.example/c"}, "bearer a.b.c", "a.b.c", "okta"},
		{"authserver's", ident.Principal{Method: "oauth", ClientID: "okta/client-1"}, "Bearer a.b.c", "", ""},
		{"static", ident.Principal{Method: authn.MethodBearerToken}, "Bearer pst_u_x", "", ""},
		{"nothing", ident.Principal{Method: authn.MethodJWKS, ClientID: "okta/client-1"}, "", "", ""},
		{"malformed", ident.Principal{Method: authn.MethodJWKS, ClientID: "okta/client-1"}, "Bearer a b", "", ""},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/mcp/eng", nil)
		if tt.header != "" {
			r.Header.Set("Authorization", tt.header)
		}
		token, provider := authn.Presented(r, tt.p)
		if token.Reveal() != tt.token || provider != tt.provider {
			t.Errorf("%s: got %q of %q", tt.name, token.Reveal(), provider)
		}
	}
}
