// SPDX-License-Identifier: Apache-2.0

// Package usage remembers what a node noticed in passing, last uses of bearer tokens and the state of connections, and
// hands it to the control plane about once a minute.
//
// authn and dispatch note, one task of the root reports. It must never block a call, and it loses notes rather than
// grow: they are statistics, not records.
package usage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// maxNoted bounds each kind of note between two reports; further names are dropped.
const maxNoted = 10_000

// interval between two reports.
const interval = time.Minute

// Report is what was noticed since the report before.
type Report struct {
	TokenUses   map[string]time.Time // bearer token name to last use, to the minute
	Connections map[string]Check     // connection name to the last change of its state
}

// Check is the outcome of a call over a connection.
type Check struct {
	Time   time.Time
	Reason string // empty after a success
}

// Sender hands a report to the control plane.
type Sender interface {
	SendReport(ctx context.Context, r Report) error
}

// Recorder collects notes. It is safe for concurrent use.
type Recorder struct {
	sender Sender
	log    *slog.Logger
	now    func() time.Time

	tokens sync.Map // name to *atomic.Int64, minutes since 1970 of the last use
	count  atomic.Int64

	mu     sync.Mutex
	known  map[string]string // connection to the reason last seen
	checks map[string]Check  // changed since the last report
	sent   map[string]int64  // token to the minute last reported; owned by Run
}

// New returns a Recorder that reports to sender.
func New(sender Sender, log *slog.Logger, now func() time.Time) *Recorder {
	return &Recorder{
		sender: sender, log: log, now: now,
		known: make(map[string]string), checks: make(map[string]Check), sent: make(map[string]int64),
	}
}

// TokenUsed notes the use of a bearer token (ST-3). It takes no lock once the token is known.
func (r *Recorder) TokenUsed(name string) {
	minute := r.now().Unix() / 60
	if v, ok := r.tokens.Load(name); ok {
		if last, isMinute := v.(*atomic.Int64); isMinute && last.Load() < minute {
			last.Store(minute)
		}
		return
	}
	if r.count.Load() >= maxNoted {
		return
	}
	fresh := new(atomic.Int64)
	fresh.Store(minute)
	if _, loaded := r.tokens.LoadOrStore(name, fresh); !loaded {
		r.count.Add(1)
	}
}

// ConnectionChecked notes the outcome of a call over a connection; reason is empty after a success. Only a change of
// outcome is reported.
func (r *Recorder) ConnectionChecked(name, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if last, ok := r.known[name]; ok && last == reason {
		return
	}
	if len(r.known) >= maxNoted {
		return
	}
	r.known[name] = reason
	r.checks[name] = Check{Time: r.now(), Reason: reason}
}

// Run reports about once a minute until ctx ends. A report that fails is sent again with the next one.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.report(ctx)
		}
	}
}

func (r *Recorder) report(ctx context.Context) {
	report := r.collect()
	if len(report.TokenUses)+len(report.Connections) == 0 {
		return
	}
	if err := r.sender.SendReport(ctx, report); err != nil {
		r.log.WarnContext(ctx, "status report not taken", slog.Any(obs.AttrError, err))
		r.putBack(report)
		return
	}
	for name, at := range report.TokenUses {
		r.sent[name] = at.Unix() / 60
	}
}

func (r *Recorder) collect() Report {
	report := Report{TokenUses: make(map[string]time.Time)}
	r.tokens.Range(func(k, v any) bool {
		name, isName := k.(string)
		last, isMinute := v.(*atomic.Int64)
		if minute := last.Load(); isName && isMinute && r.sent[name] < minute {
			report.TokenUses[name] = time.Unix(minute*60, 0)
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	report.Connections, r.checks = r.checks, make(map[string]Check)
	return report
}

func (r *Recorder) putBack(report Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, check := range report.Connections {
		if _, newer := r.checks[name]; !newer {
			r.checks[name] = check
		}
	}
}
