// SPDX-License-Identifier: Apache-2.0

package subject_test

import (
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const audience = "https://mcp.jira.example/mcp"

func jira() *directory.Server {
	return &directory.Server{
		UID: "s-jira", Name: "jira", Made: "m_1",
		ProviderGive: &directory.ProviderGive{Provider: "okta", Audience: audience, Scopes: []string{"jira.read", "jira.write"}},
	}
}

func (w *world) give(k *subject.Keeper, s *directory.Server, refused bool) (string, time.Time, error) {
	w.t.Helper()
	secret, until, err := k.Give(w.t.Context(), ada, w.p(), s, refused)
	return secret.Headers["Authorization"].Reveal(), until, err
}

func (w *world) wantGiven(s *directory.Server, refused bool) string {
	w.t.Helper()
	header, _, err := w.give(w.keeper, s, refused)
	w.must(err)
	if token, ok := strings.CutPrefix(header, "Bearer "); !ok || len(strings.Split(token, ".")) != 3 {
		w.t.Fatalf("given is %q", header)
	}
	return header
}

// JW-13: the provider's token for the server, asked for with the refresh token of the login; remembered until a minute before its end.
func TestGive(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.give(w.keeper, jira(), false)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.login(ada)
	login := w.want(refresh)
	first := w.wantGiven(jira(), false)
	w.idp.Lock()
	form := w.idp.RefreshForm
	w.idp.Unlock()
	if form.Get("refresh_token") != login || form.Get("scope") != "jira.read jira.write" || form.Get("resource") != audience {
		t.Errorf("asked with scope %q, resource %q", form.Get("scope"), form.Get("resource"))
	}
	if w.want(refresh) == login {
		t.Error("the new refresh token was not stored")
	}
	w.want(access)
	w.count(1) // what the login left is another token
	_, until, err := w.give(w.keeper, jira(), false)
	if in := until.Sub(w.now()).Round(2 * time.Second); err != nil || in != 4*time.Minute { // exp has no fractions
		t.Errorf("it may be kept for %s (%v)", in, err)
	}
	w.pass(239 * time.Second)
	if w.wantGiven(jira(), false) != first {
		t.Error("asked for early")
	}
	w.count(1)
	w.pass(2 * time.Second)
	if w.wantGiven(jira(), false) == first {
		t.Error("not asked for anew")
	}
	w.count(2)
	w.check()
}

// UP-9: nothing is shared between servers, ways to get a token, and people.
func TestGivenApart(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	first := w.wantGiven(jira(), false)
	other, changed := jira(), jira()
	other.UID, changed.Made = "s-other", "m_2"
	for _, s := range []*directory.Server{other, changed} {
		if w.wantGiven(s, false) == first {
			t.Error("two servers, or two ways, have one token")
		}
	}
	_, _, err := w.keeper.Give(t.Context(), "u-bob", w.p(), jira(), false)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.count(3)
	for reason, change := range map[string]func(p *directory.Provider){
		"UPSTREAM_TOKENS_NOT_KEPT": func(p *directory.Provider) { p.Kept = nil },
		"CREDENTIAL_DEAD":          func(p *directory.Provider) { p.ClientID = "another" },
	} {
		p := w.provider
		change(&p)
		_, _, err := w.keeper.Give(t.Context(), ada, &p, jira(), false)
		w.wantFault(err, fault.Precondition, reason)
	}
	w.login(ada) // a new login may be worth more, or less
	if w.wantGiven(jira(), false) == first {
		t.Error("the token of the last login is given out")
	}
	w.check()
}

// UP-8: what the server refused is asked for anew, once a minute at most.
func TestGivenRefused(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	first := w.wantGiven(jira(), false)
	if w.wantGiven(jira(), true) != first {
		t.Error("asked for anew at once")
	}
	w.pass(61 * time.Second)
	if w.wantGiven(jira(), true) == first {
		t.Error("the refused token is given out again")
	}
	w.count(2)
	w.check()
}

// A token that is not for the server, or not the provider's, is not given out.
func TestGivenForSomebodyElse(t *testing.T) {
	claim := func(name string, value any) loginfake.Behavior {
		return loginfake.Behavior{Access: func(_ url.Values, c map[string]any) { c[name] = value }}
	}
	for _, tc := range []struct {
		name     string
		behavior loginfake.Behavior
		good     bool
	}{
		{"aud is another", claim("aud", "https://other.example"), false},
		{"aud is longer", claim("aud", audience+"/"), false},
		{"aud is one of several", claim("aud", []string{"x", audience}), true},
		{"aud is others", claim("aud", []string{"x"}), false},
		{"aud is empty", claim("aud", []string{}), false},
		{"aud is none", claim("aud", nil), false},
		{"aud is a number", claim("aud", 7), false},
		{"another issuer", claim("iss", "https://evil.example"), false},
		{"opaque", loginfake.Behavior{Tokens: func(m map[string]any) { m["access_token"] = "opaque" }}, false},
		{"three parts of nothing", loginfake.Behavior{Tokens: func(m map[string]any) { m["access_token"] = "a.b.c" }}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.login(ada)
			w.idp.Set(tc.behavior)
			_, _, err := w.give(w.keeper, jira(), false)
			if tc.good {
				w.must(err)
				return
			}
			w.wantFault(err, fault.Precondition, "UPSTREAM_RESPONSE_INVALID")
			_, _, err = w.give(w.keeper, jira(), true)
			w.wantFault(err, fault.Precondition, "UPSTREAM_RESPONSE_INVALID")
			w.count(1) // not at every call
			w.idp.Set(loginfake.Behavior{})
			w.pass(11 * time.Second)
			w.wantGiven(jira(), false) // the refresh token of the wrong one was stored
			w.check()
		})
	}
}

