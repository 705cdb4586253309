// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// world is what a control plane would have.
type world map[string]*distributionv1.Resource

func tool(name, text, body string) *distributionv1.Resource {
	version, hash := sha256.Sum256([]byte(text+"\x00"+body)), sha256.Sum256([]byte(body)) // a version covers everything
	r := &distributionv1.Resource{Kind: "tool", Name: name, Version: version[:]}
	if body != "" {
		r.Blobs = [][]byte{hash[:]}
	}
	return r
}

func (w world) sum() []byte {
	var d digest.Digest
	for _, r := range w {
		d.Add(r.GetKind(), r.GetName(), r.GetVersion())
	}
	return d.Bytes()
}

// packed encodes a message as a control plane does.
func packed(t *rapid.T, p *pack.Packer, m *distributionv1.FollowResponse) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return p.Message(b)
}

// both is a replica and a tracked state, which have to come to the same.
type both struct {
	store    *bodies.Store
	unpacker *pack.Unpacker
	replica  *replica.State
	pending  replica.Pending
	tracked  *tracked
}

func (b *both) snapshot(t *rapid.T, p *pack.Packer, w world, revision uint64) {
	builder, err := replica.NewBuilder(b.store, b.replica, "e", revision)
	if err != nil {
		t.Fatal(err)
	}
	var parts []*message
	for some := range slices.Chunk(slices.Sorted(maps.Keys(w)), 3) {
		part := &distributionv1.SnapshotPart{}
		for _, name := range some {
			part.Resources = append(part.Resources, w[name])
		}
		wire := packed(t, p, &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{SnapshotPart: part}})
		for _, r := range b.read(t, wire).Part {
			if err := builder.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		parts = append(parts, b.message(t, wire))
	}
	want := builder.Missing(nil)
	c, missing, err := b.tracked.snapshot(revision, parts, w.sum())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(want, compareHashes)
	if !slices.Equal(want, missing) {
		t.Fatalf("snapshot: %d bodies are missing, want %d", len(missing), len(want))
	}
	for n := range 10 {
		if _, needed := slices.BinarySearchFunc(want, sha256.Sum256(body(n)), compareHashes); needed {
			if _, err := builder.PutBlob(body(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if b.replica, err = builder.Build(); err != nil {
		t.Fatal(err)
	}
	b.tracked.complete("e", revision, c)
	b.tracked.enforced("e", revision)
}

func (b *both) read(t *rapid.T, wire []byte) replica.Message {
	plain, err := b.unpacker.Message(wire)
	if err != nil {
		t.Fatal(err)
	}
	m, err := replica.ParseMessage(plain)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (b *both) message(t *rapid.T, wire []byte) *message {
	half := len(wire) / 2 // as it comes: in pieces
	m, err := b.tracked.pool.message(mem.BufferSlice{mem.SliceBuffer(wire[:half]), mem.SliceBuffer(wire[half:])})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// delta gives both a delta of several parts and compares what they say to it.
func (b *both) delta(t *rapid.T, p *pack.Packer, parts []*distributionv1.Delta) {
	var joined *replica.Delta
	var list []*message
	for i, d := range parts {
		d.More = i < len(parts)-1
		wire := packed(t, p, &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: d}})
		var err error
		if joined, err = b.pending.Add(b.read(t, wire).Delta, len(wire)); err != nil {
			t.Fatal(err)
		}
		list = append(list, b.message(t, wire))
	}
	missing, want := b.replica.Check(joined)
	fetched := make(map[replica.Hash][]byte)
	for n := range 10 {
		if h := sha256.Sum256(body(n)); slices.Contains(missing, h) {
			fetched[h] = body(n)
		}
	}
	err := b.tracked.delta(list, func(asked []replica.Hash) error {
		if !slices.Equal(asked, missing) {
			t.Fatalf("delta: %d bodies are missing, want %d", len(asked), len(missing))
		}
		return nil
	})
	for _, kind := range []error{replica.ErrCursor, replica.ErrDrift, replica.ErrMalformed} {
		if errors.Is(want, kind) != errors.Is(err, kind) {
			t.Fatalf("got %v, a replica says %v", err, want)
		}
	}
	if want != nil {
		return
	}
	if _, err := b.replica.Apply(joined, fetched); err != nil {
		t.Fatal(err)
	}
	b.tracked.enforced(b.replica.Epoch(), b.replica.Revision())
}

func (b *both) compare(t *rapid.T) {
	epoch, revision, sum := b.tracked.at()
	if epoch != b.replica.Epoch() || revision != b.replica.Revision() || sum != b.replica.Digest() {
		t.Fatalf("at %s/%d with %x, a replica at %s/%d with %x", epoch, revision, sum.Bytes(), b.replica.Epoch(), b.replica.Revision(), b.replica.Digest().Bytes())
	}
	c := b.tracked.now.content
	held := slices.SortedFunc(maps.Keys(b.replica.Freeze().Blobs), compareHashes)
	if c.resources.size != b.replica.Len() || !slices.Equal(held, c.needs()) {
		t.Fatalf("%d resources and %d bodies, a replica has %d and %d", c.resources.size, len(c.needs()), b.replica.Len(), len(held))
	}
}

func body(n int) []byte { return fmt.Appendf(nil, "body %d", n) }

// TestTrackedIsAReplica: a state that nodes share becomes what the copy of a real node becomes, and refuses what it refuses.
func TestTrackedIsAReplica(t *testing.T) {
	packer, err := pack.NewPacker(1)
	if err != nil {
		t.Fatal(err)
	}
	unpacker, err := pack.NewUnpacker(maxMessage)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		store, err := bodies.New()
		if err != nil {
			t.Fatal(err)
		}
		shared, err := newPool()
		if err != nil {
			t.Fatal(err)
		}
		resource := rapid.Custom(func(t *rapid.T) *distributionv1.Resource {
			text := ""
			if n := rapid.IntRange(-1, 9).Draw(t, "body"); n >= 0 {
				text = string(body(n))
			}
			return tool(fmt.Sprint(rapid.IntRange(0, 12).Draw(t, "name")), fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "version")), text)
		})
		w := world{}
		for _, r := range rapid.SliceOfN(resource, 0, 12).Draw(t, "world") {
			w[r.GetName()] = r
		}
		b := &both{store: store, unpacker: unpacker, tracked: &tracked{pool: shared}}
		revision := uint64(10)
		b.snapshot(t, packer, w, revision)
		b.compare(t)
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
				revision++
				b.snapshot(t, packer, w, revision)
				b.compare(t)
				continue
			}
			after := maps.Clone(w)
			var parts []*distributionv1.Delta
			for range rapid.IntRange(1, 3).Draw(t, "parts") {
				d := &distributionv1.Delta{Epoch: "e", From: revision, To: revision + uint64(rapid.IntRange(0, 2).Draw(t, "by"))}
				for _, r := range rapid.SliceOfN(resource, 0, 3).Draw(t, "upserts") {
					d.Upserts = append(d.Upserts, r)
					after[r.GetName()] = r
				}
				for _, n := range rapid.SliceOfN(rapid.IntRange(0, 12), 0, 2).Draw(t, "tombstones") {
					d.Tombstones = append(d.Tombstones, &distributionv1.ResourceKey{Kind: "tool", Name: fmt.Sprint(n)})
					delete(after, fmt.Sprint(n))
				}
				for _, n := range rapid.SliceOfN(rapid.IntRange(0, 9), 0, 4).Draw(t, "bodies") {
					d.Blobs = append(d.Blobs, body(n))
				}
				parts = append(parts, d)
			}
			for _, d := range parts {
				d.To = parts[0].GetTo()
			}
			parts[len(parts)-1].Digest = after.sum()
			if rapid.IntRange(0, 5).Draw(t, "right") == 0 {
				parts[len(parts)-1].Digest = make([]byte, digest.Size)
			}
			b.delta(t, packer, parts)
			if b.replica.Revision() > revision {
				revision, w = b.replica.Revision(), after
			}
			b.compare(t)
		}
	})
}

