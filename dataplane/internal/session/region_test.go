// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// shared is a store that counts what it is asked, and can be away.
type shared struct {
	*memstate.Sessions
	away  atomic.Bool
	mute  atomic.Bool // takes everything, but tells nobody
	loads atomic.Int64
}

var errAway = errors.New("away")

func (s *shared) Load(ctx context.Context, id session.UID) (session.Record, error) {
	s.loads.Add(1)
	if s.away.Load() {
		return session.Record{}, errAway
	}
	return s.Sessions.Load(ctx, id)
}

func (s *shared) Put(ctx context.Context, id session.UID, fields map[string][]byte) error {
	if s.away.Load() {
		return errAway
	}
	return s.Sessions.Put(ctx, id, fields)
}

func (s *shared) End(ctx context.Context, id session.UID, until time.Time) error {
	if s.away.Load() {
		return errAway
	}
	return s.Sessions.End(ctx, id, until)
}

func (s *shared) Own(ctx context.Context, id session.UID, node string) (int64, string, error) {
	if s.away.Load() {
		return 0, "", errAway
	}
	return s.Sessions.Own(ctx, id, node)
}

func (s *shared) Publish(ctx context.Context, note []byte) error {
	if s.away.Load() || s.mute.Load() {
		return errAway
	}
	return s.Sessions.Publish(ctx, note)
}

// region is nodes that share a store, and run.
type region struct {
	t     *testing.T
	keys  *seal.Keyset
	store *shared
	log   strings.Builder
	stops []func()
}

func inRegion(t *testing.T, test func(r *region)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		keys, err := seal.Parse(seal.Generate())
		if err != nil {
			t.Fatal(err)
		}
		r := &region{t: t, keys: keys, store: &shared{Sessions: memstate.NewSessions()}}
		defer func() {
			for _, stop := range r.stops {
				stop()
			}
		}()
		test(r)
	})
}

// node starts a node; stop has it hear and tell nothing more.
func (r *region) node(name string) (m *session.Manager, stop func()) {
	r.t.Helper()
	m, err := session.New(session.Config{
		Keys: r.keys, Store: r.store, Fleet: r.store, Log: slog.New(slog.NewTextHandler(&r.log, nil)), Node: name,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	var once atomic.Bool
	stop = func() {
		if once.Swap(true) {
			return
		}
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
	}
	r.stops = append(r.stops, stop)
	synctest.Wait()
	return m, stop
}

const declared = `{"sampling":{},"experimental":{"x":{}}}`

func (r *region) create(m *session.Manager) (string, *session.Session) {
	r.t.Helper()
	id, s, err := m.Create(r.t.Context(), eng, user("u1"), wire.V20251125, []byte(declared))
	if err != nil {
		r.t.Fatal(err)
	}
	return id, s
}

func (r *region) open(m *session.Manager, id string) *session.Session {
	r.t.Helper()
	s, err := m.Open(r.t.Context(), eng, user("u1"), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (r *region) gone(what string, m *session.Manager, id string) {
	r.t.Helper()
	if _, err := m.Open(r.t.Context(), eng, user("u1"), id); fault.From(err).Reason != session.ReasonNotFound {
		r.t.Errorf("%s: %v, want that it is not there", what, err)
	}
}