// RFC 8707: resource is the audience where that is a URL, unless the provider refuses it.
func TestGivenResource(t *testing.T) {
	for _, tc := range []struct {
		audience   string
		noResource bool
		want       string
	}{
		{audience, false, audience},
		{audience, true, ""},
		{"api://jira", false, ""},
		{"jira", false, ""},
		{audience + "#x", false, ""},
	} {
		w := newWorld(t)
		w.login(ada)
		w.idp.Set(loginfake.Behavior{Access: func(_ url.Values, c map[string]any) { c["aud"] = tc.audience }})
		s := jira()
		s.ProviderGive.Audience, s.ProviderGive.NoResource = tc.audience, tc.noResource
		w.wantGiven(s, false)
		w.idp.Lock()
		if got := w.idp.RefreshForm["resource"]; tc.want == "" && got != nil || tc.want != "" && !slices.Equal(got, []string{tc.want}) {
			t.Errorf("%q, %v: resource is %q", tc.audience, tc.noResource, got)
		}
		w.idp.Unlock()
	}
}

// The end of what is given out is the earliest that is said of it.
func TestGivenUntil(t *testing.T) {
	for name, tc := range map[string]struct {
		tokens func(m map[string]any)
		claims func(c map[string]any)
		want   time.Duration
	}{
		"expires_in":  {func(m map[string]any) { m["expires_in"] = 120 }, nil, time.Minute},
		"exp":         {func(m map[string]any) { delete(m, "expires_in") }, func(c map[string]any) {}, 4 * time.Minute},
		"neither":     {func(m map[string]any) { delete(m, "expires_in") }, func(c map[string]any) { delete(c, "exp") }, 15 * time.Minute},
		"a long life": {func(m map[string]any) { m["expires_in"] = 36000 }, func(c map[string]any) { delete(c, "exp") }, 15 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.login(ada)
			w.idp.Set(loginfake.Behavior{Tokens: tc.tokens, Access: func(_ url.Values, c map[string]any) {
				if tc.claims != nil {
					tc.claims(c)
				}
			}})
			_, until, err := w.give(w.keeper, jira(), false)
			if in := until.Sub(w.now()).Round(2 * time.Second); err != nil || in != tc.want {
				t.Errorf("it may be kept for %s (%v)", in, err)
			}
		})
	}
}

// UP-5: the refresh token is one request's at a time, over two authservers and all that is asked with it.
func TestGiveTogether(t *testing.T) { giveTogether(t, newWorld(t)) }

func TestIntegrationGiveTogether(t *testing.T) {
	giveTogether(t, newWorldOn(t, t.TempDir(), pgtest.Start(t).Database(t)))
}

func giveTogether(t *testing.T, w *world) {
	t.Helper()
	w.login(ada)
	w.pass(time.Hour)
	other, _, _ := w.another()
	second := jira()
	second.UID = "s-other"
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		k := []*subject.Keeper{w.keeper, other}[i%2]
		wg.Go(func() {
			switch i % 3 {
			case 0:
				_, errs[i] = k.Token(t.Context(), ada, w.p(), access)
			case 1:
				_, _, errs[i] = w.give(k, jira(), false)
			default:
				_, _, errs[i] = w.give(k, second, false)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		w.must(err)
	}
	w.count(5) // one renewal, and each authserver for each server
	w.check()  // no refresh token was used twice
}

// A login that has ended, and one that needs more proof, give nothing for servers either.
func TestGiveEnded(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	w.idp.EndAll()
	for range 2 {
		_, _, err := w.give(w.keeper, jira(), false)
		w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	}
	w.login(ada)
	w.must(w.keeper.StepUp(t.Context(), ada, w.p(), subject.StepUp{ACRValues: "phr"}))
	before := w.requests()
	_, _, err := w.give(w.keeper, jira(), false)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	if w.requests() != before {
		t.Error("the provider was asked")
	}
	w.idp.Set(loginfake.Behavior{NoRefresh: true})
	w.login(ada)
	_, _, err = w.give(w.keeper, jira(), false)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.check()
}
