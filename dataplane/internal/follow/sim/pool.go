// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

const (
	maxMessage = 16 << 20 // bytes of one message, unpacked: a real node's limit

	// What is remembered: the parts of a few snapshots and the deltas of some seconds, the bodies of 500,000 tools, and the
	// contents that nodes are likely to come to.
	keptMessages = 4096
	keptBodies   = 8192
	keptContents = 256
)

// sum is the SHA-256 of what a node received.
type sum = [sha256.Size]byte

// pool is what the nodes of a process share. Everything in it follows from the bytes of messages alone: a node that receives
// what another one received before, to the bit and at the same state, is given the same result instead of working it out
// again. What each node received, and that it was complete and in order, is its own; see [tracked]. A pool is safe for
// concurrent use.
type pool struct {
	mu       sync.Mutex
	unpacker *pack.Unpacker
	messages *memo[sum, *message]
	bodies   *memo[sum, []replica.Hash]
	built    *memo[sum, *content]           // by the parts of a snapshot
	changed  *memo[step, *stepped]          // by the messages of a delta
	known    *memo[digest.Digest, *content] // however nodes came to it
}

// step is a delta that meets a content.
type step struct {
	before *content
	parts  sum
}

// stepped is what became of it.
type stepped struct {
	after   *content
	missing []replica.Hash
}

func newPool() (*pool, error) {
	u, err := pack.NewUnpacker(maxMessage)
	if err != nil {
		return nil, err
	}
	return &pool{
		unpacker: u, messages: newMemo[sum, *message](keptMessages), bodies: newMemo[sum, []replica.Hash](keptBodies),
		built: newMemo[sum, *content](keptContents), changed: newMemo[step, *stepped](keptContents),
		known: newMemo[digest.Digest, *content](keptContents),
	}, nil
}

// message is one FollowResponse. It is never changed.
type message struct {
	sum   sum
	size  int
	part  []held // of a snapshot; not nil if it is one
	delta *replica.Delta
	plain []byte // every other kind, unpacked
	other *distributionv1.FollowResponse
}

// held is a resource of a snapshot.
type held struct {
	key   replica.Key
	entry *entry
}

// sumOf hashes what was received where it is: mostly, nobody needs a copy of it.
func sumOf(data mem.BufferSlice) (s sum) {
	h := sha256.New()
	for _, b := range data {
		_, _ = h.Write(b.ReadOnlyData()) // a hash takes everything
	}
	h.Sum(s[:0])
	return s
}

// message reads a FollowResponse.
func (p *pool) message(data mem.BufferSlice) (*message, error) {
	s := sumOf(data)
	p.mu.Lock()
	defer p.mu.Unlock()
	if m, ok := p.messages.get(s); ok {
		return m, nil
	}
	plain, err := p.unpacker.Message(data.Materialize())
	if err != nil {
		return nil, err
	}
	read, err := replica.ParseMessage(plain)
	if err != nil {
		return nil, err
	}
	m := &message{sum: s, size: data.Len(), delta: read.Delta}
	switch {
	case read.Other != nil: // each is another one: not worth remembering
		m.plain, m.other = plain, read.Other
		return m, nil
	case read.Delta == nil:
		m.part = make([]held, 0, len(read.Part))
		for _, r := range read.Part {
			m.part = append(m.part, held{r.Key, entryOf(r)})
		}
	default:
	}
	p.messages.put(s, m)
	return m, nil
}

// hashes reads a FetchBlobsResponse and returns the hashes of the bodies in it.
func (p *pool) hashes(data mem.BufferSlice) ([]replica.Hash, error) {
	s := sumOf(data)
	p.mu.Lock()
	defer p.mu.Unlock()
	if list, ok := p.bodies.get(s); ok {
		return list, nil
	}
	m := &distributionv1.FetchBlobsResponse{}
	if err := proto.Unmarshal(data.Materialize(), m); err != nil {
		return nil, fmt.Errorf("%w: %w", replica.ErrMalformed, err)
	}
	var list []replica.Hash
	for _, body := range m.GetBlobs() {
		list = append(list, sha256.Sum256(body))
	}
	for _, frame := range m.GetPacked() {
		body, err := p.unpacker.Body(frame)
		if err != nil {
			return nil, err
		}
		list = append(list, sha256.Sum256(body))
	}
	p.bodies.put(s, list)
	return list, nil
}

// sumOfAll identifies messages in their order.
func sumOfAll(list []*message) (s sum) {
	h := sha256.New()
	for _, m := range list {
		_, _ = h.Write(m.sum[:]) // a hash takes everything
	}
	h.Sum(s[:0])
	return s
}

// build makes the content of a snapshot, or finds it.
func (p *pool) build(parts []*message) (*content, error) {
	s := sumOfAll(parts)
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.built.get(s); ok {
		return c, nil
	}
	d := change(nil)
	for _, m := range parts {
		for _, r := range m.part {
			if _, double := d.resources.get(r.key); double {
				return nil, fmt.Errorf("%w: a snapshot names a resource twice", replica.ErrMalformed)
			}
			d.put(r.key, r.entry)
		}
	}
	c := p.only(d.done())
	p.built.put(s, c)
	return c, nil
}

// apply makes the content after a delta, which came in parts, or finds it.
func (p *pool) apply(before *content, parts []*message) (*stepped, error) {
	at := step{before, sumOfAll(parts)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.changed.get(at); ok {
		return r, nil
	}
	d, err := join(parts)
	if err != nil {
		return nil, err
	}
	after, missing, err := apply(before, d)
	if err != nil {
		return nil, err
	}
	r := &stepped{after: p.only(after), missing: missing}
	p.changed.put(at, r)
	return r, nil
}

// only returns the content that is shared by all nodes that came to these resources: one was late and got several changes
// at once, another one got them one by one. The caller holds mu.
func (p *pool) only(c *content) *content {
	if same, ok := p.known.get(c.digest); ok && same.resources.size == c.resources.size && same.bodies.size == c.bodies.size {
		return same
	}
	p.known.put(c.digest, c)
	return c
}

// join makes one delta of its parts, of which other nodes have the same.
func join(parts []*message) (d *replica.Delta, err error) {
	var pending replica.Pending
	for i, m := range parts {
		part := *m.delta
		if i == 0 { // the others are added to it
			part.Blobs = make(map[replica.Hash][]byte, len(m.delta.Blobs))
			for h, body := range m.delta.Blobs {
				part.Blobs[h] = body
			}
			part.Upserts, part.Tombstones = slices.Clone(part.Upserts), slices.Clone(part.Tombstones)
		}
		if d, err = pending.Add(&part, m.size); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// memo remembers the last results.
type memo[K comparable, V any] struct {
	held  map[K]V
	order []K // of the keys; a ring once it is full
	next  int // the oldest
}

func newMemo[K comparable, V any](limit int) *memo[K, V] {
	return &memo[K, V]{held: make(map[K]V), order: make([]K, 0, limit)}
}

func (m *memo[K, V]) get(k K) (V, bool) {
	v, ok := m.held[k]
	return v, ok
}

// put remembers a result; the oldest one is forgotten for it.
func (m *memo[K, V]) put(k K, v V) {
	if _, ok := m.held[k]; ok {
		m.held[k] = v
		return
	}
	m.held[k] = v
	if len(m.order) < cap(m.order) {
		m.order = append(m.order, k)
		return
	}
	delete(m.held, m.order[m.next])
	m.order[m.next] = k
	m.next = (m.next + 1) % len(m.order)
}
