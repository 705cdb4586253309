// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	messageSize = 1 << 20  // bytes of one message (D-29); a single body may be larger
	maxDelta    = 64 << 20 // bytes of one delta; more is a snapshot (D-20)
	keptDeltas  = 32       // streams of a class are at few cursors, unless there is more to send than there is time for
	keptBytes   = 16 << 20 // of those deltas in all, but for the newest
	largeDelta  = 64 << 10 // bytes, in both forms together, from which a delta is not made anew because more has come
	readBodies  = 10 * time.Second
)

// ErrTooLarge is a difference that a snapshot is the better answer to.
var ErrTooLarge = errors.New("the difference is larger than a delta may be")

// Delta is the changes (From, To] of a class, merged: the last state of each resource.
type Delta struct {
	From, To catalog.Revision
	// Frames are the encoded FollowResponses, none if nothing in the range concerns the class.
	Frames [][]byte
	// Packed are the same for nodes that know the dictionary of package pack.
	Packed [][]byte
	// Bytes is the length of Frames.
	Bytes int
}

// held is how many bytes it takes.
func (d *Delta) held() int64 {
	n := d.Bytes
	for _, f := range d.Packed {
		n += len(f)
	}
	return int64(n)
}

// cached is a delta that is being made or was.
type cached struct {
	from, to catalog.Revision
	size     atomic.Int64 // when it is made
	once     sync.Once
	delta    *Delta
	err      error
}

// lasts reports whether the delta is as good as one that goes further: to make a large one again for every revision, while a
// thousand nodes get it, would take all the time that there is. One that is being made may be large.
func (d *cached) lasts() bool {
	size := d.size.Load()
	return size == 0 || size >= largeDelta
}

// Delta returns the changes after from, up to to or to the last revision before it at which a delta may end: an atomic
// change is never merged with others (D-35), and never split (D-25). It ends earlier, too, where another stream at the same
// cursor got a large delta: streams share it. A from outside the ring is fault.Stale, a difference of more than 64 MB ErrTooLarge.
func (c *Class) Delta(ctx context.Context, from, to catalog.Revision) (*Delta, error) {
	d := c.slot(from, to)
	// Made for everybody: it does not end with the stream that asked first.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readBodies)
	defer cancel()
	d.once.Do(func() {
		if d.delta, d.err = c.merge(ctx, from, to, false); d.err == nil {
			d.size.Store(max(1, d.delta.held()))
		}
	})
	if d.err != nil {
		c.forget(d)
	}
	return d.delta, d.err
}

func (c *Class) slot(from, to catalog.Revision) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.deltas {
		if d.from == from && (d.to == to || d.to < to && d.lasts()) {
			return d
		}
	}
	d := &cached{from: from, to: to}
	kept, size := []*cached{d}, int64(0)
	for _, old := range c.deltas {
		if size += old.size.Load(); len(kept) == keptDeltas || size > keptBytes {
			break
		}
		kept = append(kept, old)
	}
	c.deltas = kept
	return d
}

func (c *Class) forget(d *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, x := range c.deltas {
		if x == d {
			c.deltas = append(c.deltas[:i:i], c.deltas[i+1:]...)
			return
		}
	}
}

func (c *Class) forgetDeltas() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deltas = nil
}

// merged is the changes of a range, before they are encoded.
type merged struct {
	epoch  string
	to     catalog.Revision
	atomic bool
	sum    []byte
	last   []scope.Moved // first state before, last state after
	bodies []catalog.Hash
}

func (c *Class) merge(ctx context.Context, from, to catalog.Revision, leap bool) (*Delta, error) {
	m, err := c.collect(from, to, leap)
	if err != nil {
		return nil, err
	}
	d := &Delta{From: from, To: m.to}
	if len(m.last) == 0 {
		return d, nil
	}
	bodies, err := c.feed.Blobs(ctx, m.bodies)
	if err != nil {
		return nil, err
	}
	size := 0
	for _, b := range bodies {
		size += len(b)
	}
	for _, x := range m.last {
		if x.After != nil {
			size += len(x.After.For(c.scope))
		}
	}
	if size > maxDelta {
		return nil, ErrTooLarge
	}
	d.Frames = encodeDelta(c.scope, from, m, bodies)
	for _, f := range d.Frames {
		d.Bytes += len(f)
		d.Packed = append(d.Packed, c.feed.packer.Message(f))
	}
	return d, nil
}

