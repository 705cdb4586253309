// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

var (
	// ErrCursor is a delta that does not continue the state, or a snapshot older than it: the node says Hello again (D-23).
	ErrCursor = errors.New("the message does not continue the state")
	// ErrDrift is a state whose digest is not the control plane's (D-36).
	ErrDrift = errors.New("the digest differs")
	// ErrMissingBlob is a state that lacks a body one of its resources needs.
	ErrMissingBlob = errors.New("a body is missing")
)

// State is one node's copy of its scope. It is not safe for concurrent use: one goroutine changes it, and nobody reads
// it meanwhile.
type State struct {
	epoch    string
	revision uint64
	digest   digest.Digest
	kinds    map[string]map[string][]byte // kind, name → encoded Resource
	size     int                          // number of resources
	blobs    map[Hash]blob
	store    *bodies.Store
}

type blob struct {
	body *bodies.Body
	refs int // resources that need it
}

// Epoch returns the lineage of the revision.
func (s *State) Epoch() string { return s.epoch }

// Revision returns the cursor.
func (s *State) Revision() uint64 { return s.revision }

// Digest returns the digest of all resources.
func (s *State) Digest() digest.Digest { return s.digest }

// Len returns the number of resources.
func (s *State) Len() int { return s.size }

// Get returns a resource, decoded anew, nil if there is none.
func (s *State) Get(kind, name string) *distributionv1.Resource {
	return decode(s.kinds[kind][name])
}

// Range calls fn for every resource of a kind, in no order, until fn returns false.
func (s *State) Range(kind string, fn func(*distributionv1.Resource) bool) {
	for _, wire := range s.kinds[kind] {
		if r := decode(wire); r != nil && !fn(r) {
			return
		}
	}
}

// Names calls fn for the name of every resource of a kind, in no order, until fn returns false.
func (s *State) Names(kind string, fn func(string) bool) {
	for name := range s.kinds[kind] {
		if !fn(name) {
			return
		}
	}
}

// Blob returns a body, nil if no resource needs it.
func (s *State) Blob(hash [sha256.Size]byte) *bodies.Body { return s.blobs[hash].body }

// decode returns nil for nil and never fails otherwise: what enters a state was decoded once.
func decode(wire []byte) *distributionv1.Resource {
	if wire == nil {
		return nil
	}
	r := &distributionv1.Resource{}
	if err := proto.Unmarshal(wire, r); err != nil {
		return nil
	}
	return r
}

// Check tells what Apply would need: whether the delta continues the state (ErrCursor), whether the state will then
// have the delta's digest (ErrDrift), and which bodies are missing. Nothing changes.
func (s *State) Check(d *Delta) (missing []Hash, err error) {
	if d.Epoch != s.epoch || d.From != s.revision || d.To <= d.From {
		return nil, fmt.Errorf("%w: at %s/%d, delta from %s/%d to %d", ErrCursor, s.epoch, s.revision, d.Epoch, d.From, d.To)
	}
	sum := s.digest
	seen := make(map[Key]struct{}, len(d.Upserts)+len(d.Tombstones))
	take := func(k Key) error {
		if _, double := seen[k]; double {
			return fmt.Errorf("%w: a delta names a resource twice", ErrMalformed)
		}
		seen[k] = struct{}{}
		if wire, ok := s.kinds[k.Kind][k.Name]; ok {
			sum.Remove(k.Kind, k.Name, version(wire))
		}
		return nil
	}
	wanted := make(map[Hash]struct{})
	for _, r := range d.Upserts {
		if err := take(r.Key); err != nil {
			return nil, err
		}
		sum.Add(r.Key.Kind, r.Key.Name, r.Version)
		for _, h := range r.Blobs {
			_, double := wanted[h]
			if s.holds(h, d.Blobs) || double {
				continue
			}
			wanted[h] = struct{}{}
			missing = append(missing, h)
		}
	}
	for _, k := range d.Tombstones {
		if err := take(k); err != nil {
			return nil, err
		}
	}
	if !sum.Equal(d.Digest) {
		return nil, fmt.Errorf("%w at revision %d", ErrDrift, d.To)
	}
	return missing, nil
}

