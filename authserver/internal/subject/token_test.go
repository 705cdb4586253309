// SPDX-License-Identifier: Apache-2.0

package subject_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	access  = directory.SubjectAccessToken
	id      = directory.SubjectIDToken
	refresh = directory.SubjectRefreshToken
)

// JAU-2: what a login left is given out as it came, until it nears its end; then the refresh token gives the next, once for all kinds.
func TestTokensOfALogin(t *testing.T) {
	w := newWorld(t)
	_, err := w.token(access)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.login(ada)
	first := []string{w.want(access), w.want(id), w.want(refresh)}
	w.pass(239 * time.Second) // of 300, with a tenth as margin
	for i, kind := range []directory.Subject{access, id, refresh} {
		if w.want(kind) != first[i] {
			t.Errorf("kind %d was renewed early", kind)
		}
	}
	w.count(0)
	w.pass(2 * time.Second)
	for i, kind := range []directory.Subject{access, id, refresh} {
		if w.want(kind) == first[i] {
			t.Errorf("kind %d was not renewed", kind)
		}
	}
	w.count(1)
	w.pass(time.Hour)
	w.want(id)
	w.want(access)
	w.count(2) // the rotated token was stored
	got, err := w.keeper.Token(t.Context(), ada, w.p(), access)
	if in := got.Expires.Sub(w.now()).Round(time.Second); err != nil || in != 300*time.Second {
		t.Errorf("it is over in %s (%v)", in, err)
	}
	want := []string{"idp_tokens.kept ok  u-ada/okta", "idp_tokens.refreshed ok  u-ada/okta", "idp_tokens.refreshed ok  u-ada/okta"}
	if got := w.events(); !slices.Equal(got, want) {
		t.Errorf("events: %q", got)
	}
	w.check()
}

// A new login replaces what the last one left, whatever became of that.
func TestNextLogin(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	first := w.want(refresh)
	w.login(ada)
	if second := w.want(refresh); second == first {
		t.Error("the first login's token is kept")
	}
	// Without its key nothing can be opened: a login mends that, too.
	w.must(envelope.CreateKeyFile(w.keyset + "2"))
	keys, err := envelope.OpenKeyFile(w.keyset + "2")
	w.must(err)
	w.keys = keys
	w.keeper, _, _ = w.another()
	_, err = w.token(access)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	w.login(ada)
	w.want(access)
	w.check()
}

// UP-5: many callers of two authservers at once cause one refresh, and all get what it gave.
func TestRefreshOnce(t *testing.T) { refreshOnce(t, newWorld(t)) }

func TestIntegrationRefreshOnce(t *testing.T) {
	refreshOnce(t, newWorldOn(t, t.TempDir(), pgtest.Start(t).Database(t)))
}

func refreshOnce(t *testing.T, w *world) {
	t.Helper()
	w.login(ada)
	other, _, _ := w.another()
	for round := range 4 {
		slow := make(chan struct{})
		w.idp.Set(loginfake.Behavior{Slow: slow})
		w.pass(time.Hour)
		time.AfterFunc(50*time.Millisecond, func() { close(slow) })
		var wg sync.WaitGroup
		values, errs := make([]string, 12), make([]error, 12)
		for i := range values {
			wg.Go(func() {
				got, err := []*subject.Keeper{w.keeper, other}[i%2].Token(t.Context(), ada, w.p(), access)
				values[i], errs[i] = got.Value.Reveal(), err
			})
		}
		wg.Wait()
		for i := range values {
			w.must(errs[i])
			if values[i] != values[0] {
				t.Errorf("round %d: caller %d got another token", round, i)
			}
		}
		w.count(round + 1)
	}
	w.check()
}

