// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

type obsSecret = obs.Secret

// UP-5: a token is renewed before its end, and given out no longer than a minute before it.
func TestRenewedInTime(t *testing.T) {
	w := newWorld(t)
	version := w.grant()
	first := w.want(version, false)
	w.pass(57 * time.Minute)
	_, until, err := w.resolve(w.up, version, false)
	if in := until.Sub(w.now()).Round(time.Second); err != nil || in != 2*time.Minute || w.fake.Count() != 0 {
		t.Errorf("it may be kept for %s, want 2m; %d refreshes (%v)", in, w.fake.Count(), err)
	}
	w.pass(time.Minute + time.Second)
	if second := w.want(version, false); second == first || w.fake.Count() != 1 {
		t.Errorf("%d refreshes", w.fake.Count())
	}
	w.pass(59 * time.Minute)
	w.want(version, false)
	if w.fake.Count() != 2 {
		t.Errorf("%d refreshes, want 2: the rotated token was kept", w.fake.Count())
	}
	if got := w.events(); !slices.Equal(got, []string{"upstream.credential.refreshed ok  github", "upstream.credential.refreshed ok  github"}) {
		t.Errorf("events: %q", got)
	}
	w.fake.Check(t)
	w.checkSecrecy()
}

// A token of less than ten minutes has a tenth of its life in place of the minute.
func TestShortTokens(t *testing.T) {
	w := newWorld(t)
	w.fake.Set(upstreamfake.Behavior{Tokens: func(m map[string]any) { m["expires_in"] = 100 }})
	version := w.grant()
	_, until, err := w.resolve(w.up, version, false)
	if in := until.Sub(w.now()).Round(time.Second); err != nil || in != 90*time.Second || w.fake.Count() != 0 {
		t.Errorf("it may be kept for %s, want 90s; %d refreshes (%v)", in, w.fake.Count(), err)
	}
	w.pass(81 * time.Second)
	if w.want(version, false); w.fake.Count() != 1 {
		t.Errorf("%d refreshes", w.fake.Count())
	}
}

// UP-8: what the server refused is renewed once, for all who ask within a minute.
func TestRefusedOnce(t *testing.T) {
	w := newWorld(t)
	version := w.grant()
	first := w.want(version, false)
	second := w.want(version, true)
	third := w.want(version, true)
	if first == second || second != third || w.fake.Count() != 1 {
		t.Errorf("%d refreshes", w.fake.Count())
	}
	w.pass(61 * time.Second)
	if w.want(version, true); w.fake.Count() != 2 {
		t.Errorf("%d refreshes, want 2", w.fake.Count())
	}
	w.fake.Check(t)
}

// §16 158, UP-5: many callers of two authservers at once cause one refresh, and all get what it gave.
func TestRefreshOnce(t *testing.T) { refreshOnce(t, newWorld(t)) }

func TestIntegrationRefreshOnce(t *testing.T) {
	refreshOnce(t, newWorldOn(t, t.TempDir(), pgtest.Start(t).Database(t)))
}

func refreshOnce(t *testing.T, w *world) {
	t.Helper()
	version := w.grant()
	other, _, _ := w.another()
	for round := range 5 {
		slow := make(chan struct{})
		var asked sync.Once
		w.fake.Set(upstreamfake.Behavior{Slow: slow, Asked: func(string) { asked.Do(func() { time.AfterFunc(50*time.Millisecond, func() { close(slow) }) }) }})
		w.pass(61 * time.Second)
		var wg sync.WaitGroup
		headers, errs := make([]string, 12), make([]error, 12)
		for i := range headers {
			wg.Go(func() {
				headers[i], _, errs[i] = w.resolve([]*upstream.Upstream{w.up, other}[i%2], version, true)
			})
		}
		wg.Wait()
		for i := range headers {
			w.must(errs[i])
			if headers[i] != headers[0] || !w.fake.Valid(headers[i]) {
				t.Errorf("round %d: caller %d got another token", round, i)
			}
		}
		if got := w.fake.Count(); got != round+1 {
			t.Fatalf("round %d: %d refreshes", round, got)
		}
	}
	w.fake.Check(t)
	w.checkSecrecy()
}

// UP-5: a grant that has ended is dead for good, and asks the authorization server no more; a new grant mends it.
func TestDead(t *testing.T) {
	w := newWorld(t)
	version := w.grant()
	w.fake.End()
	for range 3 {
		_, _, err := w.resolve(w.up, version, true)
		wantFault(t, err, fault.Precondition, upstream.ReasonDead)
	}
	_, _, err := w.resolve(w.up, version, false)
	wantFault(t, err, fault.Precondition, upstream.ReasonDead)
	if w.fake.Count() != 1 {
		t.Errorf("%d refreshes of a dead grant", w.fake.Count())
	}
	if got := w.events(); !slices.Equal(got, []string{"upstream.credential.failed refused CREDENTIAL_DEAD github"}) {
		t.Errorf("events: %q", got)
	}
	w.want(w.grant(), false)
	w.checkSecrecy()
}

