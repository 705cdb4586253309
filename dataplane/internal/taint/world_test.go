// SPDX-License-Identifier: Apache-2.0

package taint_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("away")

// ledger is a store that can be taken away, or be slow, and counts what it is asked.
type ledger struct {
	kept       atomic.Pointer[memstate.Contexts]
	gone, slow atomic.Bool
	reads      atomic.Int64
}

func (l *ledger) wait(ctx context.Context) error {
	if l.slow.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	if l.gone.Load() {
		return errAway
	}
	return nil
}

func (l *ledger) Read(ctx context.Context, keys []taint.Key) ([]taint.Mark, error) {
	l.reads.Add(1)
	if err := l.wait(ctx); err != nil {
		return nil, err
	}
	return l.kept.Load().Read(ctx, keys) //nolint:wrapcheck // a store's
}

func (l *ledger) Mark(ctx context.Context, keys []taint.Key, server string) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	return l.kept.Load().Mark(ctx, keys, server) //nolint:wrapcheck // a store's
}

func (l *ledger) Touch(ctx context.Context, uses []taint.Use) error {
	if err := l.wait(ctx); err != nil {
		return err
	}
	return l.kept.Load().Touch(ctx, uses) //nolint:wrapcheck // a store's
}

func (l *ledger) Watch(ctx context.Context) (time.Duration, error) {
	if err := l.wait(ctx); err != nil {
		return 0, err
	}
	return l.kept.Load().Watch(ctx) //nolint:wrapcheck // a store's
}

// world is a fleet of trackers on one store, in fake time.
type world struct {
	t     *testing.T
	store *ledger
	keys  *seal.Keyset
	log   bytes.Buffer
	node  *taint.Tracker // one of them
}

// inTime runs a test in fake time. The store has been there for long.
func inTime(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		keys, err := seal.Parse(seal.Generate())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, store: &ledger{}, keys: keys}
		w.store.kept.Store(memstate.NewContexts())
		time.Sleep(24 * time.Hour)
		w.node = w.join()
		test(w)
	})
}

// join starts another node.
func (w *world) join() *taint.Tracker {
	w.t.Helper()
	n, err := taint.New(taint.Config{
		Store: w.store, Keys: w.keys, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Meter: metricnoop.NewMeterProvider().Meter(""),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return n
}

func at(gateway string, p ident.Principal) *call.Caller {
	return &call.Caller{Principal: p, Gateway: &view.Gateway{Gateway: compile.Gateway{Name: gateway, UID: "uid-" + gateway}}}
}

func ada(client string) ident.Principal {
	return ident.Principal{Kind: ident.KindUser, UID: "u-ada", Method: "oauth", ClientID: client, TokenID: "changes"}
}

// inSession is a call in a legacy session that begins now.
func inSession(c *call.Caller, id string) *call.Caller {
	c.Client = call.Client{Session: id, Began: time.Now().Truncate(time.Second)}
	return c
}

func (w *world) find(c *call.Caller, sent string) *call.Context {
	w.t.Helper()
	var raw []byte
	if sent != "" {
		raw = []byte(sent)
	}
	x, err := w.node.Find(w.t.Context(), c, raw)
	if err != nil {
		w.t.Fatal(err)
	}
	return x
}

// handle is a new handle, as a client sends it.
func (w *world) handle(c *call.Caller) string {
	w.t.Helper()
	return `"` + w.node.Handle(c, w.find(c, "true")) + `"`
}

func (w *world) mark(c *call.Caller, sent, server string) {
	w.t.Helper()
	if err := w.node.Mark(w.t.Context(), w.find(c, sent), server); err != nil {
		w.t.Fatal(err)
	}
}

// wants compares what is known of the context of a call: "trusted", or "untrusted" with the servers, and "unknown".
func (w *world) wants(step string, c *call.Caller, sent, want string) {
	w.t.Helper()
	if got := describe(w.node.Trust(w.t.Context(), w.find(c, sent))); got != want {
		w.t.Errorf("%s: %s, want %s", step, got, want)
	}
}

func describe(trust call.Trust) string {
	if !trust.Untrusted {
		return "trusted"
	}
	out := "untrusted"
	if trust.Unknown {
		out = "unknown"
	}
	return strings.Join(append([]string{out}, trust.Sources...), " ")
}
