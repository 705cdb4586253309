// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Whatever the view says beats the cache: users, teams, providers and gateways that change between two calls.
func TestIdentityProviderViewBeatsCache(t *testing.T) {
	p := newRSProvider(t)
	for _, tt := range []struct {
		name   string
		status int
		do     func(w *rsWorld, b *view.Builder)
	}{
		{"nothing", 200, nil},
		{"user deactivated", 401, func(_ *rsWorld, b *view.Builder) {
			b.PutUser("u1", &view.User{Name: "u1", UID: "uid-u1", Deactivated: true, Identities: []view.Identity{{Issuer: p.issuer, Subject: "sub-1"}}})
		}},
		{"account taken away", 403, func(_ *rsWorld, b *view.Builder) { b.PutUser("u1", &view.User{Name: "u1", UID: "uid-u1"}) }},
		{"user deleted", 403, func(_ *rsWorld, b *view.Builder) { b.PutUser("u1", nil) }},
		{"out of the team", 403, func(_ *rsWorld, b *view.Builder) { b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng"}) }},
		{"provider off", 401, func(_ *rsWorld, b *view.Builder) { b.PutProvider("okta", nil) }},
		{"another algorithm", 401, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.Algorithms = []string{"RS256"}
			b.PutProvider("okta", provider)
		}},
		{"another claim", 401, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.RequiredClaims = map[string]string{"tid": "t2"}
			b.PutProvider("okta", provider)
		}},
		{"younger tokens only", 401, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.MaxTokenAge = time.Minute
			b.PutProvider("okta", provider)
		}},
		{"keys elsewhere, where there are none", 503, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.KeysURL = p.issuer + "/nothing"
			b.PutProvider("okta", provider)
		}},
		{"another audience", 401, func(_ *rsWorld, b *view.Builder) {
			b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
				Name: "eng", UID: "uid-eng", OAuth: true, Visibility: view.Visibility{Teams: []string{"eng"}}, JWKS: p.accepts("other"),
			}})
		}},
		{"user denied", 401, func(w *rsWorld, _ *view.Builder) {
			w.node.holder.Deny(w.revision+9, []view.Key{{Kind: "user", Name: "u1"}})
		}},
		{"provider denied", 401, func(w *rsWorld, _ *view.Builder) {
			w.node.holder.Deny(w.revision+9, []view.Key{{Kind: "identity_provider", Name: "okta"}})
		}},
		{"degraded for a day (RS-12)", 503, func(w *rsWorld, _ *view.Builder) { w.stale.Store(int64(25 * time.Hour)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
				w.publishProvider(p, func(*view.Builder) {})
				token := p.token("es", nil)
				if got := w.call("eng", "srv__echo", token); got.status != 200 {
					t.Fatalf("before: %d %s", got.status, got.body)
				}
				time.Sleep(3 * time.Minute)
				if tt.do != nil {
					w.publishProvider(p, func(b *view.Builder) { tt.do(w, b) })
				}
				if tt.status == 503 || strings.Contains(tt.name, "denied") {
					tt.do(w, view.From(nil)) // after the view, which would be newer
				}
				if got := w.call("eng", "srv__echo", token); got.status != tt.status {
					t.Errorf("afterwards: %d %s", got.status, got.body)
				}
			})
		})
	}
}