// UP-5: trouble at the authorization server keeps what there is, as long as it is good.
func TestTrouble(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"502": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) },
		"temporarily_unavailable": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"error":"temporarily_unavailable"}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			version := w.grant()
			first := w.want(version, false)
			w.fake.Set(upstreamfake.Behavior{Token: answer})
			w.pass(59 * time.Minute)
			if w.want(version, false) != first {
				t.Error("there is another token")
			}
			_, _, err := w.resolve(w.up, version, true)
			wantFault(t, err, fault.Unavailable, upstream.ReasonUnreachable)
			w.pass(2 * time.Minute)
			_, _, err = w.resolve(w.up, version, false)
			wantFault(t, err, fault.Unavailable, upstream.ReasonUnreachable)
			w.fake.Set(upstreamfake.Behavior{})
			if w.want(version, false) == first {
				t.Error("the token is not renewed")
			}
			if w.fake.Count() != 1 {
				t.Errorf("%d refreshes", w.fake.Count())
			}
			w.checkSecrecy()
		})
	}
}

// Without a refresh token, a token is good until its end; then its person connects anew.
func TestNoRefreshToken(t *testing.T) {
	w := newWorld(t)
	w.fake.Set(upstreamfake.Behavior{Tokens: func(m map[string]any) { delete(m, "refresh_token") }})
	version := w.grant()
	w.pass(59 * time.Minute)
	w.want(version, false)
	_, _, err := w.resolve(w.up, version, true)
	wantFault(t, err, fault.Precondition, upstream.ReasonDead)
	w.pass(time.Minute)
	_, _, err = w.resolve(w.up, version, false)
	wantFault(t, err, fault.Precondition, upstream.ReasonDead)
}

// UP-3: a grant is for the place that it was given for. Whoever changes the server gets nothing of it.
func TestMovedServer(t *testing.T) {
	for name, change := range map[string]func(s *directory.Server){
		"another host":                 func(s *directory.Server) { s.URL = "https://evil.example/mcp" },
		"another port":                 func(s *directory.Server) { s.URL = "http://127.0.0.1:1/mcp" },
		"another authorization server": func(s *directory.Server) { s.OAuth.Issuer = "https://evil.example" },
		"another token endpoint":       func(s *directory.Server) { s.OAuth.TokenEndpoint = "https://evil.example/token" },
		"another client":               func(s *directory.Server) { s.OAuth.ClientID = "penstock" },
		"another kind of credential":   func(s *directory.Server) { s.OAuth = nil },
		"another server by name":       func(s *directory.Server) { s.Name = "gitlab" },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			version := w.grant()
			w.want(version, false)
			good := w.server
			o := *w.server.OAuth
			w.server.OAuth = &o
			change(&w.server)
			if w.server.Name != good.Name { // the connection is still of the old one
				w.view.Store(directory.NewView(directory.Content{
					Servers: []*directory.Server{&w.server}, Connections: []*directory.Connection{{UID: connection, Name: "x", Server: good.Name}},
				}))
			} else {
				w.publish()
			}
			for _, refused := range []bool{false, true} {
				_, _, err := w.resolve(w.up, version, refused)
				wantFault(t, err, fault.Precondition, upstream.ReasonDead)
			}
			if w.fake.Count() != 0 {
				t.Error("the grant was used")
			}
			w.server = good
			w.publish()
			w.want(version, false)
		})
	}
}

// SE-2, UP-5: keys are rotated and everything is sealed anew while a refresh is under way: the token that it gives is kept.
func TestRotationOfKeys(t *testing.T) {
	w := newWorld(t)
	version := w.grant()
	slow, asked := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.fake.Set(upstreamfake.Behavior{Slow: slow, Asked: func(string) { once.Do(func() { close(asked) }) }})
	done := make(chan error, 1)
	go func() {
		_, _, err := w.up.Resolve(t.Context(), connection, version, true)
		done <- err
	}()
	<-asked
	w.must(envelope.RotateKeyFile(w.keyset))
	keys, err := envelope.OpenKeyFile(w.keyset)
	w.must(err)
	w.keys = keys
	_, _, rotated := w.another()
	if n, err := rotated.Reencrypt(t.Context()); err != nil || n != 2 { // the grant and the registration
		t.Fatalf("%d sealed anew, %v", n, err)
	}
	close(slow)
	w.must(<-done)
	w.pass(2 * time.Minute)
	w.want(version, true)
	if w.fake.Count() != 2 {
		t.Errorf("%d refreshes", w.fake.Count())
	}
	w.fake.Check(t)
	w.checkSecrecy()
}
