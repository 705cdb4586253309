// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"context"
	"math"
	"time"
)

// term returns how long permits may be used after they were taken.
func term(l Limit) time.Duration { return min(l.Period/leaseShare, longestLease) }

// pause returns how long a key that is over its limit is refused without asking: long enough that a store is not asked for each
// permit, and so short that its bucket does not overflow meanwhile.
func pause(l Limit, retry time.Duration) time.Duration {
	return max(retry, min(term(l)/askShare, l.takes(float64(l.atOnce())/askShare), longestPause))
}

// slowest is how long a permit may take to come back so that one may be held of a small limit.
const slowest = 100 * time.Millisecond

// ahead reports whether permits are taken ahead of need.
func ahead(l Limit) bool { return l.atOnce() >= heldShare || l.each() <= slowest }

// ask asks the store for the next batch, unless it is being asked; it reports whether an answer is on its way. Called with
// the lock.
func (l *Limiter) ask(ctx context.Context, s *shard, e *entry, now time.Time) bool {
	if e.flight != nil {
		return true
	}
	select {
	case l.inFlight <- struct{}{}:
	default:
		return false
	}
	e.size(now)
	n, limit, ended := max(e.batch, min(e.waiting, e.limit.atOnce())), e.limit, make(chan struct{})
	e.flight = ended
	// The answer is for all calls of the key: the end of the one that needed it first does not end the question.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), waitAtMost)
	l.running.Go(func() {
		defer cancel()
		g, err := l.store.Take(ctx, e.key, limit, n)
		<-l.inFlight
		s.mu.Lock()
		defer s.mu.Unlock()
		e.flight = nil
		close(ended)
		if err != nil {
			l.away.Store(time.Now().Add(awayFor).UnixNano())
			return
		}
		l.away.Store(0)
		// From when it was asked for: the store took them not earlier.
		e.add(lease{left: g.Permits, got: g.Permits, until: now.Add(term(limit))})
		if e.cur.left+e.next.left > 0 {
			s.holding[e] = struct{}{}
		}
		if g.Permits < n {
			e.denied = time.Now().Add(pause(limit, g.Retry))
		}
	})
	return true
}

// size makes the next batch last for a part of a lease, at the rate of the calls since the last.
func (e *entry) size(now time.Time) {
	most := max(e.limit.atOnce()/heldShare, 1)
	if !e.asked.IsZero() {
		passed := max(now.Sub(e.asked), time.Millisecond)
		want := math.Ceil(float64(e.demand) * float64(term(e.limit)) / askShare / float64(passed))
		e.batch = max(int(min(want, float64(2*e.batch), float64(most))), 1)
	}
	e.batch = min(e.batch, most)
	e.asked, e.demand = now, 0
}

// add puts a new lease behind the one in use.
func (e *entry) add(l lease) {
	switch {
	case l.got == 0:
	case e.cur.left == 0:
		e.cur = l
	default:
		e.next = l
	}
}

// sweep takes the permits that are too old out of the entries, and returns what to give back.
func (s *shard) sweep(now time.Time) []back {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []back
	for e := range s.holding {
		n := 0
		for _, l := range []*lease{&e.cur, &e.next} {
			if l.left > 0 && !now.Before(l.until) {
				n += l.left
				l.left = 0
			}
		}
		if n > 0 {
			all = append(all, back{e.key, e.limit, n})
		}
		if e.cur.left+e.next.left == 0 {
			delete(s.holding, e)
		}
	}
	return all
}

// back is permits to give back.
type back struct {
	key   string
	limit Limit
	n     int
}

// sweepEvery is how often permits that are too old are looked for.
const sweepEvery = 100 * time.Millisecond

// Run gives back what was taken and not used in its time, until the context ends.
func (l *Limiter) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for i := range l.shard {
			for _, b := range l.shard[i].sweep(time.Now()) {
				if l.away.Load() != 0 || ctx.Err() != nil {
					break // the level of the store falls by itself
				}
				if _, err := l.store.Take(ctx, b.key, b.limit, -b.n); err != nil {
					break
				}
			}
		}
	}
}

// Close waits for the store's answers that are on their way, at most a second.
func (l *Limiter) Close() { l.running.Wait() }
