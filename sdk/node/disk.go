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
	done  chan struct{} // closed when nothing more will change

	epoch    string // what is on disk
	revision uint64
	digest   digest.Digest
	at       time.Time
}

func newDisk(c *Client, store *lastgood.Store) *disk {
	return &disk{c: c, store: store, wake: make(chan struct{}, 1), deny: make(chan struct{}, 1), done: make(chan struct{})}
}

func (d *disk) changed() { poke(d.wake) }
func (d *disk) denied()  { poke(d.deny) }

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
	var due *time.Timer
	ready := make(chan struct{}, 1)
	var next time.Time
	for {
		select {
		case <-d.done:
			if due != nil {
				due.Stop()
			}
			d.saveState(ctx, true)
			d.saveRecent(ctx)
			return
		case <-d.deny:
			d.saveRecent(ctx)
		case <-refresh.C:
			d.saveRecent(ctx)
		case <-d.wake:
			if due != nil {
				due.Stop()
			}
			due = time.AfterFunc(time.Until(next), func() { poke(ready) })
		case <-ready:
			start := time.Now()
			d.saveState(ctx, false)
			next = time.Now().Add(min(maxSaveGap, max(minSaveGap, saveShare*time.Since(start))))
		}
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

func (d *disk) failed(ctx context.Context, err error) {
	d.c.metrics.diskErrors.Add(ctx, 1)
	d.c.cfg.Log.Error("last known good state cannot be written", "error", err)
	d.changed() // tried again after the usual gap
}
