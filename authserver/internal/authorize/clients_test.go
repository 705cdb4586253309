// SPDX-License-Identifier: Apache-2.0

package authorize_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
	"github.com/penstockhq/penstock/authserver/internal/clients/cimd"
)

// TestFirstSeen is AZ-23.
func TestFirstSeen(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	w.Register("dcr_NEW", nil)
	bad := authorizetest.Params("dcr_NEW", callback, "scope", "bad")
	b := w.As("u1")
	for _, who := range []*authorizetest.Browser{b, w.Browser()} {
		a := who.Ask(bad)
		page(t, a, 400, `href="https://c.example/cb?error=invalid_scope&amp;error_description=`)
		if !strings.Contains(a.Body, "iss=https%3A%2F%2Fauth.example.com&amp;state=st\"") || !strings.Contains(a.Body, "c.example") {
			t.Errorf("the button does not lead to the answer:\n%s", a.Body)
		}
		if !strings.Contains(a.Header.Get("Content-Security-Policy"), "form-action 'self' https://c.example https:;") {
			t.Errorf("the policy is %q", a.Header.Get("Content-Security-Policy"))
		}
	}
	page(t, w.Browser().Ask(authorizetest.Params("dcr_NEW", callback, "prompt", "none")), 400, "error=login_required")
	b.Allow(authorizetest.Params("dcr_NEW", callback))
	refused(t, b.Ask(bad), "invalid_scope", "st")
	page(t, w.As("u2").Ask(bad), 400, "error=invalid_scope") // another person has not agreed
}

// TestDocumentClients is the rows of §16 about clients with a document that authorize answers.
func TestDocumentClients(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	id := w.Document("/c.json", nil)
	b := w.As("u1")
	loopback := "http://localhost:51004/callback"
	a, _ := b.Consent(authorizetest.Params(id, loopback))
	host := strings.TrimSuffix(strings.TrimPrefix(id, "https://"), "/c.json")
	if a.Status != http.StatusOK || !strings.Contains(a.Body, `<dt>Comes from</dt><dd class="proof"><strong>`+host+`</strong>`) {
		t.Errorf("76: the host is not prominent:\n%s", a.Body)
	}
	for name, members := range map[string]map[string]any{
		"68 secret":        {"client_secret": "s"},
		"70 no redirects":  {"redirect_uris": []string{}},
		"70 script":        {"redirect_uris": []string{"javascript:alert(1)"}},
		"67 another id":    {"client_id": "https://127.0.0.1/c.json"},
		"68 secret method": {"token_endpoint_auth_method": "client_secret_post"},
	} {
		t.Run(name, func(t *testing.T) {
			page(t, b.Ask(authorizetest.Params(w.Document("/bad.json", members), loopback)), 400, "invalid_client")
		})
	}
	missing := strings.TrimSuffix(id, "c.json") + "none.json"
	page(t, b.Ask(authorizetest.Params(missing, loopback)), 400, "invalid_client") // 65
	w.Document("/none.json", nil)
	if a := b.Ask(authorizetest.Params(missing, loopback)); a.Request() == "" {
		t.Errorf("an error was remembered: %d\n%s", a.Status, a.Body)
	}
}

func TestFetchLimitAndTrust(t *testing.T) {
	listed := world(t, authorizetest.Settings{Trust: cimd.Trust{Mode: cimd.AllowListed, Allowed: []string{"claude.ai"}}})
	page(t, listed.As("u1").Ask(authorizetest.Params(listed.Document("/c.json", nil), callback)), 403, "not allowed here") // 73

	w := world(t, authorizetest.Settings{})
	id := w.Document("/c.json", nil)
	w.Remove("/c.json")
	b := w.As("u1")
	var last authorizetest.Answer
	for range 100 {
		if last = b.Ask(authorizetest.Params(id, callback)); last.Status != http.StatusBadRequest {
			break
		}
	}
	page(t, last, 429, "Too many attempts") // CIMD-8
	if last.Header.Get("Retry-After") == "" {
		t.Error("the page does not say when to try again")
	}
}

// TestStaleDocument is CIMD-7: a document that is gone serves who has consented, and nobody else.
func TestStaleDocument(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	id := w.Document("/c.json", nil)
	ask := authorizetest.Params(id, "http://localhost:51004/callback")
	b := w.As("u1")
	b.Allow(ask)
	w.Remove("/c.json")
	w.Wait(23 * time.Hour)
	b.Login("u1")
	if a, _ := b.Consent(ask); a.Status != http.StatusSeeOther {
		t.Errorf("who has consented gets %d\n%s", a.Status, a.Body)
	}
	page(t, w.As("u2").Ask(ask), 400, "invalid_client")
	page(t, w.Browser().Ask(ask), 400, "invalid_client")
}
