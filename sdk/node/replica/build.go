// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

// Builder makes a new state beside the old one, which serves until the new one is complete (D-21).
type Builder struct {
	state *State
	old   *State                // may be nil
	pool  map[Hash]*bodies.Body // of Missing
	room  []byte                // end of an allocation that resources share
}

// NewBuilder begins a state at a revision. What the old state, which may be nil, already holds is shared with it. All
// bodies are the store's. A revision below the old one in the same epoch is ErrCursor (D-23).
func NewBuilder(store *bodies.Store, old *State, epoch string, revision uint64) (*Builder, error) {
	if old != nil && old.epoch == epoch && revision < old.revision {
		return nil, fmt.Errorf("%w: at revision %d, snapshot at %d", ErrCursor, old.revision, revision)
	}
	s := &State{
		epoch: epoch, revision: revision, kinds: make(map[string]map[string][]byte), blobs: make(map[Hash]blob), store: store,
	}
	return &Builder{state: s, old: old}, nil
}

// Grow makes room for numbers of resources, by kind, and of bodies. It is called before the first Add.
func (b *Builder) Grow(resources map[string]int, blobs int) {
	for kind, n := range resources {
		b.state.kinds[kind] = make(map[string][]byte, n)
	}
	b.state.blobs = make(map[Hash]blob, blobs)
}

// Add adds a resource; the builder keeps no memory of the message r aliases. The same key twice is ErrMalformed.
func (b *Builder) Add(r Resource) error {
	if _, double := b.state.kinds[r.Key.Kind][r.Key.Name]; double {
		return fmt.Errorf("%w: a snapshot names a resource twice", ErrMalformed)
	}
	var before []byte
	if b.old != nil {
		before = b.old.kinds[r.Key.Kind][r.Key.Name]
	}
	if bytes.Equal(before, r.Wire) {
		r.Wire = before
	} else {
		r.Wire = b.clone(r.Wire)
	}
	for _, h := range r.Blobs {
		held := b.state.blobs[h]
		held.refs++
		b.state.blobs[h] = held
	}
	b.state.put(r)
	return nil
}

// roomSize is how many bytes of encoded resources share an allocation.
const roomSize = 64 << 10

// clone copies a resource to where others are.
func (b *Builder) clone(wire []byte) []byte {
	if len(wire) > roomSize/8 {
		return bytes.Clone(wire)
	}
	start := len(b.room)
	if start+len(wire) > cap(b.room) {
		b.room, start = make([]byte, 0, roomSize), 0
	}
	b.room = append(b.room, wire...)
	return b.room[start:len(b.room):len(b.room)]
}

// AddEncoded is Add for a resource that was in a state before and is owned by the caller: it is neither copied nor
// decoded.
func (b *Builder) AddEncoded(wire []byte) error {
	r, err := scanResource(wire)
	if err != nil {
		return err
	}
	for _, h := range r.Blobs {
		held := b.state.blobs[h]
		held.refs++
		b.state.blobs[h] = held
	}
	b.state.put(r)
	return nil
}

// Missing returns the bodies that neither the old state nor the pool has. The ones it finds are taken over, so it is
// called once, after the last Add.
func (b *Builder) Missing(pool map[Hash]*bodies.Body) []Hash {
	b.pool = pool
	var missing []Hash
	for h, held := range b.state.blobs {
		if held.body != nil {
			continue
		}
		if b.old != nil {
			held.body = b.old.blobs[h].body
		}
		if held.body == nil {
			held.body = pool[h]
		}
		if held.body == nil {
			missing = append(missing, h)
			continue
		}
		b.state.blobs[h] = held
	}
	return missing
}

// PutBlob gives a missing body, of which a copy is kept and returned. A body that no resource needs is ErrMalformed.
func (b *Builder) PutBlob(body []byte) (*bodies.Body, error) {
	h := sha256.Sum256(body)
	held, ok := b.state.blobs[h]
	if !ok {
		return nil, fmt.Errorf("%w: a body that nobody asked for", ErrMalformed)
	}
	if held.body == nil {
		held.body = b.state.store.Add(body)
		b.state.blobs[h] = held
	}
	return held.body, nil
}

// Verify compares the digest of what was added with the control plane's: ErrDrift if they differ.
func (b *Builder) Verify(sum []byte) error {
	if !b.state.digest.Equal(sum) {
		return fmt.Errorf("%w: snapshot at revision %d", ErrDrift, b.state.revision)
	}
	return nil
}

// Build returns the state. A body that is still missing is ErrMissingBlob. Bodies of the old state and of the pool that
// the new state does not need are given up.
func (b *Builder) Build() (*State, error) {
	for h, held := range b.state.blobs {
		if held.body == nil {
			return nil, fmt.Errorf("%w: %x", ErrMissingBlob, h)
		}
	}
	if b.old != nil {
		for h, held := range b.old.blobs {
			b.giveUp(h, held.body)
		}
	}
	for h, body := range b.pool {
		b.giveUp(h, body)
	}
	return b.state, nil
}

func (b *Builder) giveUp(h Hash, body *bodies.Body) {
	if b.state.blobs[h].body != body {
		b.state.store.Forget(body)
	}
}

// Digest returns the digest of what was added.
func (b *Builder) Digest() digest.Digest { return b.state.digest }

// Frozen is what a state held at one moment, for writing it to disk while the state goes on. Its slices are shared
// with the state and must not be changed.
type Frozen struct {
	Epoch    string
	Revision uint64
	Digest   []byte
	Wires    [][]byte       // encoded resources, in no order
	Kinds    map[string]int // numbers of them, by kind
	Blobs    map[Hash]*bodies.Body
}

// Freeze copies references only: about 24 bytes for each resource and 50 for each body.
func (s *State) Freeze() *Frozen {
	f := &Frozen{
		Epoch: s.epoch, Revision: s.revision, Digest: s.digest.Bytes(),
		Wires: make([][]byte, 0, s.size), Blobs: make(map[Hash]*bodies.Body, len(s.blobs)),
		Kinds: make(map[string]int, len(s.kinds)),
	}
	for kind, names := range s.kinds {
		f.Kinds[kind] = len(names)
		for _, wire := range names {
			f.Wires = append(f.Wires, wire)
		}
	}
	for h, b := range s.blobs {
		f.Blobs[h] = b.body
	}
	return f
}