// JW-6 to JW-10 on a node: how keys come and go. Every answer but a good one leaves the keys that there were.
func TestIdentityProviderKeys(t *testing.T) {
	p := newRSProvider(t)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
		w.publishProvider(p, func(*view.Builder) {})
		expect := func(when, kid string, want int) {
			t.Helper()
			if got := w.call("eng", "srv__echo", p.token(kid, nil)); got.status != want {
				t.Errorf("%s: %d %s", when, got.status, got.body)
			}
		}
		expect("at first", "es", 200)
		old := p.token("es", map[string]any{"exp": time.Now().Add(20 * time.Hour).Unix()})
		p.show("es", "new")
		expect("a new key within 10 s of a fetch", "new", 401)
		time.Sleep(11 * time.Second)
		expect("a new key (JW-8)", "new", 200)
		before := p.fetches.Load()
		for range 300 {
			w.call("eng", "srv__echo", p.token("es", map[string]any{"h:kid": rand.Text()}))
			time.Sleep(200 * time.Millisecond)
		}
		if n := p.fetches.Load() - before; n > 6 {
			t.Errorf("300 kids of nobody in a minute made %d fetches (JW-8)", n)
		}
		p.show("new")
		if got := w.call("eng", "srv__echo", old); got.status != 200 {
			t.Errorf("before the keys were fetched anew: %d", got.status)
		}
		time.Sleep(15*time.Minute + time.Second)
		if got := w.call("eng", "srv__echo", old); got.status != 401 {
			t.Errorf("a token that was verified with a key that is gone (JW-10): %d", got.status)
		}
		w.failed.Store(0)
		p.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10<<20)) })
		time.Sleep(16 * time.Minute)
		expect("10 MB of key set (JW-6)", "new", 200)
		if w.failed.Load() == 0 {
			t.Error("nobody was told of the failure (JW-6)")
		}
		p.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		time.Sleep(time.Hour)
		expect("an hour without the provider (JW-7)", "new", 200)
		time.Sleep(24 * time.Hour)
		expect("a day without the provider", "new", 503)
		p.answers(nil)
		time.Sleep(61 * time.Second)
		expect("the provider is back", "new", 200)
		p.show("es")
		w.publishProvider(p, func(*view.Builder) {}) // the provider was written: its keys are fetched anew (JW-10)
		time.Sleep(time.Second)
		expect("a key that is gone after a change of the provider", "new", 401)
		expect("the only key that is left", "es", 200)
		if got := w.call("eng", "srv__echo", p.token("es", map[string]any{"h:kid": nil})); got.status != 200 {
			t.Errorf("JW-9, no kid and one key: %d", got.status)
		}
		old = p.token("es", nil)
		if got := w.call("eng", "srv__echo", old); got.status != 200 {
			t.Errorf("before the key was replaced: %d", got.status)
		}
		p.replace("es")
		time.Sleep(16 * time.Minute)
		if got := w.call("eng", "srv__echo", old); got.status != 401 {
			t.Errorf("a token that was verified with another key of the same kid: %d", got.status)
		}
		expect("the other key of the same kid", "es", 200)
	})
}

// JW-13, RS-13, N142: the token reaches no server.
func TestIdentityProviderTokenIsNotPassedOn(t *testing.T) {
	p := newRSProvider(t)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
		w.publishProvider(p, func(*view.Builder) {})
		token := p.token("es", nil)
		w.origin.take()
		if got := w.call("eng", "srv__echo", token, "Cookie: s="+token); got.status != 200 || strings.Contains(got.body, token) {
			t.Fatalf("%d %s", got.status, got.body)
		}
		sent := w.origin.take()
		if len(sent) == 0 {
			t.Fatal("the server was not asked")
		}
		for _, r := range sent {
			text := fmt.Sprint(r)
			for _, part := range append(strings.Split(token, "."), token) {
				if strings.Contains(text, part) {
					t.Error("a part of the token was passed on")
				}
			}
			if r.header.Get("Authorization") != "" {
				t.Error("Authorization was passed on")
			}
		}
	})
}

// RS-11, N139: streams end with the token, when it is too old, and when the key is gone.
func TestIdentityProviderStreams(t *testing.T) {
	p := newRSProvider(t)
	for _, stream := range rsStreams() {
		for _, tt := range []struct {
			name   string
			at     time.Duration
			claims map[string]any
			do     func(w *rsWorld)
		}{
			{"expired", 10 * time.Minute, map[string]any{}, func(*rsWorld) {}},
			{"user denied", time.Minute, map[string]any{}, func(w *rsWorld) { w.node.holder.Deny(99, []view.Key{{Kind: "user", Name: "u1"}}) }},
			{"provider denied", time.Minute, map[string]any{}, func(w *rsWorld) {
				w.node.holder.Deny(99, []view.Key{{Kind: "identity_provider", Name: "okta"}})
			}},
		} {
			t.Run(stream.kind+", "+tt.name, func(t *testing.T) {
				inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
					w.publishProvider(p, func(*view.Builder) {})
					tt.claims["exp"] = time.Now().Add(10 * time.Minute).Unix()
					token := p.token("es", tt.claims)
					if got := w.lasts(stream, token, tt.at, func() { tt.do(w) }); got < tt.at || got > tt.at+5*time.Second {
						t.Errorf("ended after %s", got)
					}
				})
			})
		}
	}
}
