// SPDX-License-Identifier: Apache-2.0

package signals_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/signals"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// running polls with a receiver until the returned function is called.
func (w *world) running(r *signals.Receiver) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		cancel()
		w.must(<-done)
	}
}

// until waits for something of the provider's.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(20 * time.Second); ; {
		yes := false
		w.idp.with(func() { yes = is() })
		if yes {
			return
		}
		select {
		case <-tick.C:
		case <-end:
			w.t.Fatalf("not within 20 s: %s; done %q, log %s", what, w.people.seen(), w.log.String())
		}
	}
}

// TestPoll is SF-1 for a provider that is asked (RFC 8936): more tokens than come at once are acted upon and acknowledged, what is none
// is told, and the token for the endpoint is in no log.
func TestPoll(t *testing.T) {
	w := withPolling(t)
	w.idp.with(func() {
		for i := range 25 {
			id := "good-" + string(rune('a'+i))
			w.idp.waiting[id] = w.idp.set(func(c claims) { c["jti"] = id })
		}
		w.idp.waiting["bad"] = w.idp.set(func(c claims) { c["iss"] = "https://evil.example" })
	})
	stop := w.running(w.r)
	w.until("everything is answered", func() bool { return len(w.idp.waiting) == 0 })
	stop()
	if got := w.people.seen(); len(got) != 25 {
		t.Errorf("%d were acted upon, want 25", len(got))
	}
	if w.idp.errs["bad"] != "invalid_issuer" || len(w.idp.errs) != 1 || len(w.idp.acked) != 25 {
		t.Errorf("acknowledged %q, refused %v", w.idp.acked, w.idp.errs)
	}
	if !slices.Contains(w.events(), "ssf.refused refused another_issuer ") {
		t.Errorf("recorded %q", w.events())
	}
	if strings.Contains(w.log.String(), pollToken) {
		t.Error("the token for the poll endpoint is in the log")
	}
}

// TestPollAfterFailure: what could not be done is not acknowledged, and is done when it comes again.
func TestPollAfterFailure(t *testing.T) {
	w := withPolling(t)
	w.people.fail(fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "x"))
	w.idp.with(func() { w.idp.waiting["one"] = w.idp.set(func(c claims) { c["jti"] = "one" }) })
	stop := w.running(w.r)
	w.until("it was asked for", func() bool { return w.idp.polls > 0 })
	stop()
	w.idp.with(func() {
		if len(w.idp.acked) != 0 || len(w.idp.waiting) != 1 {
			t.Errorf("acknowledged %q", w.idp.acked)
		}
	})
	w.people.fail(nil)
	stop = w.running(w.r)
	w.until("it is acknowledged", func() bool { return slices.Equal(w.idp.acked, []string{"one"}) })
	stop()
	if got := w.people.seen(); len(got) != 1 {
		t.Errorf("done %q", got)
	}
}

// TestPollRefused: an endpoint that does not take the token, and one that is away, are told to the operator once and left alone for a
// while.
func TestPollRefused(t *testing.T) {
	for status, want := range map[int]string{401: signals.ReasonPoll, 404: signals.ReasonPoll, 503: "UPSTREAM_UNREACHABLE"} {
		w := withPolling(t)
		w.idp.with(func() { w.idp.status = status })
		stop := w.running(w.r)
		w.until("it was asked", func() bool { return strings.Contains(w.log.String(), want) })
		stop()
		w.idp.with(func() {
			if w.idp.polls != 1 {
				t.Errorf("%d: asked %d times", status, w.idp.polls)
			}
		})
	}
}

// TestOnePolls: of two authservers one asks, and the other takes over when it is gone.
func TestOnePolls(t *testing.T) {
	w := withPolling(t)
	other := w.another()
	stop := w.running(w.r)
	w.until("one asks", func() bool { return w.idp.polls == 1 })
	stopOther := w.running(other)
	stopOther()
	w.idp.with(func() {
		if w.idp.polls != 1 {
			t.Errorf("both ask: %d", w.idp.polls)
		}
	})
	stop()
	w.clock = func() time.Time { return time.Now().Add(31 * time.Second) }
	stop = w.running(other)
	w.until("the other one asks", func() bool { return w.idp.polls == 2 })
	stop()
}
