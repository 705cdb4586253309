// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

const (
	minWindow = 5 * time.Millisecond // D-27
	maxWindow = 20 * time.Millisecond
	quiet     = 100 * time.Millisecond
	// maxHold is how long changes are gathered at most while streams have not yet got those before: to send each of them would
	// cost more, and reach nobody sooner.
	maxHold = 250 * time.Millisecond
	// fewBehind is how many streams do not count for that, and one in manyOf of all: slow nodes do not hold up the others.
	fewBehind, manyOf = 8, 10
)

// pace says up to which revision deltas go now. The first change after a quiet time goes at once; while more keep
// coming they are gathered for 5 to 20 ms, and for longer while the streams cannot keep up. It is one for all streams, so that
// streams at one cursor want the same delta, which is then encoded once.
type pace struct {
	mu      sync.Mutex
	epoch   string
	target  catalog.Revision
	at      time.Time // when target was set
	window  time.Duration
	denied  catalog.Revision // up to which streams were woken for denials
	moved   chan struct{}    // closed when the streams have something to look at
	streams int
	taken   int           // streams that got what there is up to target
	held    bool          // for those that did not
	caught  chan struct{} // one signal: few enough of them are left
}

func newPace() *pace { return &pace{moved: make(chan struct{}), caught: make(chan struct{}, 1)} }

// followPace releases what there is when it is due, until ctx ends.
func (s *Server) followPace(ctx context.Context) {
	due := time.NewTimer(0)
	defer due.Stop()
	for {
		changed := s.feed.Changed()
		if wait := s.pace.release(s.feed.Head(), s.feed.Prompt(), s.feed.Denied(), time.Now()); wait > 0 {
			due.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-s.pace.caught:
		case <-due.C:
		}
	}
}

// release has deltas go up to the head, or returns how long until it is looked at again. A revision in prompt that was not
// released yet releases the head at once (D-31). Streams are woken for that, and for a denial, which waits for nothing (D-30).
func (p *pace) release(head catalog.Head, prompt, denied catalog.Revision, now time.Time) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != head.Epoch || p.target > head.Revision {
		p.epoch, p.target, p.denied = head.Epoch, 0, 0
	}
	moved, wait := p.move(head.Revision, prompt, now)
	if moved || denied > p.denied {
		p.denied = max(p.denied, denied)
		p.wake()
	}
	return wait
}

// move sets target to the head if that is due. The caller holds mu.
func (p *pace) move(head, prompt catalog.Revision, now time.Time) (moved bool, wait time.Duration) {
	if p.target == head {
		return false, 0
	}
	since := now.Sub(p.at)
	if prompt <= p.target {
		if since < p.window {
			return false, p.window - since
		}
		if p.held = p.crowded() && since < maxHold; p.held {
			return false, maxHold - since
		}
	}
	if since >= quiet {
		p.window = minWindow
	} else {
		p.window = min(maxWindow, max(minWindow, 2*p.window))
	}
	p.target, p.at, p.taken = head, now, 0
	return true, 0
}

// wake has the streams look again. The caller holds mu.
func (p *pace) wake() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// crowded reports whether many streams did not get yet what there is up to target. The caller holds mu.
func (p *pace) crowded() bool { return p.streams-p.taken > max(fewBehind, p.streams/manyOf) }

// now returns up to which revision of a lineage deltas go, and a channel that is closed when that changes or there is a denial.
func (p *pace) now() (epoch string, target catalog.Revision, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch, p.target, p.moved
}

// took notes that one more stream got all up to a revision.
func (p *pace) took(target catalog.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if target != p.target {
		return
	}
	p.taken++
	if p.held && !p.crowded() {
		p.held = false
		select {
		case p.caught <- struct{}{}:
		default: // one is waiting
		}
	}
}

// join and leave count the streams.
func (p *pace) join()  { p.count(1) }
func (p *pace) leave() { p.count(-1) }

func (p *pace) count(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams += by
}