// What a refresh can come to: the fault, what the next call gets, and whether the provider is asked for that.
func TestRefreshAnswers(t *testing.T) {
	says := func(status int, body map[string]any) loginfake.Behavior {
		return loginfake.Behavior{Refresh: func(url.Values) (int, map[string]any) { return status, body }}
	}
	fails := func(code string) loginfake.Behavior {
		return says(http.StatusBadRequest, map[string]any{"error": code, "error_description": "canary-s3cret"})
	}
	claims := func(change func(c map[string]any)) loginfake.Behavior {
		return loginfake.Behavior{Claims: change, Steady: true}
	}
	for _, tc := range []struct {
		name     string
		behavior loginfake.Behavior
		kind     fault.Kind
		reason   string
		again    bool // the provider is asked at the next call, too
	}{
		{"invalid_grant", fails("invalid_grant"), fault.Precondition, "CREDENTIAL_DEAD", false},
		{"interaction_required", fails("interaction_required"), fault.Precondition, "CREDENTIAL_DEAD", false},
		{"insufficient_user_authentication", fails("insufficient_user_authentication"), fault.Precondition, "CREDENTIAL_DEAD", false},
		{"a claims challenge of Entra", says(400, map[string]any{"error": "invalid_grant", "claims": `{"access_token":{}}`}), fault.Precondition, "CREDENTIAL_DEAD", false},
		{"consent of an administrator is missing", says(400, map[string]any{"error": "invalid_grant", "suberror": "consent_required"}), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"invalid_client", says(401, map[string]any{"error": "invalid_client"}), fault.Precondition, "UPSTREAM_CLIENT_REFUSED", true},
		{"unauthorized_client", fails("unauthorized_client"), fault.Precondition, "UPSTREAM_CLIENT_REFUSED", true},
		{"invalid_scope", fails("invalid_scope"), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"200 with an error", says(200, map[string]any{"error": "invalid_grant"}), fault.Precondition, "CREDENTIAL_DEAD", false},
		{"temporarily_unavailable", fails("temporarily_unavailable"), fault.Unavailable, "PROVIDER_UNREACHABLE", true},
		{"500", says(500, map[string]any{}), fault.Unavailable, "PROVIDER_UNREACHABLE", true},
		{"429", says(429, map[string]any{}), fault.Unavailable, "PROVIDER_UNREACHABLE", true},
		{"no token", says(200, map[string]any{"token_type": "Bearer"}), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"another type of token", says(200, map[string]any{"access_token": "x", "token_type": "DPoP"}), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"a token with a space", says(200, map[string]any{"access_token": "x y", "token_type": "Bearer"}), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"ID token of another account", claims(func(c map[string]any) { c["sub"] = "sub-2" }), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"ID token of another issuer", claims(func(c map[string]any) { c["iss"] = "https://evil.example" }), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"ID token for another client", claims(func(c map[string]any) { c["aud"] = "another" }), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"ID token of another login", claims(func(c map[string]any) { c["nonce"] = "another" }), fault.Precondition, "UPSTREAM_RESPONSE_INVALID", true},
		{"ID token without a nonce", claims(func(c map[string]any) { delete(c, "nonce") }), 0, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.login(ada)
			w.pass(time.Hour)
			w.idp.Set(tc.behavior)
			_, err := w.token(access)
			if tc.reason == "" {
				w.must(err)
			} else {
				w.wantFault(err, tc.kind, tc.reason)
			}
			before := w.requests()
			if _, err = w.token(access); tc.reason != "" {
				w.wantFault(err, tc.kind, tc.reason)
			}
			if asked := w.requests() > before; asked != tc.again {
				t.Errorf("the provider was asked again: %v", asked)
			}
			w.check()
		})
	}
}

// A refresh that comes to nothing takes away nothing that is still good; a new refresh token is kept whatever else is wrong.
func TestRefreshFailsEarly(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	first := w.want(access)
	w.pass(250 * time.Second)
	w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) { c["sub"] = "sub-2" }})
	if w.want(access) != first {
		t.Error("another token")
	}
	w.pass(time.Minute)
	_, err := w.token(access)
	w.wantFault(err, fault.Precondition, "UPSTREAM_RESPONSE_INVALID")
	w.idp.Set(loginfake.Behavior{})
	w.want(access)
	w.check() // no refresh token was used twice
}

