// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"crypto/sha256"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
)

// TestStateIsNotRecoverable: what is stored of a login at a provider makes neither its state, nor nonce, nor verifier, and the
// request's secret is not among it.
func TestStateIsNotRecoverable(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	at, err := url.Parse(b.away("req1"))
	if err != nil {
		t.Fatal(err)
	}
	state := at.Query().Get("state")
	ticket, err := w.store.Ticket(t.Context(), "federation", sha256.Sum256([]byte(state)))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(ticket.Data, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "browser")
	delete(fields, "time")
	if diff := cmp.Diff(map[string]any{"provider": "okta"}, fields); diff != "" {
		t.Error(diff)
	}
	if d := ticket.ExpireTime.Sub(w.now()); d > 10*time.Minute || d < 9*time.Minute {
		t.Errorf("it lives for %v", d)
	}
	for name, c := range b.cookies {
		if strings.Contains(at.String(), c) && name != "" {
			t.Errorf("the address has the cookie %s", name)
		}
	}
}

// TestState is AZ-11 and §16 row 23.
func TestState(t *testing.T) {
	lost := func(reason string) string { return "login.failed refused " + reason + "  okta" }
	t.Run("replayed", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		back := b.visit(b.away("req1"))
		cookies := make(map[string]string)
		for k, v := range b.cookies {
			cookies[k] = v
		}
		if answer := b.get(back); answer.StatusCode != 303 {
			t.Fatalf("first: %d", answer.StatusCode)
		}
		again := w.browser()
		again.cookies = cookies // also when the browser still has the cookie
		if answer := again.get(back); answer.StatusCode != 400 || again.current() != "" || w.lastEvent() != lost("state_unknown") {
			t.Errorf("second: %d %s", answer.StatusCode, w.lastEvent())
		}
	})
	t.Run("of another browser", func(t *testing.T) {
		w := newWorld(t, nil)
		mallory, victim := w.browser(), w.browser()
		back := mallory.visit(mallory.away("req1"))
		victim.visit(victim.away("req1")) // has a login of her own under way
		if answer := victim.get(back); answer.StatusCode != 400 || victim.current() != "" || w.lastEvent() != lost("state_foreign") {
			t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
		}
		if answer := mallory.get(back); answer.StatusCode != 303 {
			t.Errorf("the browser that began it: %d", answer.StatusCode)
		}
	})
	t.Run("cookie with another request", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		back := b.visit(b.away("req1"))
		for name, value := range b.cookies {
			if strings.Contains(name, "federation") {
				b.cookies[name] = strings.Replace(value, ".req1", ".req2", 1)
			}
		}
		if answer := b.get(back); answer.StatusCode != 400 || w.lastEvent() != lost("state_foreign") {
			t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
		}
	})
	t.Run("after ten minutes", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		back := b.visit(b.away("req1"))
		w.pass(10 * time.Minute)
		if answer := b.get(back); answer.StatusCode != 400 || w.lastEvent() != lost("state_unknown") {
			t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
		}
	})
	t.Run("just before", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		at := b.away("req1")
		w.pass(9*time.Minute + 50*time.Second)
		if answer := b.get(b.visit(at)); answer.StatusCode != 303 {
			t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
		}
	})
	t.Run("two tabs", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		one, two := b.visit(b.away("req1")), b.visit(b.away("fresh"))
		if got := b.get(one).Header.Get("Location"); got != "/api/auth/oauth2/consent?request=req1" {
			t.Errorf("first led to %q", got)
		}
		if got := b.get(two).Header.Get("Location"); got != "/api/auth/oauth2/consent?request=fresh" {
			t.Errorf("second led to %q", got)
		}
	})
	t.Run("missing, repeated, invented", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		back := b.visit(b.away("req1"))
		u, err := url.Parse(back)
		if err != nil {
			t.Fatal(err)
		}
		good := u.Query().Get("state")
		for _, state := range [][]string{nil, {good, good}, {""}, {strings.Repeat("A", 43)}, {good + "A"}} {
			q := u.Query()
			q["state"] = state
			if answer := b.get(u.Path + "?" + q.Encode()); answer.StatusCode != 400 || w.lastEvent() != lost("state_unknown") {
				t.Errorf("%q: %d %s", state, answer.StatusCode, w.lastEvent())
			}
		}
	})
	t.Run("at the callback of another provider", func(t *testing.T) {
		w := newWorld(t, nil)
		w.plane.change(func(p *plane) { p.second = true })
		b := w.browser()
		back := strings.Replace(b.visit(b.away("req1")), "/okta", "/entra", 1)
		if answer := b.get(back); answer.StatusCode != 400 || b.current() != "" || w.lastEvent() != "login.failed refused provider_unknown  entra" {
			t.Errorf("%d %q", answer.StatusCode, w.lastEvent())
		}
	})
	t.Run("provider disabled meanwhile", func(t *testing.T) {
		w := newWorld(t, nil)
		b := w.browser()
		back := b.visit(b.away("req1"))
		w.plane.change(func(p *plane) { p.provider.Disabled = true })
		if answer := b.get(back); answer.StatusCode != 400 || b.current() != "" {
			t.Errorf("%d", answer.StatusCode)
		}
	})
}

// TestFresh: prompt=login goes on to the provider, and a provider that does not ask is no proof.
func TestFresh(t *testing.T) {
	for _, tc := range []struct {
		name    string
		request string
		ago     time.Duration
		status  int
		event   string
		same    bool // AuthTime is what the provider says
	}{
		{"logged in just now", "fresh", 0, 303, "login.ok ok  alice-uid okta", false},
		{"logged in an hour ago", "fresh", time.Hour, 400, "login.failed refused login_not_fresh  okta", false},
		{"logged in an hour ago, and that is fine", "req1", time.Hour, 303, "login.ok ok  alice-uid okta", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			then := time.Now().Add(-tc.ago).Truncate(time.Second)
			w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) { c["auth_time"] = then.Unix() }})
			b := w.browser()
			began := w.now()
			answer := b.federate(tc.request)
			if answer.StatusCode != tc.status || w.lastEvent() != tc.event {
				t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
			}
			if got := w.idp.Seen.Get("prompt") == "login"; got != (tc.request == "fresh") {
				t.Errorf("prompt is %q", w.idp.Seen.Get("prompt"))
			}
			if l := b.login(); tc.status == 303 && (tc.same && !l.AuthTime.Equal(then) || !tc.same && l.AuthTime.Before(began.Truncate(time.Microsecond))) {
				t.Errorf("auth_time is %v", l.AuthTime)
			}
		})
	}
}
