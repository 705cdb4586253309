// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"maps"
	"slices"
	"time"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/lastgood"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// denial is one Deny, with the lineage its revision belongs to.
type denial struct {
	epoch string
	lastgood.Denial
}

// heldBack is an atomic change that did not compile as a whole: when one of the rejected resources changes, all of it is
// tried again (D-35).
type heldBack struct {
	keys     []Key
	rejected map[Key]struct{}
}

// maxHeld bounds the atomic changes held back. Past it the oldest is given up: its resources come into force one by one
// with the next full state.
const maxHeld = 100

func (c *Client) hello() *distributionv1.Hello {
	h := &distributionv1.Hello{Protocol: protocol, Build: c.cfg.Build, Capabilities: c.cfg.Capabilities, Dictionary: pack.Dictionary}
	h.RevocationEpoch, h.RevocationSeq = c.revoked.cursor()
	if c.state != nil {
		h.Epoch, h.Revision, h.Digest = c.state.Epoch(), c.state.Revision(), c.state.Digest().Bytes()
		h.DenyRevision = c.Status().DenyRevision
	}
	return h
}

func (c *Client) ack() *distributionv1.Ack {
	s := c.Status()
	return &distributionv1.Ack{
		Epoch: s.Epoch, Revision: s.Revision, DenyRevision: s.DenyRevision, RevocationSeq: s.RevocationSeq,
	}
}

// rejected returns what does not compile at present, for a control plane that may have forgotten.
func (c *Client) rejected() []Reject {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.rejects))
}

// swap brings a full state into force and returns what did not compile.
func (c *Client) swap(ctx context.Context, next *replica.State) []Reject {
	c.stateMu.Lock()
	c.state, c.pool = next, nil
	c.stateMu.Unlock()
	start := time.Now()
	rejects := c.cfg.Applier.Apply(ctx, next, nil, false)
	c.metrics.apply.Record(ctx, time.Since(start).Seconds())

	c.mu.Lock()
	c.held = nil
	clear(c.rejects)
	if c.status.Epoch != next.Epoch() {
		c.status.DenyRevision = 0
	}
	c.denials = slices.DeleteFunc(c.denials, func(d denial) bool { return d.epoch != next.Epoch() })
	for _, d := range c.denials {
		c.status.DenyRevision = max(c.status.DenyRevision, d.Revision)
	}
	c.mu.Unlock()
	c.enforced(ctx, next)
	// Denials that the state does not contain were perhaps given to an applier that had no state yet.
	for _, d := range c.newer(next.Revision()) {
		c.cfg.Applier.Deny(ctx, d.Revision, d.Keys)
	}
	return c.record(ctx, nil, rejects)
}

// change brings a checked delta into force and returns what newly did not compile.
func (c *Client) change(ctx context.Context, d *replica.Delta, fetched map[replica.Hash][]byte) ([]Reject, error) {
	start := time.Now()
	c.stateMu.Lock()
	touched, err := c.state.Apply(d, fetched)
	c.stateMu.Unlock()
	if err != nil {
		return nil, err
	}
	rejects := c.cfg.Applier.Apply(ctx, c.state, touched, d.Atomic)
	again := c.retryHeld(ctx, touched)
	if d.Atomic && len(rejects) > 0 {
		c.holdBack(touched, rejects)
	}
	rejects = append(rejects, again...)
	c.metrics.apply.Record(ctx, time.Since(start).Seconds())
	c.enforced(ctx, c.state)
	return c.record(ctx, touched, rejects), nil
}

// advance moves the cursor: nothing up to the revision concerns this node.
func (c *Client) advance(ctx context.Context, epoch string, revision uint64) error {
	c.stateMu.Lock()
	err := c.state.Advance(epoch, revision)
	c.stateMu.Unlock()
	if err != nil {
		return err
	}
	c.cfg.Applier.Apply(ctx, c.state, []Key{}, false)
	c.enforced(ctx, c.state)
	return nil
}

// enforced publishes the cursor: from here on it is acknowledged.
func (c *Client) enforced(ctx context.Context, s *replica.State) {
	c.mu.Lock()
	c.status.Epoch, c.status.Revision, c.status.Digest, c.status.Loaded = s.Epoch(), s.Revision(), s.Digest(), true
	if c.disk == nil {
		c.forget(s.Revision())
	}
	c.mu.Unlock()
	c.metrics.revision.Record(ctx, int64(s.Revision()))
	if c.disk != nil {
		c.disk.changed()
	}
}

