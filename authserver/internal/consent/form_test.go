// SPDX-License-Identifier: Apache-2.0

package consent_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/authorize/authorizetest"
	"github.com/penstockhq/penstock/authserver/internal/consent"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestForm is AZ-15 and row 17.
func TestForm(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	ask := authorizetest.Params("acme", callback)
	page, _ := b.Consent(ask)
	good := authorizetest.Form(page, "allow")
	other, _ := w.As("u1").Consent(ask)
	second, _ := b.Consent(ask)
	change := func(name, value string) url.Values {
		v := maps.Clone(good)
		if v[name] = []string{value}; value == "" {
			delete(v, name)
		}
		return v
	}
	stranger := b.Clone()
	stranger.Login("u1")
	mallory := b.Clone()
	mallory.Cookies["__Host-penstock-request"] = "psb_other"
	nobody := b.Clone()
	delete(nobody.Cookies, "__Host-penstock-login")
	for name, c := range map[string]struct {
		browser *authorizetest.Browser
		form    url.Values
		status  int
	}{
		"no token":                     {b, change("csrf", ""), 403},
		"token of another browser":     {b, change("csrf", authorizetest.Form(other, "").Get("csrf")), 403},
		"token of another request":     {b, change("csrf", authorizetest.Form(second, "").Get("csrf")), 403},
		"another login":                {stranger, good, 403},
		"nobody logged in":             {nobody, good, 403},
		"another browser":              {mallory, good, 400},
		"request of another browser":   {b, authorizetest.Form(other, "allow"), 400},
		"no request":                   {b, change("request", ""), 400},
		"no decision":                  {b, change("decision", ""), 400},
		"another decision":             {b, change("decision", "yes"), 400},
		"form in the address, no body": {b, url.Values{}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := c.browser.Do(consent.Path, c.form)
			if a.Status != c.status || a.Header.Get("Location") != "" || a.Header.Get("X-Frame-Options") != "DENY" {
				t.Errorf("got %d %v, want %d", a.Status, a.Header, c.status)
			}
		})
	}
	if e := w.Events("code.issued"); len(e) != 0 {
		t.Fatalf("%d codes are issued", len(e))
	}
	// What the page was about decides, so a page about other facts is shown again.
	if a := b.Do(consent.Path, change("seen", "x")); !asked(t, a) {
		t.Errorf("a page about something else counts: %d", a.Status)
	}
	code(t, w, b.Do(consent.Path, good))
	for _, form := range []url.Values{good, change("decision", "deny")} { // single use
		if a := b.Do(consent.Path, form); a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
			t.Errorf("a form counts twice: %d %v", a.Status, a.Header)
		}
	}
	if a := b.Do(consent.Path+"?request="+good.Get("request"), nil); a.Status != http.StatusBadRequest {
		t.Errorf("a request is shown after its answer: %d", a.Status)
	}
	w.Wait(10 * time.Minute) // the other request is over
	if a := b.Do(consent.Path, authorizetest.Form(second, "allow")); a.Status != http.StatusBadRequest || a.Header.Get("Location") != "" {
		t.Errorf("a request lives for longer than 10 minutes: %d %v", a.Status, a.Header)
	}
}

func TestBadForms(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	page, secret := b.Consent(authorizetest.Params("acme", callback))
	form := authorizetest.Form(page, "allow")
	if a := b.Do(consent.Path, form, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }); a.Status != http.StatusBadRequest {
		t.Errorf("a form of another type answers %d", a.Status)
	}
	form.Set("pad", strings.Repeat("x", 16<<10))
	if a := b.Do(consent.Path, form); a.Status != http.StatusBadRequest {
		t.Errorf("a form of 16 KiB answers %d", a.Status)
	}
	a := b.Do(consent.Path+"?request="+secret, nil, func(r *http.Request) { r.Method = http.MethodHead })
	if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != "GET, POST" {
		t.Errorf("HEAD answers %d", a.Status)
	}
}

// TestOneOfMany: of 20 answers at once one gets through.
func TestOneOfMany(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	page, _ := b.Consent(authorizetest.Params("acme", callback))
	form := authorizetest.Form(page, "allow")
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for range 20 {
		tab := b.Clone()
		wg.Go(func() {
			a := tab.Do(consent.Path, form)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.Status]++
		})
	}
	wg.Wait()
	if statuses[http.StatusSeeOther] != 1 || statuses[http.StatusBadRequest] != 19 || len(w.Events("code.issued")) != 1 {
		t.Errorf("answers: %v", statuses)
	}
}

