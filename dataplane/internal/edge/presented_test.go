// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// JW-13, M-93: what a caller presented goes along with the call of that request alone, and with none that another node has let in.
func TestPresented(t *testing.T) {
	w := newWorld(t, options{})
	body, headers := modernCall("echo")
	request := func(token string) (*httptest.ResponseRecorder, *http.Request) {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/v1/mcp/eng", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Authorization", "Bearer "+token)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		return httptest.NewRecorder(), r
	}
	at, r := request("ada")
	w.ServeHTTP(at, r)
	if got := w.calls.last(t); at.Code != http.StatusOK || got.Presented != (call.Presented{Token: "ada", Provider: "okta"}) {
		t.Errorf("%d, and %q of %s goes along", at.Code, got.Presented.Token.Reveal(), got.Presented.Provider)
	}
	at, r = request("ada")
	w.ServeForwarded(at, r, engUID, ident.Principal{Kind: ident.KindUser, UID: "u-ada", Name: "ada@example.com", Method: "jwks", Scopes: []string{"mcp"}})
	if got := w.calls.last(t); at.Code != http.StatusOK || got.Presented != (call.Presented{}) || got.Principal.Method != "jwks" {
		t.Errorf("forwarded: %d, and %q goes along", at.Code, got.Presented.Token.Reveal())
	}
}
