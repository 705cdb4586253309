// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// entry is what a node has to know of a resource to follow: its version, for the digest, and the bodies it needs.
type entry struct {
	version [sha256.Size]byte
	blobs   []replica.Hash
}

// content is the resources of a scope at some moment. It is never changed, so any number of nodes have it.
type content struct {
	digest    digest.Digest
	resources table[replica.Key, *entry]
	bodies    table[replica.Hash, int] // how many resources need each

	once   sync.Once
	hashes []replica.Hash
}

// state is a content at a revision.
type state struct {
	epoch    string
	revision uint64
	*content
}

// needs returns the hashes of all bodies in order: nodes that ask for the same ones ask alike.
func (c *content) needs() []replica.Hash {
	c.once.Do(func() {
		c.hashes = make([]replica.Hash, 0, c.bodies.size)
		c.bodies.each(func(h replica.Hash) { c.hashes = append(c.hashes, h) })
		slices.SortFunc(c.hashes, compareHashes)
	})
	return c.hashes
}

func compareHashes(a, b replica.Hash) int { return bytes.Compare(a[:], b[:]) }

// draft is a content that is being made out of another one.
type draft struct {
	digest    digest.Digest
	resources *edit[replica.Key, *entry]
	bodies    *edit[replica.Hash, int]
}

// change begins a content that differs from c, which may be nil for an empty one.
func change(c *content) *draft {
	if c == nil {
		c = &content{}
	}
	return &draft{digest: c.digest, resources: c.resources.edit(), bodies: c.bodies.edit()}
}

func (d *draft) put(k replica.Key, e *entry) {
	for _, h := range e.blobs {
		refs, _ := d.bodies.get(h)
		d.bodies.put(h, refs+1)
	}
	d.remove(k)
	d.resources.put(k, e)
	d.digest.Add(k.Kind, k.Name, e.version[:])
}

// remove takes a resource out, if it is there.
func (d *draft) remove(k replica.Key) {
	e, ok := d.resources.get(k)
	if !ok {
		return
	}
	d.resources.remove(k)
	d.digest.Remove(k.Kind, k.Name, e.version[:])
	for _, h := range e.blobs {
		if refs, _ := d.bodies.get(h); refs > 1 {
			d.bodies.put(h, refs-1)
		} else {
			d.bodies.remove(h)
		}
	}
}

func (d *draft) done() *content {
	return &content{digest: d.digest, resources: d.resources.done(), bodies: d.bodies.done()}
}

// apply makes a content out of one and a delta, as replica.State does with its own copy. Bodies that the delta should have
// brought and did not are missing.
func apply(before *content, m *replica.Delta) (after *content, missing []replica.Hash, err error) {
	d := change(before)
	seen := make(map[replica.Key]struct{}, len(m.Upserts)+len(m.Tombstones))
	once := func(k replica.Key) error {
		if _, double := seen[k]; double {
			return fmt.Errorf("%w: a delta names a resource twice", replica.ErrMalformed)
		}
		seen[k] = struct{}{}
		return nil
	}
	for _, r := range m.Upserts {
		if err := once(r.Key); err != nil {
			return nil, nil, err
		}
		for _, h := range r.Blobs {
			_, held := before.bodies.get(h)
			if _, comes := m.Blobs[h]; !held && !comes && !slices.Contains(missing, h) {
				missing = append(missing, h)
			}
		}
		d.put(r.Key, entryOf(r))
	}
	for _, k := range m.Tombstones {
		if err := once(k); err != nil {
			return nil, nil, err
		}
		d.remove(k)
	}
	if !d.digest.Equal(m.Digest) {
		return nil, nil, fmt.Errorf("%w at revision %d", replica.ErrDrift, m.To)
	}
	return d.done(), missing, nil
}

func entryOf(r replica.Resource) *entry {
	return &entry{version: [sha256.Size]byte(r.Version), blobs: r.Blobs}
}

// shards of a table: a change copies as many pointers, and of its entries one in so many.
const shards = 4096

// table is a map that is not changed: an edit of it shares all that it leaves alone. The zero value is empty.
type table[K comparable, V any] struct {
	size   int
	seed   maphash.Seed // a table has that of the one it was made of
	shards *[shards]map[K]V
}

func (t *table[K, V]) shardOf(k K) uint64 { return maphash.Comparable(t.seed, k) % shards }

func (t *table[K, V]) get(k K) (v V, ok bool) {
	if t.shards == nil {
		return v, false
	}
	v, ok = t.shards[t.shardOf(k)][k]
	return v, ok
}

func (t *table[K, V]) each(fn func(K)) {
	if t.shards == nil {
		return
	}
	for _, shard := range t.shards {
		for k := range shard {
			fn(k)
		}
	}
}

// edit is a table that is being made.
type edit[K comparable, V any] struct {
	table[K, V]

	own [shards]bool // copied
}

func (t *table[K, V]) edit() *edit[K, V] {
	e := &edit[K, V]{table: table[K, V]{size: t.size, seed: t.seed, shards: new([shards]map[K]V)}}
	if t.shards == nil {
		e.seed = maphash.MakeSeed()
		return e
	}
	*e.shards = *t.shards
	return e
}

// open returns the shard of a key, to be changed.
func (e *edit[K, V]) open(k K) map[K]V {
	n := e.shardOf(k)
	if !e.own[n] {
		e.own[n] = true
		if e.shards[n] = maps.Clone(e.shards[n]); e.shards[n] == nil {
			e.shards[n] = make(map[K]V)
		}
	}
	return e.shards[n]
}

func (e *edit[K, V]) put(k K, v V) {
	shard := e.open(k)
	before := len(shard)
	shard[k] = v
	e.size += len(shard) - before
}

func (e *edit[K, V]) remove(k K) {
	shard := e.open(k)
	before := len(shard)
	delete(shard, k)
	e.size += len(shard) - before
}

func (e *edit[K, V]) done() table[K, V] { return e.table }