func TestDeny(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	w.Register("dcr_A", nil) // first seen: the person has decided, so no further button
	b := w.As("u1")
	page, _ := b.Consent(authorizetest.Params("dcr_A", callback))
	a := b.Do(consent.Path, authorizetest.Form(page, "deny"))
	to, v := a.Location()
	if a.Status != http.StatusSeeOther || to != callback || v.Get("error") != "access_denied" || v.Get("state") != "st" || v.Get("iss") != authorizetest.Issuer {
		t.Errorf("got %d %q", a.Status, a.Header.Get("Location"))
	}
	if e := w.Events("consent.denied"); len(e) != 1 || e[0].Actor != "u1" || e[0].Client != "dcr_A" || e[0].Result != "refused" {
		t.Errorf("the events are %+v", e)
	}
	if _, err := w.Store.Consent(t.Context(), "u1", "dcr_A", "https://c.example", "gw-a"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a consent is stored: %v", err)
	}
}

// TestApp is AZ-18.
func TestApp(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u1")
	for decision, text := range map[string]string{
		"allow": `href="cursor://anysphere.cursor-mcp/oauth/callback?code=psa_`, "deny": `href="cursor://anysphere.cursor-mcp/oauth/callback?error=access_denied&amp;`,
	} {
		page, _ := b.Consent(authorizetest.Params("cursor", app, "prompt", "consent"))
		if !strings.Contains(page.Header.Get("Content-Security-Policy"), "form-action 'self' cursor: https:;") || !strings.Contains(page.Body, `class="warning"`) {
			t.Errorf("the page has no warning: %v", page.Header)
		}
		a := b.Do(consent.Path, authorizetest.Form(page, decision))
		if a.Status != http.StatusOK || a.Header.Get("Location") != "" || !strings.Contains(a.Body, text) || !strings.Contains(a.Body, "iss=https%3A%2F%2Fauth.example.com&amp;state=st") {
			t.Errorf("%s: got %d %v\n%s", decision, a.Status, a.Header, a.Body)
		}
	}
	if a, _ := b.Consent(authorizetest.Params("cursor", app)); a.Status != http.StatusOK || !strings.Contains(a.Body, "code=psa_") {
		t.Errorf("a repeat opens the app by itself: %d", a.Status)
	}
}

// TestPage is AZ-12.
func TestPage(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	w.Register("dcr_A", map[string]any{"client_name": "<script>x</script>"})
	a, _ := w.As("u1").Consent(authorizetest.Params("dcr_A", callback, "scope", "mcp mcp:write"))
	for _, text := range []string{
		"&lt;script&gt;x&lt;/script&gt;", "<strong>c.example</strong>", "<dd>Engineering</dd>", "<code>mcp:write</code>", `value="deny"`, "Ada Lovelace",
	} {
		if !strings.Contains(a.Body, text) {
			t.Errorf("the page does not say %q:\n%s", text, a.Body)
		}
	}
	if strings.Contains(a.Body, "<script>") || strings.Contains(a.Body, `class="warning"`) {
		t.Errorf("the page holds a script, or warns without reason:\n%s", a.Body)
	}
	a, _ = w.As("u1").Consent(authorizetest.Params("acme", loopback))
	if !strings.Contains(a.Body, "any program here could have asked") || !strings.Contains(a.Header.Get("Content-Security-Policy"), "form-action 'self' http://localhost:51004 https:;") {
		t.Errorf("the page does not warn:\n%s", a.Body)
	}
}

// TestTwoTabs: a browser can do two things at a time.
func TestTwoTabs(t *testing.T) {
	w := world(t, authorizetest.Settings{})
	b := w.As("u2")
	one, _ := b.Consent(authorizetest.Params("acme", callback))
	two, _ := b.Consent(authorizetest.Params("acme", callback, "resource", authorizetest.ResourceB))
	if got := code(t, w, b.Do(consent.Path, authorizetest.Form(one, "allow"))); got.Grant.Gateway != "gw-a" {
		t.Errorf("the code is for %q", got.Grant.Gateway)
	}
	if got := code(t, w, b.Do(consent.Path, authorizetest.Form(two, "allow"))); got.Grant.Gateway != "gw-b" {
		t.Errorf("the code is for %q", got.Grant.Gateway)
	}
}
