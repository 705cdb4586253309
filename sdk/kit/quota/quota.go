// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"context"
	"time"
)

// Limit is how much may happen: Burst at once, and in the long run Amount in each Period. In any window of length w at most
// Burst + Amount·w/Period are granted.
type Limit struct {
	Amount int           // from 1
	Period time.Duration // above 0
	Burst  int           // from 1; 0 means Amount
}

// atOnce returns how many may come at once.
func (l Limit) atOnce() int {
	if l.Burst > 0 {
		return l.Burst
	}
	return l.Amount
}

// each returns how long one permit takes to come back.
func (l Limit) each() time.Duration { return l.takes(1) }

// takes returns how long n permits take to come back, rounded up to a microsecond, which is what stores count in.
func (l Limit) takes(n float64) time.Duration {
	d := n * float64(l.Period) / float64(l.Amount)
	const most = float64(365 * 24 * time.Hour)
	return (time.Duration(min(d, most)) + time.Microsecond - 1).Truncate(time.Microsecond)
}

// share returns the part of one of n processes.
func (l Limit) share(n int) (amount, burst float64) {
	n = max(n, 1)
	return float64(l.Amount) / float64(n), max(float64(l.atOnce())/float64(n), 1)
}

// Grant is the answer of a store.
type Grant struct {
	Permits int           // how many were granted
	Retry   time.Duration // when the next one will be there; 0 is now
}

// Ladder is a wait that grows with each attempt in a row: nothing for the first Free, then First, doubled each time up to
// Longest; Forget after the last attempt the first is forgotten.
type Ladder struct {
	Free                   int
	First, Longest, Forget time.Duration
}

// after returns how long the n-th attempt in a row makes the next one wait.
func (l Ladder) after(n int) time.Duration {
	if n < l.Free {
		return 0
	}
	wait := l.First
	for range min(n-l.Free, 62) {
		if wait >= l.Longest {
			break
		}
		wait *= 2
	}
	return min(wait, l.Longest)
}

// Store keeps counts. Its methods are safe for concurrent use; an error means that the store cannot be reached. Keys of permits
// and keys of attempts do not meet.
type Store interface {
	// Take takes up to n permits of a key, as many as there are. A negative n gives permits back that were taken and not
	// used; 0 asks when there will be one.
	Take(ctx context.Context, key string, l Limit, n int) (Grant, error)
	// Attempt begins an attempt, which counts until Forget: of many at the same moment none gets past the count. When it comes
	// too early it returns how long to wait, above 0, and does not count.
	Attempt(ctx context.Context, key string, l Ladder) (time.Duration, error)
	// Forget forgets the attempts of a key.
	Forget(ctx context.Context, key string) error
}

// Mode says what happens while the store cannot be reached.
type Mode uint8

// The modes.
const (
	// Open counts in this process, against its share of the limit.
	Open Mode = iota
	// Closed refuses.
	Closed
)

// Key names what is counted: who, under which rule. Both are text of the caller, up to 200 bytes together; no secret.
type Key struct{ Rule, Who string }

// Decision is the answer of a [Limiter].
type Decision struct {
	OK    bool
	Retry time.Duration // when asking again may help; above 0 unless OK
	Alone bool          // the store could not be reached
}
