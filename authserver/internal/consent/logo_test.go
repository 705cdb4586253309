// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
)

// REG-12: what a client says about its looks and its pages is on no page of ours, whoever it registered with, and no image of
// somebody else's would load.
func TestNothingIsLinkedFromTheClient(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	display := map[string]any{
		"logo_uri": "https://track.example/logo.png", "client_uri": "https://track.example/", "policy_uri": "https://track.example/policy",
		"tos_uri": "https://track.example/tos", "contacts": []string{"track.example"},
	}
	w.Register("dcr_LOGO", display)
	document := w.Document("/logo.json", display)
	for _, c := range []struct{ client, redirect string }{{"dcr_LOGO", callback}, {document, loopback}} {
		page, _ := w.As("u1").Consent(authorizetest.Params(c.client, c.redirect))
		if !asked(t, page) || strings.Contains(page.Body, "track.example") {
			t.Errorf("%s: %d\n%s", c.client, page.Status, page.Body)
		}
		if n := strings.Count(page.Body, "<img") - strings.Count(page.Body, `src="/assets/`); n != 0 {
			t.Errorf("%s: %d images are not ours:\n%s", c.client, n, page.Body)
		}
		if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "; img-src 'self';") {
			t.Errorf("%s: the policy is %q", c.client, policy)
		}
	}
}
