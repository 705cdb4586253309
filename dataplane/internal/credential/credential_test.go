// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	noopmeter "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	credentialv1connect "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1/credentialv1connect"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestAnEntryBelongsToConnectionVersionAndPrincipal(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		for range 3 {
			b.want(t, "c1", "v_1", user("ada"), canary)
			b.want(t, "c1", "v_1", user("bob"), canary) // UP-9: never shared
			b.want(t, "c1", "v_2", user("ada"), canary)
			b.want(t, "c2", "v_1", user("ada"), canary)
			b.want(t, "c1", "v_1", ident.Principal{}, canary) // a discovery
		}
		want := []string{"c1 v_1 user ada", "c1 v_1 user bob", "c1 v_2 user ada", "c2 v_1 user ada", "c1 v_1"}
		if diff := cmp.Diff(want, b.server.asked); diff != "" {
			t.Errorf("questions differ (-want +got):\n%s", diff)
		}
	})
}

func TestWhatACallGetsIsItsOwn(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		for range 2 {
			c, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
			if err != nil {
				t.Fatal(err)
			}
			c.Headers["Authorization"], c.Headers["X"] = "spoilt", "spoilt"
			clear(c.Env)
		}
		b.want(t, "c1", "v_1", user("ada"), canary)
	})
}

func TestManyCallsAskOnce(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		hold := make(chan struct{})
		b.server.set(func(a *authserver) { a.hold = hold })
		var calls sync.WaitGroup
		for i := range 50 {
			calls.Go(func() {
				ctx := t.Context()
				if i == 0 { // the first to ask goes away; the others still get their answer
					canceled, cancel := context.WithTimeout(ctx, time.Second)
					defer cancel()
					_, err := b.Resolve(canceled, wanted("c1", "v_1", user("ada")))
					b.wantFault(t, err, fault.Timeout, fault.ReasonTimeout)
					return
				}
				b.want(t, "c1", "v_1", user("ada"), canary)
			})
			if i == 0 {
				synctest.Wait()
			}
		}
		time.Sleep(2 * time.Second)
		close(hold)
		calls.Wait()
		if n := b.server.questions(); n != 1 {
			t.Errorf("%d questions, want 1", n)
		}
	})
}

func TestRenewedAheadWhileInUse(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		for range 120 { // an hour, one call each half minute
			b.want(t, "c1", "v_1", user("ada"), canary)
			time.Sleep(30 * time.Second)
		}
		// Each renewal lies between 11:15 and 13:08 minutes of a life of 15.
		if n := b.server.questions(); n < 5 || n > 6 {
			t.Errorf("%d questions in an hour, want 5 or 6", n)
		}
		before := b.server.questions()
		time.Sleep(time.Hour) // nobody uses it
		synctest.Wait()
		if n := b.server.questions(); n != before {
			t.Errorf("%d questions without a call", n-before)
		}
		b.server.set(func(a *authserver) { a.value = "new" })
		b.want(t, "c1", "v_1", user("ada"), "new")
	})
}

// architecture.md §5: authserver lost → cached credentials until theirs expire.
func TestAuthserverAway(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		b.want(t, "c1", "v_1", user("ada"), canary)
		b.server.set(func(a *authserver) { a.fail = connect.NewError(connect.CodeUnavailable, errors.New("refused")) })
		for range 14 {
			time.Sleep(time.Minute)
			b.want(t, "c1", "v_1", user("ada"), canary)
			_, err := b.Resolve(t.Context(), wanted("c2", "v_1", user("ada")))
			b.wantFault(t, err, fault.Unavailable, credential.ReasonUnavailable)
		}
		time.Sleep(time.Minute)
		_, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
		b.wantFault(t, err, fault.Unavailable, credential.ReasonUnavailable)
		b.server.set(func(a *authserver) { a.fail = nil })
		b.want(t, "c1", "v_1", user("ada"), canary) // failures are not kept
	})
}