// TestNodesShare: nodes that came to the same state by different ways have one content.
func TestNodesShare(t *testing.T) {
	shared, err := newPool()
	if err != nil {
		t.Fatal(err)
	}
	one, other := &tracked{pool: shared}, &tracked{pool: shared}
	take := func(n *tracked, from, to uint64, w world, upserts ...*distributionv1.Resource) {
		t.Helper()
		wire, err := proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{
			Delta: &distributionv1.Delta{Epoch: "e", From: from, To: to, Upserts: upserts, Digest: w.sum()},
		}})
		if err != nil {
			t.Fatal(err)
		}
		m, err := shared.message(mem.BufferSlice{mem.SliceBuffer(wire)})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.delta([]*message{m}, func([]replica.Hash) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []*tracked{one, other} {
		c, _, err := n.snapshot(10, nil, world{}.sum())
		if err != nil {
			t.Fatal(err)
		}
		n.complete("e", 10, c)
	}
	a, b := tool("a", "1", ""), tool("b", "1", "")
	take(one, 10, 11, world{"a": a}, a)
	take(one, 11, 12, world{"a": a, "b": b}, b)
	take(other, 10, 12, world{"a": a, "b": b}, a, b)
	if one.newest().content != other.newest().content {
		t.Error("two nodes at one state have two contents")
	}
	// The stream breaks before anything of it is enforced.
	if sum, err := one.resume("", 0); err != nil || sum != nil {
		t.Errorf("got %x, %v", sum, err)
	}
	if _, err := other.resume("e", 12); !errors.Is(err, replica.ErrCursor) {
		t.Errorf("got %v for a client that is elsewhere", err)
	}
}

func TestMemoForgets(t *testing.T) {
	m := newMemo[int, int](3)
	for n := range 5 {
		m.put(n, n)
		m.put(n, -n)
	}
	for n := range 5 {
		if v, ok := m.get(n); ok != (n > 1) || v != -n && ok {
			t.Errorf("%d: got %d, %v", n, v, ok)
		}
	}
	if len(m.held) != 3 {
		t.Errorf("%d are held", len(m.held))
	}
}
