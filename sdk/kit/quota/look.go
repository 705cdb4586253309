// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"hash/maphash"
	"math"
	"time"
)

// State is how far a limit is used up, as far as this process knows.
type State struct {
	Known bool          // whether the rest is
	Left  int           // how many could come at once now; with a store, at least so many
	Retry time.Duration // when there is the next one; 0 if Left is more than 0
	Alone bool          // the store could not be reached
}

// Look says what [Limiter.Allow] would find. It takes nothing, asks no store and remembers nothing: with a store, what is left is known
// only while this process holds permits, or has been told that there are none.
func (l *Limiter) Look(key Key, limit Limit, mode Mode) State {
	s := &l.shard[maphash.Comparable(l.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	e, known := s.entries.peek(key)
	if l.store == nil {
		if !known {
			return State{Known: true, Left: limit.atOnce()}
		}
		return e.alone.look(now, limit, 1)
	}
	if known {
		if left := e.cur.held(now) + e.next.held(now); left > 0 {
			return State{Known: true, Left: left}
		}
	}
	switch until := l.away.Load(); {
	case until != 0 && mode == Closed:
		return State{Known: true, Retry: awayFor, Alone: true}
	case until != 0:
		var b bucket
		if known {
			b = e.alone
		}
		st := b.look(now, limit, l.nodes())
		st.Alone = true
		return st
	case known && e.limit == limit && now.Before(e.denied):
		return State{Known: true, Retry: e.denied.Sub(now)}
	}
	return State{}
}

// held returns the permits of a lease that are still good.
func (l lease) held(now time.Time) int {
	if !now.Before(l.until) {
		return 0
	}
	return l.left
}

// look is what allow would find. It is called on a copy: nothing drains.
func (b bucket) look(now time.Time, l Limit, n int) State {
	amount, burst := l.share(n)
	b.drain(now, amount, l.Period)
	if over := b.level + 1 - burst; over > slack {
		return State{Known: true, Retry: l.takes(over * float64(max(n, 1)))}
	}
	return State{Known: true, Left: int(math.Floor(burst - b.level + slack))}
}