// collect merges the log of the class over a range, up to an atomic change or, in one leap, over those too.
func (c *Class) collect(from, to catalog.Revision, leap bool) (merged, error) {
	f := c.feed
	f.mu.RLock()
	defer f.mu.RUnlock()
	r := &f.ring
	if !r.holds(from) || to < from {
		return merged{}, revisionUnknown(from)
	}
	to = min(to, r.head())
	at := make(map[catalog.Key]int)
	var list []scope.Moved
	needed := make(map[catalog.Hash]bool) // whether a body is needed at the end; only bodies not needed at the begin
	held := make(map[catalog.Hash]bool)   // bodies needed at the begin that lost it meanwhile
	m := merged{epoch: f.epoch, to: from}
	for rev := from + 1; rev <= to; rev++ {
		cc, ch := &c.log[rev-r.base-1], r.at(rev)
		if ch.atomic && len(cc.Moved) > 0 {
			if len(list) > 0 && !leap {
				break
			}
			m.atomic = true
		}
		for _, x := range cc.Moved {
			if i, ok := at[x.Key()]; ok {
				list[i].After = x.After
				continue
			}
			at[x.Key()] = len(list)
			list = append(list, x)
		}
		for _, h := range cc.In {
			if !held[h] {
				needed[h] = true
			}
		}
		for _, h := range cc.Out {
			if _, fresh := needed[h]; fresh {
				needed[h] = false
			} else {
				held[h] = true
			}
		}
		m.to, m.sum = rev, cc.Sum.Bytes()
		if m.atomic && !leap {
			break
		}
	}
	for _, x := range list {
		if !x.Equal() {
			m.last = append(m.last, x)
		}
	}
	for h, still := range needed {
		if still {
			m.bodies = append(m.bodies, h)
		}
	}
	return m, nil
}

// parts cuts a delta into messages.
type parts struct {
	head   []byte // epoch, from, to, atomic: in each message
	body   []byte
	frames [][]byte
}

func (p *parts) add(field func([]byte) []byte, size int) {
	if len(p.body) > len(p.head) && len(p.body)+size > messageSize {
		p.cut()
	}
	if p.body == nil {
		p.body = append(p.body, p.head...)
	}
	p.body = field(p.body)
}

// cut ends a message that another one continues.
func (p *parts) cut() {
	p.frames = append(p.frames, response(responseDelta, appendNumber(p.body, deltaMore, 1)))
	p.body = append([]byte(nil), p.head...)
}

// encodeDelta puts the bodies first, then the resources that need them.
func encodeDelta(s scope.Scope, from catalog.Revision, m merged, bodies [][]byte) [][]byte {
	head := appendString(nil, deltaEpoch, m.epoch)
	head = appendNumber(head, deltaFrom, uint64(from))
	head = appendNumber(head, deltaTo, uint64(m.to))
	if m.atomic {
		head = appendNumber(head, deltaAtomic, 1)
	}
	p := &parts{head: head, body: append([]byte(nil), head...)}
	for _, body := range bodies {
		p.add(func(b []byte) []byte { return appendBytes(b, deltaBlobs, body) }, len(body))
	}
	for _, x := range m.last {
		if x.After != nil {
			wire := x.After.For(s)
			p.add(func(b []byte) []byte { return appendBytes(b, deltaUpserts, wire) }, len(wire))
		}
	}
	for _, x := range m.last {
		if x.After == nil {
			k := x.Before.Key
			p.add(func(b []byte) []byte { return appendKey(b, deltaTombstones, k) }, len(k.Kind)+len(k.Name)+8)
		}
	}
	return append(p.frames, response(responseDelta, appendBytes(p.body, deltaDigest, m.sum)))
}

// NeedsSnapshot reports whether an error of [Class.Delta] calls for a snapshot.
func NeedsSnapshot(err error) bool {
	return errors.Is(err, ErrTooLarge) || err != nil && fault.KindOf(err) == fault.Stale
}