// Settings that do not fit: nobody is asked.
func TestNotKept(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(p *directory.Provider)
		reason string
	}{
		{"token_exchange is unset", func(p *directory.Provider) { p.Kept = nil }, "UPSTREAM_TOKENS_NOT_KEPT"},
		{"another client", func(p *directory.Provider) { p.ClientID = "another" }, "CREDENTIAL_DEAD"},
		{"another issuer", func(p *directory.Provider) { p.Issuer = "https://other.example" }, "CREDENTIAL_DEAD"},
		{"another provider", func(p *directory.Provider) { p.UID = "idp-2" }, "CREDENTIAL_MISSING"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.login(ada)
			p := w.provider
			tc.change(&p)
			_, err := w.keeper.Token(t.Context(), ada, &p, access)
			w.wantFault(err, fault.Precondition, tc.reason)
			w.wantFault(w.keeper.Held(t.Context(), ada, &p, &directory.Server{ProviderGive: &directory.ProviderGive{}}), fault.Precondition, tc.reason)
		})
	}
	w := newWorld(t)
	w.provider.Kept = nil
	w.wantFault(w.keeper.Keep(t.Context(), ada, &w.provider, federation.Tokens{Access: "x"}), fault.Precondition, "UPSTREAM_TOKENS_NOT_KEPT")
	w.provider.Kept = &directory.Kept{}
	w.login(ada)
	w.pass(time.Hour)
	w.secret = fault.New(fault.Precondition, vault.ReasonMissing, "The secret is gone.")
	_, err := w.token(access) // an administrator mends it, not the person
	w.wantFault(err, fault.Precondition, "UPSTREAM_CLIENT_REFUSED")
}

// Without a refresh token there is what the login left, until its end.
func TestNoRefreshToken(t *testing.T) {
	w := newWorld(t)
	w.idp.Set(loginfake.Behavior{NoRefresh: true})
	w.login(ada)
	w.want(access)
	_, err := w.token(refresh)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_MISSING")
	w.wantFault(w.keeper.Held(t.Context(), ada, w.p(), &directory.Server{ProviderGive: &directory.ProviderGive{}}), fault.Precondition, "CREDENTIAL_MISSING")
	w.must(w.keeper.Held(t.Context(), ada, w.p(), &directory.Server{Exchange: &directory.Exchange{Subject: access}}))
	if p, _, err := w.keeper.Wanted(t.Context(), ada, w.p()); err != nil || !p.Consent {
		t.Errorf("the next login asks for %+v (%v)", p, err)
	}
	w.pass(299 * time.Second)
	w.want(access)
	w.pass(2 * time.Second)
	_, err = w.token(access)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	w.count(0)
}

// A provider whose refresh tokens give no ID tokens is asked once; the login's own is good until its end.
func TestNoNewIDToken(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	first := w.want(id)
	w.idp.Set(loginfake.Behavior{Tokens: func(m map[string]any) { delete(m, "id_token") }})
	w.pass(250 * time.Second)
	if w.want(id) != first {
		t.Error("another ID token")
	}
	w.count(1)
	w.pass(time.Minute)
	for range 2 {
		_, err := w.token(id)
		w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	}
	w.count(1)
	w.want(access)
	w.check()
}

// A refused token is renewed once; one that is refused right after that ends the login, and the provider is asked no more.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.must(w.keeper.Refused(t.Context(), ada, w.p(), access, "x")) // nothing is kept
	w.login(ada)
	first := w.keeper
	other, _, _ := w.another()
	got, err := first.Token(t.Context(), ada, w.p(), access)
	w.must(err)
	w.must(first.Refused(t.Context(), ada, w.p(), access, "another"))
	w.want(access)
	w.count(0)
	w.must(other.Refused(t.Context(), ada, w.p(), access, got.Value))
	w.must(first.Refused(t.Context(), ada, w.p(), access, got.Value)) // two callers of one token
	if w.want(access) == got.Value.Reveal() {
		t.Error("the refused token is given out again")
	}
	w.count(1)
	w.must(first.Refused(t.Context(), ada, w.p(), access, got.Value)) // a late one
	w.want(access)
	got, err = first.Token(t.Context(), ada, w.p(), access)
	w.must(err)
	w.must(first.Refused(t.Context(), ada, w.p(), access, got.Value))
	before := w.requests()
	for _, kind := range []directory.Subject{access, id, refresh} {
		_, err = w.token(kind)
		w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	}
	if w.requests() != before {
		t.Error("the provider was asked")
	}
	if got := w.lastEvent(); got != "idp_tokens.failed refused CREDENTIAL_DEAD u-ada/okta" {
		t.Errorf("event: %s", got)
	}
	w.login(ada)
	w.want(access)
	w.check()
}

