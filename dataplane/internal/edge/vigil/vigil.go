// SPDX-License-Identifier: Apache-2.0

// Package vigil keeps a long stream open for as long as it may last: until its reader has gone, the node drains, its
// token has expired, or a new snapshot says that its caller may not have it any more (mcp.md M-21, M-71, RS-11, G-17).
//
// edge uses it for streams of both eras. It must never know messages or callers: it asks.
package vigil

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// maxJitter spreads what a change of configuration sets off in all streams (G-17), and joins changes that come together.
const maxJitter = 250 * time.Millisecond

// Watch is what is watched.
type Watch struct {
	View *view.Holder
	// Changed is View.Changed() as of before the stream was opened, Seen what its caller was authenticated by: no change
	// after that is missed.
	Changed <-chan struct{}
	Seen    *view.Snapshot

	Gone     <-chan struct{} // closed when nobody reads the stream any more
	Draining <-chan struct{} // closed when the node shuts down

	// Left is how long the stream may last as things are.
	Left func() time.Duration
	// Renew is called some time after the view changed, and when Left is over. It looks at the newest snapshot, and
	// reports whether the stream may go on.
	Renew func() bool
	// Beat is called every [answer.Heartbeat] and reports whether the stream may go on.
	Beat func() bool
}

// Reason is why a stream ends.
type Reason uint8

const (
	// Gone: nobody reads it.
	Gone Reason = iota
	// Draining: the node shuts down, the client should come back to another one.
	Draining
	// Over: the caller may not have it any more.
	Over
)

// Keep blocks until the stream must end. Its functions are called by this goroutine only.
func (w *Watch) Keep(ctx context.Context) Reason {
	beat := time.NewTicker(answer.Heartbeat)
	defer beat.Stop()
	expiry := time.NewTimer(w.Left())
	defer expiry.Stop()
	changed := w.Changed
	var look <-chan time.Time // nil: nothing has changed since the last look
	if w.View.Load() != w.Seen {
		look = time.After(jitter())
	}
	for {
		on := true
		select {
		case <-ctx.Done():
			return Gone
		case <-w.Gone:
			return Gone
		case <-w.Draining:
			return Draining
		case <-changed:
			changed, look = nil, time.After(jitter())
		case <-look:
			look, changed = nil, w.View.Changed()
			on = w.Renew()
			expiry.Reset(w.Left())
		case <-expiry.C:
			on = w.Renew()
			expiry.Reset(w.Left())
		case <-beat.C:
			on = w.Beat()
		}
		if !on {
			return Over
		}
	}
}

func jitter() time.Duration { return rand.N(maxJitter) } //nolint:gosec // spreads load, keeps no secret