// A renewal that says "no such credential" ends the use of the old one at once.
func TestRefusedRenewalDropsTheEntry(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		b.want(t, "c1", "v_1", user("ada"), canary)
		b.server.set(func(a *authserver) { a.fail = refusal(connect.CodeFailedPrecondition, "CREDENTIAL_MISSING") })
		time.Sleep(14 * time.Minute)
		b.want(t, "c1", "v_1", user("ada"), canary) // starts the renewal
		synctest.Wait()
		_, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
		b.wantFault(t, err, fault.Precondition, "CREDENTIAL_MISSING")
	})
}

func TestDenyDropsAtOnce(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		all := func() {
			b.want(t, "c1", "v_1", user("ada"), canary)
			b.want(t, "c1", "v_1", user("bob"), canary)
			b.want(t, "c2", "v_1", user("ada"), canary)
		}
		all()
		for _, c := range []struct {
			name string
			deny func()
			asks int
		}{
			{"a connection", func() { b.Deny("c1") }, 2},
			{"a principal", func() { b.DenyPrincipal(user("ada")) }, 2},
			{"something else", func() { b.Deny("c3"); b.DenyPrincipal(user("eve")) }, 0},
		} {
			before := b.server.questions()
			c.deny()
			all()
			if n := b.server.questions() - before; n != c.asks {
				t.Errorf("%s: %d questions afterwards, want %d", c.name, n, c.asks)
			}
		}
	})
}

// What was asked before a denial may be what was denied: neither used nor kept.
func TestDenyWhileAsking(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		hold := make(chan struct{})
		b.server.set(func(a *authserver) { a.hold = hold })
		var calls sync.WaitGroup
		calls.Go(func() { b.want(t, "c1", "v_1", user("ada"), "new") })
		synctest.Wait()
		b.Deny("c1")
		b.server.set(func(a *authserver) { a.value, a.hold = "new", nil })
		close(hold)
		calls.Wait()
		b.want(t, "c1", "v_1", user("ada"), "new")
		if n := b.server.questions(); n != 2 {
			t.Errorf("%d questions, want 2", n)
		}
	})
}

func TestLifetimeIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		life time.Duration // as the authserver says
		want time.Duration // kept so long
	}{
		{"an hour", time.Hour, 15 * time.Minute},
		{"a minute", time.Minute, time.Minute},
		{"over already", -time.Minute, 0},
		{"no time given", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 0, func(t *testing.T, b *bench) {
				b.server.set(func(a *authserver) { a.life = c.life })
				b.want(t, "c1", "v_1", user("ada"), canary) // the call that asked is served
				b.server.set(func(a *authserver) { a.fail = errors.New("away") })
				_, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
				if kept := err == nil; kept != (c.want > 0) {
					t.Errorf("kept: %v (error %v)", kept, err)
				}
				time.Sleep(c.want)
				_, err = b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
				b.wantFault(t, err, fault.Unavailable, credential.ReasonUnavailable)
			})
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	bubble(t, 3, func(t *testing.T, b *bench) {
		for i := range 5 {
			b.want(t, fmt.Sprint("c", i), "v", user("ada"), canary)
			time.Sleep(time.Second)
		}
		before := b.server.questions()
		for i := 4; i >= 2; i-- { // the latest three are still there
			b.want(t, fmt.Sprint("c", i), "v", user("ada"), canary)
		}
		if n := b.server.questions() - before; n != 0 {
			t.Errorf("%d questions for the latest three, want 0", n)
		}
		b.want(t, "c0", "v", user("ada"), canary)
		if n := b.server.questions() - before; n != 1 {
			t.Errorf("%d questions for the one that had to go, want 1", n)
		}
	})
}

