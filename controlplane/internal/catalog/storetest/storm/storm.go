// SPDX-License-Identifier: Apache-2.0

package storm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Breaker breaks what is below a store.
type Breaker interface {
	// Kill ends some of the store's connections.
	Kill(ctx context.Context) error
	// Restart stops the database in the middle of its work and starts it again.
	Restart(ctx context.Context) error
}

// Config says how hard it storms.
type Config struct {
	// Writers is the store that is written to; Reader is another one on the same database, or the same.
	Writers, Reader catalog.Store
	// Breaker may be nil: only contexts end and functions fail.
	Breaker Breaker
	// Commits is how many revisions the log shall have in all, those of the runs before included.
	Commits int64
	// Parallel is the number of writers.
	Parallel int
	// Seed makes the writers' choices.
	Seed uint64
	// KillEvery and RestartEvery are the mean times between two faults; 0 is never.
	KillEvery, RestartEvery time.Duration
	// CheckEvery is the time between two moments when everything stops and is compared.
	CheckEvery time.Duration
	// State is the file from which a run is continued; empty is none.
	State string
	// Progress, if set, is told about every few seconds where the run is.
	Progress func(Result)
}

// Result is what a run found.
type Result struct {
	Findings

	// Rate is revisions a second over the whole run, pauses included.
	Rate float64 `json:"rate"`
	// Seconds is how long the run took, in all its parts.
	Seconds float64 `json:"seconds"`
	// Kills and Restarts count what the breaker did.
	Kills    int64 `json:"kills"`
	Restarts int64 `json:"restarts"`
	// Complete is true when all commits were made and compared.
	Complete bool `json:"complete"`
}

// storm is a run.
type storm struct {
	c      Config
	ledger *ledger
	state  state
	began  time.Time

	pause    sync.RWMutex // held for reading by each write, for writing while all is compared
	round    atomic.Uint64
	kills    atomic.Int64
	restarts atomic.Int64
}

const (
	progressEvery = 5 * time.Second
	patience      = 2 * time.Minute // of the reader, at a comparison
)

// Run storms until the log has the commits that are wanted, or ctx ends; the run can be continued then.
func Run(ctx context.Context, c Config) (Result, error) {
	st, err := load(c.State)
	if err != nil {
		return Result{}, err
	}
	st.Run++
	s := &storm{c: c, state: st, ledger: st.restore(), began: time.Now()}
	s.round.Store(st.Round)
	s.kills.Store(st.Kills)
	s.restarts.Store(st.Restarts)
	// Saved before the first write: the names of a run that is killed are not used again.
	if err := s.skip(ctx); err != nil {
		return Result{}, err
	}
	if err := s.state.save(c.State); err != nil {
		return Result{}, err
	}
	runErr := s.run(ctx)
	// The comparison at the end is made also when ctx ended, and bounded by its own patience.
	err = errors.Join(runErr, s.compare(context.WithoutCancel(ctx), true))
	return s.result(), err
}

