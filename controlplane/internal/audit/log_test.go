// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is an audit.Store that remembers what it was asked.
type store struct {
	mu      sync.Mutex
	err     error
	gate    chan struct{} // nil: open
	added   []audit.Event
	batches int
	filter  audit.Filter
	dropped []time.Time
}

func (s *store) UploadAudit(context.Context, audit.Upload) (uint64, error) { return 7, s.err }

func (s *store) AddAudit(_ context.Context, events []audit.Event) error {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	s.added = append(s.added, events...)
	return s.err
}

func (s *store) ListAudit(_ context.Context, f audit.Filter) (audit.Page, error) {
	s.filter = f
	return audit.Page{}, nil
}

func (s *store) DropAudit(_ context.Context, before time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = append(s.dropped, before)
	return s.err
}

func write(name string) audit.Event {
	return audit.Event{Source: audit.Admin, Principal: audit.Principal{Kind: "user", UID: "u1"}, Write: &audit.Write{Method: "UpdateGateway", Name: name}}
}

// TestWritesAreStored: in batches while a write goes on, at once when too many wait, and all of them when the control plane stops.
func TestWritesAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &store{gate: make(chan struct{})}
		l := audit.New(audit.Config{Store: s, Keep: time.Hour, Log: slog.New(slog.DiscardHandler), Now: time.Now})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { _ = l.Run(ctx) })
		for range 2 { // the first is being stored
			l.Record(ctx, write("x"))
			synctest.Wait()
		}
		for range 999 {
			l.Record(ctx, write("x"))
		}
		done := false
		running.Go(func() { l.Record(ctx, write("late")); done = true })
		synctest.Wait()
		if done {
			t.Error("the write that was too many did not wait")
		}
		close(s.gate)
		synctest.Wait()
		for range 5 {
			l.Record(ctx, write("x"))
		}
		cancel()
		running.Wait()
		if len(s.added) != 1007 || s.batches > 20 {
			t.Errorf("%d events in %d batches", len(s.added), s.batches)
		}
	})
}

// TestSweep: what is older than it is kept goes every hour; a failure is logged, and the next hour comes.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &obstest.Log{}
		s := &store{err: errors.New("away")}
		l := audit.New(audit.Config{Store: s, Keep: 90 * 24 * time.Hour, Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now})
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		if err := l.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(s.dropped) != 3 || time.Since(s.dropped[0]) < 90*24*time.Hour || !strings.Contains(log.String(), "old audit events not dropped") {
			t.Errorf("dropped %v, log: %s", s.dropped, log)
		}
		l.Record(t.Context(), write("eng"))
		ended, end := context.WithCancel(t.Context())
		end()
		if err := l.Run(ended); err != nil || !strings.Contains(log.String(), "audit event of a write not stored") || !strings.Contains(log.String(), "actor=user:u1") {
			t.Errorf("%v, log: %s", err, log)
		}
	})
}

// TestWhoMayRead: an ADMIN everything, everybody else what they did themselves.
func TestWhoMayRead(t *testing.T) {
	s := &store{}
	l := audit.New(audit.Config{Store: s})
	for _, tt := range []struct {
		caller catalog.Caller
		want   string
	}{
		{catalog.Caller{UserUID: "u1", Role: catalog.RoleAdmin}, ""},
		{catalog.Caller{System: true}, ""},
		{catalog.Caller{UserUID: "u1", Role: catalog.RoleEditor}, "user:u1"},
		{catalog.Caller{UserUID: "u1", Role: catalog.RoleMember}, "user:u1"},
		{catalog.Caller{}, "user:"},
	} {
		if _, err := l.List(t.Context(), tt.caller, audit.Filter{}); err != nil || s.filter.PrincipalKey != tt.want {
			t.Errorf("%+v sees those of %q, %v", tt.caller, s.filter.PrincipalKey, err)
		}
	}
	if stored, err := l.Upload(t.Context(), audit.Upload{}); stored != 7 || err != nil {
		t.Errorf("uploaded %d, %v", stored, err)
	}
}

// TestPrincipals: as people write them.
func TestPrincipals(t *testing.T) {
	for want, p := range map[string]audit.Principal{
		"ada@example.com":    {Kind: "user", Name: "ada@example.com"},
		"team:eng":           {Kind: "team", Name: "eng"},
		"service_account:ci": {Kind: "service_account", Name: "ci"},
		"organization":       {Kind: "organization", Name: "organization"},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q", p, got)
		}
	}
}
