// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// ladder is the wait of somebody who guesses. The first attempts cost nothing: people mistype.
func ladder() quota.Ladder {
	return quota.Ladder{Free: 3, First: time.Second, Longest: time.Minute, Forget: 15 * time.Minute}
}

// Delay makes those wait longer and longer who guess: after three attempts in a row 1 s, then 2 s, 4 s … up to a minute, and
// nothing any more after 15 minutes without one. It never locks anybody out, and its keys are [Pair]s, so that nobody can
// keep a person from logging in elsewhere (RL-3). It is safe for concurrent use.
type Delay struct{ attempts quota.Store }

// NewDelay returns a Delay of this process that remembers 50,000 keys. now may be nil, which means time.Now.
func NewDelay(now func() time.Time) *Delay { return NewSharedDelay(nil, now) }

// NewSharedDelay returns a Delay that counts together with the other authservers on a store, and alone, as [NewDelay] does,
// while the store cannot be reached.
func NewSharedDelay(shared quota.Store, now func() time.Time) *Delay {
	return &Delay{attempts: together(shared, maxKeys, now)}
}

// Attempt begins an attempt, which counts as failed until [Delay.Succeeded]: of many at the same moment, none gets past the
// count. When it comes too early, ok is false, retry says when it may be made, and it does not count.
func (d *Delay) Attempt(ctx context.Context, key string) (retry time.Duration, ok bool) {
	retry, err := d.attempts.Attempt(ctx, inStore("delay", key), ladder())
	if err != nil { // memory does not fail
		return longestWait, false
	}
	return retry, retry == 0
}

// Succeeded forgets the attempts of a key.
func (d *Delay) Succeeded(ctx context.Context, key string) {
	_ = d.attempts.Forget(ctx, inStore("delay", key)) // else they are forgotten in 15 minutes
}