// forget drops the denials that a state at that revision contains. The caller holds mu.
func (c *Client) forget(revision uint64) {
	c.denials = slices.DeleteFunc(c.denials, func(d denial) bool { return d.Revision <= revision })
}

// newer returns the denials that a state at that revision does not contain.
func (c *Client) newer(revision uint64) []denial {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []denial
	for _, d := range c.denials {
		if d.Revision > revision {
			list = append(list, d)
		}
	}
	return list
}

// deny enforces a denial at once. It is noted before the applier has it, so that a full state swapped in meanwhile
// repeats it, and acknowledged after.
func (c *Client) deny(ctx context.Context, m *distributionv1.Deny) {
	keys := make([]Key, 0, len(m.GetKeys()))
	for _, k := range m.GetKeys() {
		keys = append(keys, Key{Kind: k.GetKind(), Name: k.GetName()})
	}
	c.mu.Lock()
	fresh := m.GetRevision() > c.status.Revision || c.denyEpoch != c.status.Epoch
	if fresh {
		c.denials = append(c.denials, denial{epoch: c.denyEpoch, Denial: lastgood.Denial{Revision: m.GetRevision(), Keys: keys}})
	}
	c.mu.Unlock()
	if fresh {
		c.cfg.Applier.Deny(ctx, m.GetRevision(), keys)
	}
	c.mu.Lock()
	c.status.DenyRevision = max(c.status.DenyRevision, m.GetRevision())
	c.mu.Unlock()
	if fresh && c.disk != nil {
		c.disk.denied()
	}
}

// tagDenials says which lineage the denials of this stream belong to from here on.
func (c *Client) tagDenials(epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denyEpoch = epoch
}

// record keeps the rejects and returns those that are new. A touched resource that is not rejected has healed.
func (c *Client) record(ctx context.Context, touched []Key, rejects []Reject) []Reject {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := maps.Clone(c.rejects)
	for _, k := range touched {
		delete(c.rejects, k)
	}
	var fresh []Reject
	for _, r := range rejects {
		if old, ok := before[r.Key]; !ok || string(old.Version) != string(r.Version) {
			fresh = append(fresh, r)
			c.metrics.rejects.Add(ctx, 1)
			c.cfg.Log.Warn("resource did not compile, its previous version stays in force", "kind", r.Key.Kind, "fault_reason", r.Reason)
		}
		c.rejects[r.Key] = r
	}
	return fresh
}

func (c *Client) holdBack(keys []Key, rejects []Reject) {
	h := heldBack{keys: keys, rejected: make(map[Key]struct{}, len(rejects))}
	for _, r := range rejects {
		h.rejected[r.Key] = struct{}{}
	}
	c.held = append(c.held, h)
	if len(c.held) > maxHeld {
		c.held = c.held[1:]
	}
}

// retryHeld tries the atomic changes again of which a rejected resource was touched.
func (c *Client) retryHeld(ctx context.Context, touched []Key) (rejects []Reject) {
	held := c.held
	c.held = nil
	for _, h := range held {
		again := slices.ContainsFunc(touched, func(k Key) bool {
			_, ok := h.rejected[k]
			return ok
		})
		if !again {
			c.held = append(c.held, h)
			continue
		}
		if still := c.cfg.Applier.Apply(ctx, c.state, h.keys, true); len(still) > 0 {
			c.holdBack(h.keys, still)
			rejects = append(rejects, still...)
		}
	}
	return rejects
}

func (c *Client) compareClocks(m *distributionv1.Heartbeat) {
	if m.GetNow() == nil {
		return
	}
	by := c.cfg.Now().Sub(m.GetNow().AsTime())
	c.mu.Lock()
	defer c.mu.Unlock()
	if was := c.status.SkewBy.Abs() > maxSkew; !was && by.Abs() > maxSkew {
		c.cfg.Log.Error("clock differs from the control plane's by more than 30 s", "duration", by)
	}
	c.status.SkewBy = by
}

// startTask hands a job to the handler. At most eight run, and 256 wait; one more is dropped, and whoever asked for it is
// told when its time is over.
func (c *Client) startTask(ctx context.Context, t *distributionv1.Task) {
	if c.cfg.Tasks == nil {
		return
	}
	if c.waiting.Add(1) > maxTasks+maxWaiting {
		c.waiting.Add(-1)
		c.cfg.Log.Warn("task dropped, too many wait")
		return
	}
	c.tasksWG.Go(func() {
		defer c.waiting.Add(-1)
		select {
		case c.tasks <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-c.tasks }()
		c.cfg.Tasks(ctx, t)
	})
}
