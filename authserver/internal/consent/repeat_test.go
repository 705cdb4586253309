// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
)

// TestRepeat is AZ-13: who is asked again.
func TestRepeat(t *testing.T) {
	p := authorizetest.Params
	dcr := func(redirects ...string) func(*authorizetest.World) {
		return func(w *authorizetest.World) { w.Register("dcr_A", map[string]any{"redirect_uris": redirects}) }
	}
	for name, c := range map[string]struct {
		before      func(*authorizetest.World)
		settings    authorizetest.Settings
		first, next url.Values
		again       bool
	}{
		"same":                          {first: p("acme", callback), next: p("acme", callback)},
		"same loopback, other port":     {first: p("acme", loopback), next: p("acme", "http://localhost:9/callback")},
		"other redirect host":           {first: p("acme", callback), next: p("acme", loopback), again: true},
		"other loopback host":           {first: p("acme", loopback), next: p("acme", "http://127.0.0.1:51004/callback"), again: true},
		"other client":                  {first: p("acme", callback), next: p("secret", callback), again: true},
		"other gateway":                 {first: p("acme", callback), next: p("acme", callback, "resource", authorizetest.ResourceB), again: true},
		"more scopes":                   {first: p("acme", callback), next: p("acme", callback, "scope", "mcp mcp:write"), again: true},
		"fewer scopes":                  {first: p("acme", callback, "scope", "mcp mcp:write"), next: p("acme", callback, "scope", "mcp:write")},
		"DCR, https":                    {before: dcr(callback), first: p("dcr_A", callback), next: p("dcr_A", callback)},
		"DCR, loopback":                 {before: dcr("http://localhost/callback"), first: p("dcr_A", loopback), next: p("dcr_A", loopback), again: true},
		"DCR, loopback, trusted":        {before: dcr("http://localhost/callback"), settings: authorizetest.Settings{Trusted: []string{"dcr_A"}}, first: p("dcr_A", loopback), next: p("dcr_A", loopback)},
		"registered app, own scheme":    {first: p("cursor", app), next: p("cursor", app)},
		"26 new DCR client, old cookie": {before: dcr(callback), first: p("acme", callback), next: p("dcr_A", callback), again: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := world(t, c.settings)
			if c.before != nil {
				c.before(w)
			}
			b := w.As("u2")
			b.Allow(c.first)
			if a, _ := b.Consent(c.next); asked(t, a) != c.again {
				t.Errorf("asked again is %v: %d %v", asked(t, a), a.Status, a.Header)
			}
			if a, _ := w.As("u1").Consent(c.first); !asked(t, a) {
				t.Error("another person is not asked")
			}
		})
	}
}

// TestTrusted is AZ-14.
func TestTrusted(t *testing.T) {
	w := world(t, authorizetest.Settings{Trusted: []string{"dcr_A", "dcr_B"}})
	w.Register("dcr_A", nil)
	w.Register("dcr_B", map[string]any{"redirect_uris": []string{"http://localhost/callback"}})
	b := w.As("u1")
	for _, ask := range []url.Values{authorizetest.Params("trusted", callback), authorizetest.Params("trusted", loopback), authorizetest.Params("dcr_A", callback)} {
		a, _ := b.Consent(ask)
		if got := code(t, w, a); got.Grant.Client != ask.Get("client_id") {
			t.Errorf("the code is of %q", got.Grant.Client)
		}
	}
	if a, _ := b.Consent(authorizetest.Params("dcr_B", loopback)); !asked(t, a) {
		t.Error("a client that registered itself gets a code on loopback unasked")
	}
	for _, e := range w.Events("consent.granted") {
		if e.Reason != "trusted_client" {
			t.Errorf("it is not recorded that nobody was asked: %+v", e)
		}
	}
	if _, err := w.Store.Consent(t.Context(), "u1", "trusted", "https://c.example", "gw-a"); err != nil {
		t.Errorf("a person could not take the access back: %v", err)
	}
}

// TestChangedDocument is CIMD-15.
func TestChangedDocument(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	id := w.Document("/c.json", nil)
	ask := authorizetest.Params(id, loopback, "scope", "mcp mcp:write")
	b := w.As("u1")
	b.Allow(ask)
	if a, _ := b.Consent(ask); asked(t, a) {
		t.Fatal("the same document is asked about again")
	}
	w.Document("/c.json", map[string]any{"client_name": "Another"})
	w.Wait(25 * time.Hour) // the cache
	b.Login("u1")
	narrow := authorizetest.Params(id, loopback)
	if a, _ := b.Consent(narrow); !asked(t, a) {
		t.Fatal("a changed document is not asked about")
	}
	b.Allow(narrow)
	kept, err := w.Store.Consent(t.Context(), "u1", id, "http://localhost", "gw-a")
	if err != nil || kept.ClientName != "Another" || !slices.Equal(kept.Scopes, []string{"mcp"}) {
		t.Errorf("the consent to the old document goes on: %+v, %v", kept, err)
	}
}

// TestStepUp is TK-23.
func TestStepUp(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	first := code(t, w, b.Allow(authorizetest.Params("acme", callback)))
	began := w.Now()
	w.Wait(time.Hour)
	got := code(t, w, b.Allow(authorizetest.Params("acme", callback, "scope", "mcp:write")))
	if !slices.Equal(got.Grant.Scopes, []string{"mcp:write"}) || got.Grant.ID == first.Grant.ID {
		t.Errorf("the grant is %+v", got.Grant)
	}
	kept, err := w.Store.Consent(t.Context(), "u1", "acme", "https://c.example", "gw-a")
	if err != nil || !slices.Equal(kept.Scopes, []string{"mcp", "mcp:write"}) || !kept.CreateTime.Equal(began) || !kept.UpdateTime.Equal(w.Now()) {
		t.Errorf("the consent is %+v, %v", kept, err)
	}
}
