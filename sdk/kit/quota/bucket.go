// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"math"
	"time"
)

// slack forgives what floating point loses.
const slack = 1e-6

// bucket is the algorithm: a level that falls evenly, and that each permit raises by one. It is the cell rate algorithm in its
// other form, which keeps its count when a limit changes, and precision at a billion a second.
type bucket struct {
	level float64
	at    time.Time // when level was true
}

// drain lets time pass. A clock that went back drains nothing.
func (b *bucket) drain(now time.Time, amount float64, period time.Duration) {
	if passed := now.Sub(b.at); passed > 0 {
		b.level = max(b.level-float64(passed)*amount/float64(period), 0)
	}
	b.at = now
}

// take grants up to n, or takes back -n.
func (b *bucket) take(now time.Time, l Limit, n int) Grant {
	b.drain(now, float64(l.Amount), l.Period)
	burst := float64(l.atOnce())
	granted := n
	if n > 0 {
		granted = min(n, max(int(math.Floor(burst-b.level+slack)), 0))
	}
	b.level = max(b.level+float64(granted), 0)
	g := Grant{Permits: granted}
	if over := b.level + 1 - burst; over > slack {
		g.Retry = l.takes(over)
	}
	return g
}

// allow takes one permit of the share of one of n processes.
func (b *bucket) allow(now time.Time, l Limit, n int) Decision {
	amount, burst := l.share(n)
	b.drain(now, amount, l.Period)
	if over := b.level + 1 - burst; over > slack {
		return Decision{Retry: l.takes(over * float64(max(n, 1)))}
	}
	b.level++
	return Decision{OK: true}
}

// spend counts a permit that somebody else granted.
func (b *bucket) spend(now time.Time, l Limit) {
	b.drain(now, float64(l.Amount), l.Period)
	b.level = min(b.level+1, float64(l.atOnce()))
}

// steps are the attempts in a row of a key.
type steps struct {
	count int
	last  time.Time
	next  time.Time // when the next one may be made
}

// attempt begins one, or returns how long to wait.
func (s *steps) attempt(now time.Time, l Ladder) time.Duration {
	if now.Sub(s.last) >= l.Forget {
		*s = steps{}
	}
	if wait := s.next.Sub(now); wait > 0 {
		return wait
	}
	s.count++
	s.last, s.next = now, now.Add(l.after(s.count))
	return 0
}
