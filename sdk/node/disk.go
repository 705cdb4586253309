// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"slices"
	"time"

	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/lastgood"
)

const (
	minSaveGap   = 200 * time.Millisecond
	maxSaveGap   = time.Minute
	saveShare    = 10 // a writer that took t to write waits 10 t: at most a tenth of one core
	refreshHeard = time.Minute
	refreshState = 10 * time.Minute // a cursor that moved without any change is written this often
)

// disk writes the last known good state, after it is enforced and acknowledged and never on that path. Writes are
// coalesced: the newest state is written, the ones between are not. Denials are written at once: they are small, and a
// restart must not take them back.
type disk struct {
	c     *Client
	store *lastgood.Store
	wake  chan struct{}
	deny  chan struct{}
	gone  chan struct{} // a token was revoked
	done  chan struct{} // closed when nothing more will change

	epoch    string // what is on disk
	revision uint64
	digest   digest.Digest
	at       time.Time
	written  uint64 // changes of the revocations that are on disk
}

func newDisk(c *Client, store *lastgood.Store) *disk {
	return &disk{
		c: c, store: store, wake: make(chan struct{}, 1), deny: make(chan struct{}, 1),
		gone: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

func (d *disk) changed() { poke(d.wake) }
func (d *disk) denied()  { poke(d.deny) }
func (d *disk) revoked() { poke(d.gone) }

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // one is waiting
	}
}

// run writes until done is closed, and then what is left. ctx gives values, not the end.
func (d *disk) run(ctx context.Context) {
	refresh := time.NewTicker(refreshHeard)
	defer refresh.Stop()
	state, gone := newSpaced(), newSpaced()
	defer state.stop()
	defer gone.stop()
	for {
		select {
		case <-d.done:
			d.saveState(ctx, true)
			d.saveRecent(ctx)
			d.saveRevoked(ctx)
			return
		case <-d.deny:
			d.saveRecent(ctx)
		case <-refresh.C:
			d.saveRecent(ctx)
		case <-d.wake:
			state.wake()
		case <-state.ready:
			state.do(func() { d.saveState(ctx, false) })
		case <-d.gone:
			gone.wake()
		case <-gone.ready:
			gone.do(func() { d.saveRevoked(ctx) })
		}
	}
}

// spaced keeps a job from taking more than its share of the writer: the first one is done at once.
type spaced struct {
	ready chan struct{} // the job is due
	timer *time.Timer
	next  time.Time
}

func newSpaced() *spaced { return &spaced{ready: make(chan struct{}, 1)} }

func (s *spaced) wake() {
	s.stop()
	s.timer = time.AfterFunc(time.Until(s.next), func() { poke(s.ready) })
}

func (s *spaced) do(job func()) {
	start := time.Now()
	job()
	s.next = time.Now().Add(min(maxSaveGap, max(minSaveGap, saveShare*time.Since(start))))
}

func (s *spaced) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// saveState writes the state if it is newer than what is on disk.
func (d *disk) saveState(ctx context.Context, last bool) {
	c := d.c
	c.stateMu.Lock()
	s := c.state
	if s == nil || s.Epoch() == d.epoch && s.Revision() == d.revision {
		c.stateMu.Unlock()
		return
	}
	if s.Epoch() == d.epoch && s.Digest() == d.digest && !last && time.Since(d.at) < refreshState {
		c.stateMu.Unlock()
		return
	}
	frozen, sum := s.Freeze(), s.Digest()
	c.stateMu.Unlock()
	if err := d.store.Save(frozen); err != nil {
		d.failed(ctx, err)
		return
	}
	d.saved(frozen.Epoch, frozen.Revision, sum)
}

// saved notes what is on disk. Denials that it contains need not be kept any more.
func (d *disk) saved(epoch string, revision uint64, sum digest.Digest) {
	d.epoch, d.revision, d.digest, d.at = epoch, revision, sum, time.Now()
	d.c.mu.Lock()
	before := len(d.c.denials)
	if d.c.status.Epoch == epoch {
		d.c.forget(revision)
	}
	after := len(d.c.denials)
	d.c.mu.Unlock()
	if before != after {
		d.denied()
	}
}

func (d *disk) saveRecent(ctx context.Context) {
	c := d.c
	c.mu.Lock()
	r := lastgood.Recent{Epoch: c.status.Epoch, Heard: c.status.LastHeartbeat, DenyRevision: c.status.DenyRevision}
	for _, x := range c.denials {
		if x.epoch == r.Epoch {
			r.Denials = append(r.Denials, x.Denial)
		}
	}
	c.mu.Unlock()
	if r.Epoch == "" {
		return
	}
	r.Denials = slices.Clip(r.Denials)
	if err := d.store.SaveRecent(r); err != nil {
		d.failed(ctx, err)
	}
}

// saveRevoked writes the revocations if they have changed.
func (d *disk) saveRevoked(ctx context.Context) {
	if _, changes := d.c.revoked.counts(); changes == d.written {
		return
	}
	encoded, changes, err := d.c.revoked.freeze()
	if err == nil {
		err = d.store.SaveRevocations(encoded)
	}
	if err != nil {
		d.failed(ctx, err)
		d.revoked() // as well
		return
	}
	d.written = changes
}

func (d *disk) failed(ctx context.Context, err error) {
	d.c.metrics.diskErrors.Add(ctx, 1)
	d.c.cfg.Log.Error("last known good state cannot be written", "error", err)
	d.changed() // tried again after the usual gap
}
