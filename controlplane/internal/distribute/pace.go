// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

const (
	minWindow = 5 * time.Millisecond // D-27
	maxWindow = 20 * time.Millisecond
	quiet     = 100 * time.Millisecond
)

// pace says up to which revision deltas go now. The first change after a quiet time goes at once; while more keep
// coming they are gathered for 5 to 20 ms. It is one for all streams, so that streams at one cursor want the same
// delta, which is then encoded once.
type pace struct {
	mu     sync.Mutex
	epoch  string
	target catalog.Revision
	at     time.Time // when target was set
	window time.Duration
}

// next returns the revision up to which deltas go, and, if that is not the head, how long until it is looked at again.
// A revision in prompt that was not released yet releases the head at once (D-31).
func (p *pace) next(head catalog.Head, prompt catalog.Revision, now time.Time) (catalog.Revision, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != head.Epoch || p.target > head.Revision {
		p.epoch, p.target = head.Epoch, 0
	}
	if p.target == head.Revision {
		return p.target, 0
	}
	since := now.Sub(p.at)
	if prompt <= p.target && since < p.window {
		return p.target, p.window - since
	}
	if since >= quiet {
		p.window = minWindow
	} else {
		p.window = min(maxWindow, max(minWindow, 2*p.window))
	}
	p.target, p.at = head.Revision, now
	return p.target, 0
}
