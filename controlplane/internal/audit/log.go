// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// waiting bounds the writes that wait to be stored; one more is stored at once, while its caller waits.
	waiting = 1000
	atOnce  = 200
	// sweepEvery is how often old events are looked for.
	sweepEvery = time.Hour
	// lastWrite bounds the storing of what waits when the control plane stops.
	lastWrite = 3 * time.Second
)

// Config is what a [Log] needs.
type Config struct {
	Store Store
	Keep  time.Duration // how long events are kept
	Log   *slog.Logger
	Now   func() time.Time
}

// Log is the audit. Make it with [New]. It is safe for concurrent use.
type Log struct {
	Config

	writes chan Event
}

// New returns a Log. It starts nothing.
func New(c Config) *Log { return &Log{Config: c, writes: make(chan Event, waiting)} }

// Upload stores events of a node; see [Store].
func (l *Log) Upload(ctx context.Context, u Upload) (stored uint64, err error) {
	return l.Store.UploadAudit(ctx, u)
}

// Record takes the event of a write, which is stored a moment later: a write does not wait for it.
func (l *Log) Record(ctx context.Context, e Event) {
	select {
	case l.writes <- e:
	default:
		l.store(ctx, []Event{e})
	}
}

// List returns the events that a caller may see: an ADMIN all, everybody else their own.
func (l *Log) List(ctx context.Context, c catalog.Caller, f Filter) (Page, error) {
	if !c.System && c.Role != catalog.RoleAdmin {
		f.PrincipalKey = Principal{Kind: "user", UID: c.UserUID}.Key()
	}
	return l.Store.ListAudit(ctx, f)
}

// Run stores writes and forgets what is too old, until ctx ends; then it stores what waits.
func (l *Log) Run(ctx context.Context) error {
	sweep := time.NewTimer(rand.N(sweepEvery / 10)) //nolint:gosec // jitter: control planes share the table
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			// Detached: what was done before the end is recorded, in bounded time.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			l.drain(last, nil)
			cancel()
			return nil
		case e := <-l.writes:
			l.drain(ctx, []Event{e})
		case <-sweep.C:
			if err := l.Store.DropAudit(ctx, l.Now().Add(-l.Keep)); err != nil && ctx.Err() == nil {
				l.Log.WarnContext(ctx, "old audit events not dropped", slog.Any(obs.AttrError, err))
			}
			sweep.Reset(sweepEvery)
		}
	}
}

// drain stores everything that waits, after those given.
func (l *Log) drain(ctx context.Context, events []Event) {
	for {
		select {
		case e := <-l.writes:
			if events = append(events, e); len(events) < atOnce {
				continue
			}
		default:
		}
		if len(events) == 0 {
			return
		}
		l.store(ctx, events)
		events = events[:0]
	}
}

// store keeps events of writes. They are logged if that fails: the writes have been made.
func (l *Log) store(ctx context.Context, events []Event) {
	err := l.Store.AddAudit(context.WithoutCancel(ctx), events) // the write was made, whether its caller still waits or not
	if err == nil {
		return
	}
	for _, e := range events {
		l.Log.ErrorContext(ctx, "audit event of a write not stored", slog.String(obs.AttrMethod, e.Write.Method),
			slog.String("actor", e.Principal.Key()), slog.String(obs.AttrRequestID, e.RequestID), slog.Any(obs.AttrError, err))
	}
}