// skip passes by what a run that was killed wrote after its last comparison: its account is lost, the order is not.
func (s *storm) skip(ctx context.Context) error {
	for {
		page, err := s.c.Reader.Changes(ctx, s.ledger.last, 1000)
		if err != nil {
			return fmt.Errorf("read what was written before: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, c := range page {
			if c.Revision != s.ledger.last+1 {
				return fmt.Errorf("revision %d follows %d in what was written before", c.Revision, s.ledger.last)
			}
			s.ledger.last = c.Revision
			for _, op := range c.Ops {
				s.ledger.latest[op.Key] = op.Version
			}
		}
	}
}

func (s *storm) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	for w := range s.c.Parallel {
		group.Go(func() { s.write(ctx, uint64(w)) })
	}
	group.Go(func() { s.read(ctx) })
	group.Go(func() { s.report(ctx) })
	if s.c.Breaker != nil {
		group.Go(func() { s.every(ctx, s.c.KillEvery, &s.kills, s.c.Breaker.Kill) })
		group.Go(func() { s.every(ctx, s.c.RestartEvery, &s.restarts, s.c.Breaker.Restart) })
	}
	var err error
	for err == nil && ctx.Err() == nil && !s.done() {
		s.until(ctx, s.c.CheckEvery)
		err = s.compare(ctx, false)
	}
	cancel()
	group.Wait()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// done reports whether the log has all that is wanted, or something is wrong.
func (s *storm) done() bool {
	last, f := s.ledger.position()
	return int64(last) >= s.c.Commits || f.Bad() > 0
}

// until waits, but not longer than the run needs.
func (s *storm) until(ctx context.Context, d time.Duration) {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	end := time.Now().Add(d)
	for time.Now().Before(end) && !s.done() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// every breaks something again and again, a random while apart. What cannot be broken now is broken already.
func (s *storm) every(ctx context.Context, mean time.Duration, count *atomic.Int64, breakIt func(context.Context) error) {
	for mean > 0 && sleep(ctx, mean/2+rand.N(mean)) { //nolint:gosec // jitter
		if breakIt(context.WithoutCancel(ctx)) == nil {
			count.Add(1)
		}
	}
}

// read follows the log as the feed does.
func (s *storm) read(ctx context.Context) {
	hints, err := s.c.Reader.Watch(ctx)
	if err != nil {
		return
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if s.page(ctx) > 0 {
			continue
		}
		select {
		case <-hints:
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// page enters the next changes and returns their number; there are none while the database is away.
func (s *storm) page(ctx context.Context) int {
	last, _ := s.ledger.position()
	page, err := s.c.Reader.Changes(ctx, last, 500)
	if fault.KindOf(err) == fault.Stale {
		s.ledger.stale(last)
	}
	for _, c := range page {
		s.ledger.see(c)
	}
	return len(page)
}

// compare stops the writers, lets the reader catch up with the head, and settles the account. Finally, it reads alone.
func (s *storm) compare(ctx context.Context, final bool) error {
	s.pause.Lock()
	defer s.pause.Unlock()
	deadline := time.Now().Add(patience)
	for {
		h, err := s.c.Reader.Head(ctx)
		if err == nil && final {
			s.page(ctx)
		}
		if last, _ := s.ledger.position(); err == nil && last >= h.Revision {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the reader does not reach the head: %w", err)
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
	s.ledger.settle(s.round.Add(1))
	if final {
		if err := s.records(ctx); err != nil {
			return err
		}
	}
	s.state.take(s.ledger)
	now := time.Now()
	s.state.Took, s.began = s.state.Took+now.Sub(s.began), now
	s.state.Round, s.state.Kills, s.state.Restarts = s.round.Load(), s.kills.Load(), s.restarts.Load()
	return s.state.save(s.c.State)
}

// records compares the records with the log. A write whose writer gave up may still be committed late, so it looks again until
// both are of one revision.
func (s *storm) records(ctx context.Context) error {
	for {
		have := make(map[catalog.Key]catalog.Hash)
		h, err := s.c.Reader.Snapshot(ctx, func(r *catalog.Record) error { have[r.Key] = r.Version; return nil })
		if err != nil {
			return err
		}
		if last, _ := s.ledger.position(); last == h.Revision {
			s.ledger.compare(have)
			return nil
		}
		s.page(ctx)
	}
}

func (s *storm) report(ctx context.Context) {
	for s.c.Progress != nil && sleep(ctx, progressEvery) {
		s.pause.RLock()
		r := s.result()
		s.pause.RUnlock()
		s.c.Progress(r)
	}
}

func (s *storm) result() Result {
	last, f := s.ledger.position()
	took := (s.state.Took + time.Since(s.began)).Seconds()
	return Result{
		Findings: f, Seconds: took, Rate: float64(f.Commits) / took, Kills: s.kills.Load(), Restarts: s.restarts.Load(),
		Complete: int64(last) >= s.c.Commits,
	}
}

// sleep waits and reports whether ctx lives.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