// Apply brings the state to d.To and returns the keys that were changed or removed. The delta passed [State.Check];
// fetched holds what Check found missing, else nothing changes and the error is ErrMissingBlob. The state keeps no memory
// of the delta.
func (s *State) Apply(d *Delta, fetched map[Hash][]byte) ([]Key, error) {
	for _, r := range d.Upserts {
		for _, h := range r.Blobs {
			if !s.holds(h, d.Blobs, fetched) {
				return nil, fmt.Errorf("%w: %x", ErrMissingBlob, h)
			}
		}
	}
	touched := make([]Key, 0, len(d.Upserts)+len(d.Tombstones))
	var loose []Hash // bodies that lost their last resource, perhaps only until a later resource of this delta
	for _, r := range d.Upserts {
		for _, h := range r.Blobs {
			s.hold(h, d.Blobs, fetched)
		}
		loose = append(loose, s.remove(r.Key)...)
		r.Wire = bytes.Clone(r.Wire)
		s.put(r)
		touched = append(touched, r.Key)
	}
	for _, k := range d.Tombstones {
		if _, ok := s.kinds[k.Kind][k.Name]; ok {
			loose = append(loose, s.remove(k)...)
			touched = append(touched, k)
		}
	}
	for _, h := range loose {
		if b, ok := s.blobs[h]; ok && b.refs == 0 {
			delete(s.blobs, h)
			s.store.Forget(b.body)
		}
	}
	s.revision = d.To
	return touched, nil
}

// Advance moves the cursor over changes that do not concern the node. Going back or to another lineage is ErrCursor.
func (s *State) Advance(epoch string, revision uint64) error {
	if epoch != s.epoch || revision < s.revision {
		return fmt.Errorf("%w: at %s/%d, advance to %s/%d", ErrCursor, s.epoch, s.revision, epoch, revision)
	}
	s.revision = revision
	return nil
}

// holds reports whether a body is in the state or in one of the places.
func (s *State) holds(h Hash, places ...map[Hash][]byte) bool {
	if _, ok := s.blobs[h]; ok {
		return true
	}
	for _, p := range places {
		if _, ok := p[h]; ok {
			return true
		}
	}
	return false
}

// hold counts one more resource that needs a body. The first one stores a copy, from the first place that has it: a body
// of a delta is a part of a large message.
func (s *State) hold(h Hash, places ...map[Hash][]byte) {
	b, ok := s.blobs[h]
	for i := 0; i < len(places) && !ok; i++ {
		var body []byte
		if body, ok = places[i][h]; ok {
			b.body = s.store.Add(body)
		}
	}
	b.refs++
	s.blobs[h] = b
}

// put stores a resource that is not there, whose bodies are held.
func (s *State) put(r Resource) {
	names := s.kinds[r.Key.Kind]
	if names == nil {
		names = make(map[string][]byte)
		s.kinds[r.Key.Kind] = names
	}
	names[r.Key.Name] = r.Wire
	s.size++
	s.digest.Add(r.Key.Kind, r.Key.Name, r.Version)
}

// remove takes a resource out, if it is there, and returns the bodies that no resource needs any more. They stay until
// somebody deletes them.
func (s *State) remove(k Key) (loose []Hash) {
	wire, ok := s.kinds[k.Kind][k.Name]
	if !ok {
		return nil
	}
	r, err := scanResource(wire)
	if err != nil {
		return nil // cannot be: it was read once
	}
	delete(s.kinds[k.Kind], k.Name)
	s.size--
	s.digest.Remove(k.Kind, k.Name, r.Version)
	for _, h := range r.Blobs {
		b := s.blobs[h]
		b.refs--
		s.blobs[h] = b
		if b.refs == 0 {
			loose = append(loose, h)
		}
	}
	return loose
}

func version(wire []byte) []byte {
	r, err := scanResource(wire)
	if err != nil {
		return nil // cannot be: it was read once
	}
	return r.Version
}
