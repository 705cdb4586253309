// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shards = 16
	// leaseShare is the part of a period in which permits must be used after they were taken: a window of a period then sees
	// at most 5 % of an amount that an earlier one paid for (G-50), however many processes there are.
	leaseShare   = 20
	longestLease = 10 * time.Second
	// heldShare is the part of a burst that a process takes ahead of need: what others cannot have meanwhile.
	heldShare = 50
	// askShare is the part of a lease for which a batch is meant to last.
	askShare     = 4
	longestPause = 250 * time.Millisecond
	// waitAtMost is how long a call waits for the store, whose own time-outs are shorter than that.
	waitAtMost = time.Second
	// awayFor is how long a store that failed is left alone.
	awayFor = time.Second
	// flights bounds how many keys are asked for at once.
	flights = 256
)

// Config is what a [Limiter] needs.
type Config struct {
	// Store is shared with the other processes. Nil counts here alone, exactly.
	Store Store
	// Nodes, if set, returns how many processes count together. While the store is away each has that part of a limit; without
	// Nodes, or while it returns less than 1, each has the whole limit. It is called with a lock held and must be quick.
	Nodes func() int
	// Keys is how many are remembered; 0 means [DefaultKeys]. The one not used for longest is forgotten.
	Keys int
}

// Limiter answers from permits that it took from the store before, in batches that follow the rate of the calls. In steady
// state a call asks nobody: a batch is followed by the next before it is used up, and a key that is over its limit is refused
// here until the store will have permits again. The first call of a key, and one after a pause longer than a lease, waits for
// one round trip. So does each call under a limit of less than 50 at once and 10 a second: there, one permit in the hands of a
// process that does not use it would be missed by the others, and calls are rare.
//
// Bounds. Permits are counted in the store when they are taken, and are used within a twentieth of the period (10 s at most),
// or given back. A window of length w thus sees at most Burst + Amount·(w + Period/20)/Period over all processes. Each holds
// back at most some fiftieths of a burst.
//
// It is safe for concurrent use. [Limiter.Run] gives unused permits back and has to run; [Limiter.Close] waits for the store's
// last answers.
type Limiter struct {
	store Store
	nodes func() int
	seed  maphash.Seed
	shard [shards]shard

	away     atomic.Int64 // unix nanoseconds until when the store is left alone; 0 = it works
	inFlight chan struct{}
	running  sync.WaitGroup
}

// shard is a part of the keys.
type shard struct {
	mu      sync.Mutex // guards the rest, and the entries
	entries *recent[Key, *entry]
	holding map[*entry]struct{} // entries with permits to give back
}

// lease is permits that were taken from the store.
type lease struct {
	left, got int
	until     time.Time
}

// entry is what is known of a key.
type entry struct {
	key     string // in the store
	limit   Limit
	cur     lease
	next    lease
	batch   int       // how many were asked for last
	asked   time.Time // when
	demand  int       // calls since then
	denied  time.Time // the store has nothing before
	waiting int
	flight  chan struct{} // closed at the end of the present question; nil = none
	alone   bucket        // what this process let pass
}

// NewLimiter returns a limiter.
func NewLimiter(c Config) *Limiter {
	if c.Keys < shards {
		c.Keys = DefaultKeys
	}
	if c.Nodes == nil {
		c.Nodes = func() int { return 1 }
	}
	l := &Limiter{store: c.Store, nodes: c.Nodes, seed: maphash.MakeSeed(), inFlight: make(chan struct{}, flights)}
	for i := range l.shard {
		l.shard[i].entries = newRecent[Key, *entry](c.Keys / shards)
		l.shard[i].holding = make(map[*entry]struct{})
	}
	return l
}

// Allow takes one permit of a key.
func (l *Limiter) Allow(ctx context.Context, key Key, limit Limit, mode Mode) Decision {
	s := &l.shard[maphash.Comparable(l.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(key, limit)
	now := time.Now()
	if l.store == nil {
		return e.alone.allow(now, limit, 1)
	}
	e.demand++
	if d, known := l.local(ctx, s, e, now, mode); known {
		return d
	}
	return l.wait(ctx, s, e, mode)
}

// Return gives back the permit of a call that [Limiter.Allow] let pass and that did not happen.
func (l *Limiter) Return(key Key) {
	s := &l.shard[maphash.Comparable(l.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	e, known := s.entries.get(key)
	if !known {
		return
	}
	e.alone.level = max(e.alone.level-1, 0)
	if time.Now().Before(e.cur.until) && e.cur.left < e.cur.got {
		e.cur.left++
		s.holding[e] = struct{}{}
	}
}

func (s *shard) entry(key Key, limit Limit) *entry {
	e, known := s.entries.get(key)
	if !known {
		e = &entry{key: key.Rule + "|" + key.Who, limit: limit, batch: 1}
		s.entries.put(key, e)
	}
	if e.limit != limit {
		// The count goes on; what was said of the old limit does not.
		e.limit, e.denied = limit, time.Time{}
	}
	return e
}

// local answers without asking, where that is possible. Called with the lock.
func (l *Limiter) local(ctx context.Context, s *shard, e *entry, now time.Time, mode Mode) (Decision, bool) {
	if e.take(now) {
		e.alone.spend(now, e.limit)
		if e.cur.left <= e.cur.got/2 && e.next.left == 0 && !now.Before(e.denied) && ahead(e.limit) {
			l.ask(ctx, s, e, now)
		}
		return Decision{OK: true}, true
	}
	if until := l.away.Load(); until != 0 {
		if now.UnixNano() >= until && l.away.CompareAndSwap(until, now.Add(awayFor).UnixNano()) {
			l.ask(ctx, s, e, now) // whether it is back: one question, and nobody waits for it
		}
		if mode == Closed {
			return Decision{Retry: awayFor, Alone: true}, true
		}
		d := e.alone.allow(now, e.limit, l.nodes())
		d.Alone = true
		return d, true
	}
	if now.Before(e.denied) {
		return Decision{Retry: e.denied.Sub(now)}, true
	}
	return Decision{}, false
}

// take uses a permit that is held. What is too old stays for the sweep, or is overwritten: the level of the store falls by itself.
func (e *entry) take(now time.Time) bool {
	if e.cur.left == 0 || !now.Before(e.cur.until) {
		if e.next.left == 0 || !now.Before(e.next.until) {
			return false
		}
		e.cur, e.next = e.next, lease{}
	}
	e.cur.left--
	return true
}

// wait asks the store, or waits for the answer that another call asked for. Called with the lock, which it lets go meanwhile.
func (l *Limiter) wait(ctx context.Context, s *shard, e *entry, mode Mode) Decision {
	timer := time.NewTimer(waitAtMost)
	defer timer.Stop()
	for {
		e.waiting++
		if !l.ask(ctx, s, e, time.Now()) {
			e.waiting--
			return Decision{Retry: longestPause} // too many questions at once: this one comes back
		}
		flight := e.flight
		s.mu.Unlock()
		late := false
		select {
		case <-flight:
		case <-timer.C:
			late = true
		case <-ctx.Done():
			late = true
		}
		s.mu.Lock()
		e.waiting--
		now := time.Now()
		if d, known := l.local(ctx, s, e, now, mode); known {
			return d
		}
		if late {
			return Decision{Retry: longestPause}
		}
	}
}