func refusal(code connect.Code, reason string) error {
	e := connect.NewError(code, errors.New("The text."))
	d, err := connect.NewErrorDetail(&errdetails.ErrorInfo{Reason: reason, Domain: "penstock"})
	if err != nil {
		return err
	}
	e.AddDetail(d)
	return e
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(*authserver)
		kind   fault.Kind
		reason string
	}{
		{"missing", func(a *authserver) { a.fail = refusal(connect.CodeFailedPrecondition, "CREDENTIAL_MISSING") }, fault.Precondition, "CREDENTIAL_MISSING"},
		{"unreadable", func(a *authserver) { a.fail = refusal(connect.CodeFailedPrecondition, "CREDENTIAL_UNREADABLE") }, fault.Precondition, "CREDENTIAL_UNREADABLE"},
		{"node not known", func(a *authserver) { a.fail = refusal(connect.CodeUnauthenticated, "WORKLOAD_UNKNOWN") }, fault.Unavailable, credential.ReasonRefused},
		{"node not allowed", func(a *authserver) { a.fail = refusal(connect.CodePermissionDenied, "WORKLOAD_ROLE_DENIED") }, fault.Unavailable, credential.ReasonRefused},
		{"a bug there", func(a *authserver) { a.fail = refusal(connect.CodeInternal, "INTERNAL") }, fault.Unavailable, credential.ReasonUnavailable},
		{"its store away", func(a *authserver) { a.fail = refusal(connect.CodeUnavailable, "STORE_UNAVAILABLE") }, fault.Unavailable, credential.ReasonUnavailable},
		{"a proxy's answer", func(a *authserver) { a.fail = connect.NewError(connect.CodePermissionDenied, errors.New("no")) }, fault.Unavailable, credential.ReasonUnavailable},
		{"no secret", func(a *authserver) { a.bare = true }, fault.Unavailable, credential.ReasonUnavailable},
		{"no answer in time", func(a *authserver) { a.hold = make(chan struct{}) }, fault.Unavailable, credential.ReasonUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, 0, func(t *testing.T, b *bench) {
				b.server.set(c.set)
				started := time.Now()
				_, err := b.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
				b.wantFault(t, err, c.kind, c.reason)
				if waited := time.Since(started); waited > 5*time.Second {
					t.Errorf("the call waited %v", waited)
				}
			})
		})
	}
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &authserver{life: time.Minute, value: canary}
		c := newClient(t, server, new(bytes.Buffer), 0)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		if _, err := c.Resolve(t.Context(), wanted("c1", "v_1", user("ada"))); err != nil {
			t.Fatal(err)
		}
		server.set(func(a *authserver) { a.hold = make(chan struct{}) })
		waiting := make(chan error)
		go func() {
			_, err := c.Resolve(t.Context(), wanted("c2", "v_1", user("ada")))
			waiting <- err
		}()
		synctest.Wait()
		started := time.Now()
		cancel()
		if err := <-waiting; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a waiting call got %v", err)
		}
		if err := <-ended; err != nil || time.Since(started) > time.Second {
			t.Errorf("Run ended with %v after %v", err, time.Since(started))
		}
		if _, err := c.Resolve(t.Context(), wanted("c1", "v_1", user("ada"))); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("after the end a cached credential is given out (error %v)", err)
		}
	})
}

// Over a real connection, with the trace of the call.
func TestOverHTTP(t *testing.T) {
	server := &authserver{life: time.Minute, value: canary}
	mux := http.NewServeMux()
	mux.Handle(credentialv1connect.NewCredentialServiceHandler(server))
	listening := httptest.NewServer(mux)
	t.Cleanup(listening.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := credential.New(credential.Config{
		HTTP: &http.Client{Transport: transport}, URL: listening.URL, Log: slog.New(slog.DiscardHandler),
		Tracer: noop.NewTracerProvider(), Meter: noopmeter.NewMeterProvider(), Propagator: propagation.TraceContext{},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Resolve(t.Context(), wanted("c1", "v_1", user("ada")))
	if err != nil || got.Headers["Authorization"].Reveal() != canary {
		t.Fatalf("resolved %v, error %v", got, err)
	}
	listening.Close()
	if _, err := c.Resolve(t.Context(), wanted("c2", "v_1", user("ada"))); fault.From(err).Reason != credential.ReasonUnavailable {
		t.Errorf("error is %v", err)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := credential.New(credential.Config{}); err == nil {
		t.Error("a client without parts was made")
	}
}