// JAU-6, UP-7: until the next login nothing is asked, and that login is sent with what was wanted.
func TestStepUp(t *testing.T) {
	w := newWorld(t)
	want := subject.StepUp{Claims: `{"id_token":{"acr":{"essential":true}}}`, ACRValues: "phr", MaxAge: time.Minute}
	w.must(w.keeper.StepUp(t.Context(), ada, w.p(), want)) // nothing is kept: the login comes anyway
	w.login(ada)
	w.must(w.keeper.StepUp(t.Context(), ada, w.p(), want))
	w.must(w.keeper.StepUp(t.Context(), ada, w.p(), want))
	w.pass(time.Hour)
	before := w.requests()
	_, err := w.token(access)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	if w.requests() != before {
		t.Error("the provider was asked")
	}
	p, again, err := w.keeper.Wanted(t.Context(), ada, w.p())
	if err != nil || again || p != (federation.Proof{Claims: want.Claims, ACRValues: "phr", MaxAge: time.Minute}) {
		t.Errorf("the next login asks for %+v, %v (%v)", p, again, err)
	}
	w.login(ada)
	w.want(access)
	if p, again, err := w.keeper.Wanted(t.Context(), ada, w.p()); err != nil || again || p != (federation.Proof{}) {
		t.Errorf("the login after that asks for %+v, %v (%v)", p, again, err)
	}
	w.must(w.keeper.StepUp(t.Context(), ada, w.p(), subject.StepUp{}))
	if _, again, err := w.keeper.Wanted(t.Context(), ada, w.p()); err != nil || !again {
		t.Errorf("nothing in particular: again is %v (%v)", again, err)
	}
	if got, want := w.events()[1:3], []string{"idp_tokens.failed refused STEP_UP u-ada/okta", "idp_tokens.kept ok  u-ada/okta"}; !slices.Equal(got, want) {
		t.Errorf("events: %q", got)
	}
}

// What a provider wants is noted as it says it, if it can be sent back.
func TestStepUpFromARefresh(t *testing.T) {
	for _, tc := range []struct {
		name string
		body map[string]any
		want federation.Proof
		new  bool
	}{
		{"claims", map[string]any{"error": "interaction_required", "claims": `{"access_token":{"acrs":{"value":"c1"}}}`}, federation.Proof{Claims: `{"access_token":{"acrs":{"value":"c1"}}}`}, false},
		{"claims that are none", map[string]any{"error": "interaction_required", "claims": `x`}, federation.Proof{}, true},
		{"acr_values and max_age", map[string]any{"error": "insufficient_user_authentication", "acr_values": "a b", "max_age": 5}, federation.Proof{ACRValues: "a b", MaxAge: 5 * time.Second}, false},
		{"max_age in quotes", map[string]any{"error": "insufficient_user_authentication", "max_age": "0"}, federation.Proof{MaxAge: time.Second}, false},
		{"nothing", map[string]any{"error": "login_required"}, federation.Proof{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			w.login(ada)
			w.pass(time.Hour)
			w.idp.Set(loginfake.Behavior{Refresh: func(url.Values) (int, map[string]any) { return 400, tc.body }})
			_, err := w.token(access)
			w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
			if p, again, err := w.keeper.Wanted(t.Context(), ada, w.p()); err != nil || again != tc.new || p != tc.want {
				t.Errorf("the next login asks for %+v, %v (%v)", p, again, err)
			}
		})
	}
}

// SE-2: what is copied to another person's row does not open.
func TestBoundToItsRow(t *testing.T) {
	w := newWorld(t)
	w.login(ada)
	n, err := w.store.Secret(t.Context(), "subject:"+ada+":idp-1", "login")
	w.must(err)
	n.Connection = "subject:u-bob:idp-1"
	w.must(w.store.PutSecret(t.Context(), n))
	_, err = w.keeper.Token(t.Context(), "u-bob", w.p(), access)
	w.wantFault(err, fault.Precondition, "CREDENTIAL_DEAD")
	if files, err := filepath.Glob(filepath.Join(w.dir, "a.db*")); err != nil || len(files) == 0 {
		t.Error("there is no database to be looked into")
	}
	w.check()
}
