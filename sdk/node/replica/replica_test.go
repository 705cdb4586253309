// SPDX-License-Identifier: Apache-2.0

package replica_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// tool is a tool whose version and body follow from text.
func tool(name, text string) *distributionv1.Resource {
	version, hash := sha256.Sum256([]byte("version "+text)), sha256.Sum256([]byte(text))
	return &distributionv1.Resource{
		Kind: "tool", Name: name, Version: version[:], Blobs: [][]byte{hash[:]},
		Body: &distributionv1.Resource_Tool{Tool: &resourcev1.Tool{Name: name, UpstreamName: text}},
	}
}

func sum(resources ...*distributionv1.Resource) []byte {
	var d digest.Digest
	for _, r := range resources {
		d.Add(r.GetKind(), r.GetName(), r.GetVersion())
	}
	return d.Bytes()
}

// through encodes a message and reads it as a node does.
func through(t *testing.T, m *distributionv1.FollowResponse) replica.Message {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	got, err := replica.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func readDelta(t *testing.T, d *distributionv1.Delta) *replica.Delta {
	t.Helper()
	return through(t, &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: d}}).Delta
}

func readPart(t *testing.T, resources ...*distributionv1.Resource) []replica.Resource {
	t.Helper()
	return through(t, &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{
		SnapshotPart: &distributionv1.SnapshotPart{Resources: resources},
	}}).Part
}

func newStore(t *testing.T) *bodies.Store {
	t.Helper()
	s, err := bodies.New()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// build makes a state at e/10 that holds the resources and the bodies named like their texts.
func build(t *testing.T, resources ...*distributionv1.Resource) *replica.State {
	t.Helper()
	b, err := replica.NewBuilder(newStore(t), nil, "e", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readPart(t, resources...) {
		if err := b.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	b.Missing(nil)
	for _, r := range resources {
		if _, err := b.PutBlob([]byte(r.GetTool().GetUpstreamName())); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hold is what a state holds: names with their texts, and bodies with "body" in front.
func hold(s *replica.State) map[string]string {
	all := map[string]string{}
	s.Range("tool", func(r *distributionv1.Resource) bool {
		all[r.GetName()] = r.GetTool().GetUpstreamName()
		return true
	})
	for _, body := range s.Freeze().Blobs {
		all["body "+string(body.Bytes())] = ""
	}
	return all
}

func TestApply(t *testing.T) {
	a, b := tool("s/a", "one"), tool("s/b", "two")
	tests := []struct {
		name    string
		delta   *distributionv1.Delta
		want    map[string]string
		touched int
	}{
		{
			"a new version replaces the old one and its body",
			&distributionv1.Delta{Upserts: []*distributionv1.Resource{tool("s/a", "uno")}, Blobs: [][]byte{[]byte("uno")}, Digest: sum(tool("s/a", "uno"), b)},
			map[string]string{"s/a": "uno", "s/b": "two", "body uno": "", "body two": ""},
			1,
		},
		{
			"a tombstone removes", &distributionv1.Delta{Tombstones: []*distributionv1.ResourceKey{{Kind: "tool", Name: "s/a"}}, Digest: sum(b)},
			map[string]string{"s/b": "two", "body two": ""},
			1,
		},
		{
			"a tombstone of what is not there touches nothing",
			&distributionv1.Delta{Tombstones: []*distributionv1.ResourceKey{{Kind: "tool", Name: "s/x"}}, Digest: sum(a, b)},
			map[string]string{"s/a": "one", "s/b": "two", "body one": "", "body two": ""},
			0,
		},
		{
			"a body that changes hands within one delta stays, in whatever order",
			&distributionv1.Delta{Upserts: []*distributionv1.Resource{tool("s/a", "two"), tool("s/b", "one")}, Digest: sum(tool("s/a", "two"), tool("s/b", "one"))},
			map[string]string{"s/a": "two", "s/b": "one", "body one": "", "body two": ""},
			2,
		},
		{
			"a body outlives the resource that brought it",
			&distributionv1.Delta{
				Upserts:    []*distributionv1.Resource{tool("s/c", "one")},
				Tombstones: []*distributionv1.ResourceKey{{Kind: "tool", Name: "s/a"}}, Digest: sum(b, tool("s/c", "one")),
			},
			map[string]string{"s/b": "two", "s/c": "one", "body one": "", "body two": ""},
			2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := build(t, a, b)
			tt.delta.Epoch, tt.delta.From, tt.delta.To = "e", 10, 12
			d := readDelta(t, tt.delta)
			if missing, err := s.Check(d); err != nil || len(missing) > 0 {
				t.Fatalf("check: %d missing, %v", len(missing), err)
			}
			touched, err := s.Apply(d, nil)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, hold(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(touched) != tt.touched || s.Revision() != 12 || !s.Digest().Equal(tt.delta.GetDigest()) {
				t.Errorf("touched %v, revision %d", touched, s.Revision())
			}
			if s.Len() != len(s.Freeze().Wires) {
				t.Errorf("%d resources, %d counted", len(s.Freeze().Wires), s.Len())
			}
		})
	}
}

// TestCheckRefuses: what is refused changes nothing, neither resources, nor bodies, nor the cursor (D-22, D-23, D-36).
func TestCheckRefuses(t *testing.T) {
	a := tool("s/a", "one")
	other := tool("s/b", "two")
	good := func(change func(*distributionv1.Delta)) *distributionv1.Delta {
		d := &distributionv1.Delta{
			Epoch: "e", From: 10, To: 11, Upserts: []*distributionv1.Resource{other}, Blobs: [][]byte{[]byte("two")}, Digest: sum(a, other),
		}
		change(d)
		return d
	}
	tests := []struct {
		name  string
		delta *distributionv1.Delta
		want  error
	}{
		{"from before the cursor", good(func(d *distributionv1.Delta) { d.From = 9 }), replica.ErrCursor},
		{"from after the cursor", good(func(d *distributionv1.Delta) { d.From = 11; d.To = 12 }), replica.ErrCursor},
		{"of another epoch", good(func(d *distributionv1.Delta) { d.Epoch = "f" }), replica.ErrCursor},
		{"to where it is", good(func(d *distributionv1.Delta) { d.To = 10 }), replica.ErrCursor},
		{"backwards", good(func(d *distributionv1.Delta) { d.To = 3 }), replica.ErrCursor},
		{"another digest", good(func(d *distributionv1.Delta) { d.Digest = sum(a) }), replica.ErrDrift},
		{"no digest", good(func(d *distributionv1.Delta) { d.Digest = nil }), replica.ErrDrift},
		{"a resource left out", good(func(d *distributionv1.Delta) { d.Upserts = nil }), replica.ErrDrift},
		{"a resource twice", good(func(d *distributionv1.Delta) { d.Upserts = append(d.Upserts, other) }), replica.ErrMalformed},
		{"a resource that comes and goes", good(func(d *distributionv1.Delta) {
			d.Tombstones = []*distributionv1.ResourceKey{{Kind: "tool", Name: "s/b"}}
		}), replica.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := build(t, a)
			before, sum := hold(s), s.Digest()
			if _, err := s.Check(readDelta(t, tt.delta)); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if diff := cmp.Diff(before, hold(s)); diff != "" || s.Digest() != sum || s.Revision() != 10 {
				t.Errorf("it changed something: %s", diff)
			}
		})
	}
}

// TestMissingBody: a delta without a body it needs names it, and is applied only with it.
func TestMissingBody(t *testing.T) {
	s := build(t, tool("s/a", "one"))
	next := tool("s/b", "two")
	d := readDelta(t, &distributionv1.Delta{Epoch: "e", From: 10, To: 11, Upserts: []*distributionv1.Resource{next}, Digest: sum(tool("s/a", "one"), next)})
	missing, err := s.Check(d)
	if err != nil || len(missing) != 1 || missing[0] != sha256.Sum256([]byte("two")) {
		t.Fatalf("missing %x, %v", missing, err)
	}
	before := hold(s)
	if _, err := s.Apply(d, nil); !errors.Is(err, replica.ErrMissingBlob) {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff(before, hold(s)); diff != "" || s.Revision() != 10 {
		t.Fatalf("half applied: %s", diff)
	}
	if _, err := s.Apply(d, map[replica.Hash][]byte{missing[0]: []byte("two")}); err != nil {
		t.Fatal(err)
	}
	if string(s.Blob(missing[0]).Bytes()) != "two" {
		t.Error("the body is not there")
	}
}

func TestAdvance(t *testing.T) {
	s := build(t)
	for _, tt := range []struct {
		epoch string
		to    uint64
		want  error
	}{{"e", 9, replica.ErrCursor}, {"f", 12, replica.ErrCursor}, {"e", 10, nil}, {"e", 12, nil}} {
		if err := s.Advance(tt.epoch, tt.to); !errors.Is(err, tt.want) {
			t.Errorf("advance to %s/%d: %v, want %v", tt.epoch, tt.to, err, tt.want)
		}
	}
	if s.Revision() != 12 {
		t.Errorf("at %d", s.Revision())
	}
}

func TestBuilder(t *testing.T) {
	a, b := tool("s/a", "one"), tool("s/b", "two")
	old := build(t, a)
	t.Run("what the old state and the pool have need not be fetched", func(t *testing.T) {
		two := sha256.Sum256([]byte("two"))
		store := newStore(t)
		nb, err := replica.NewBuilder(store, old, "e", 11)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range readPart(t, a, b, tool("s/c", "three")) {
			if err := nb.Add(r); err != nil {
				t.Fatal(err)
			}
		}
		missing := nb.Missing(map[replica.Hash]*bodies.Body{two: store.Add([]byte("two"))})
		if len(missing) != 1 || missing[0] != sha256.Sum256([]byte("three")) {
			t.Fatalf("missing %x", missing)
		}
		if _, err := nb.Build(); !errors.Is(err, replica.ErrMissingBlob) {
			t.Fatalf("built without a body: %v", err)
		}
		if _, err := nb.PutBlob([]byte("four")); !errors.Is(err, replica.ErrMalformed) {
			t.Errorf("a body nobody needs: %v", err)
		}
		if _, err := nb.PutBlob([]byte("three")); err != nil {
			t.Fatal(err)
		}
		s, err := nb.Build()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string]string{"s/a": "one", "s/b": "two", "s/c": "three", "body one": "", "body two": "", "body three": ""}, hold(s)); diff != "" {
			t.Error(diff)
		}
		// The old state is untouched, and shares what is equal.
		if diff := cmp.Diff(map[string]string{"s/a": "one", "body one": ""}, hold(old)); diff != "" {
			t.Error(diff)
		}
		one := sha256.Sum256([]byte("one"))
		if s.Blob(one) != old.Blob(one) {
			t.Error("a body is held twice")
		}
	})
	t.Run("refusals", func(t *testing.T) {
		if _, err := replica.NewBuilder(newStore(t), old, "e", 9); !errors.Is(err, replica.ErrCursor) {
			t.Errorf("older than the state (D-23): %v", err)
		}
		if _, err := replica.NewBuilder(newStore(t), old, "f", 1); err != nil {
			t.Errorf("another epoch: %v", err)
		}
		nb, err := replica.NewBuilder(newStore(t), old, "e", 10)
		if err != nil {
			t.Fatalf("the same revision again: %v", err)
		}
		part := readPart(t, a)
		if err := nb.Add(part[0]); err != nil {
			t.Fatal(err)
		}
		if err := nb.Add(part[0]); !errors.Is(err, replica.ErrMalformed) {
			t.Errorf("the same resource twice: %v", err)
		}
		if err := nb.Verify(sum(a, b)); !errors.Is(err, replica.ErrDrift) {
			t.Errorf("another digest: %v", err)
		}
		if err := nb.Verify(sum(a)); err != nil {
			t.Errorf("its digest: %v", err)
		}
	})
}

// TestPending joins parts, and refuses parts of something else.
func TestPending(t *testing.T) {
	part := func(change func(*distributionv1.Delta)) *replica.Delta {
		d := &distributionv1.Delta{Epoch: "e", From: 10, To: 11, More: true}
		change(d)
		return readDelta(t, d)
	}
	var p replica.Pending
	for i := range 3 {
		whole, err := p.Add(part(func(d *distributionv1.Delta) {
			d.Upserts = []*distributionv1.Resource{tool(fmt.Sprint("s/", i), fmt.Sprint(i))}
			d.Blobs = [][]byte{[]byte(fmt.Sprint(i))}
			if i == 2 {
				d.More, d.Digest = false, []byte("digest")
			}
		}), 100)
		if err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			if whole != nil || !p.Open() {
				t.Fatalf("part %d ended the delta", i)
			}
			continue
		}
		if len(whole.Upserts) != 3 || len(whole.Blobs) != 3 || string(whole.Digest) != "digest" || p.Open() {
			t.Errorf("joined: %d resources, %d bodies", len(whole.Upserts), len(whole.Blobs))
		}
	}
	for name, change := range map[string]func(*distributionv1.Delta){
		"of another epoch": func(d *distributionv1.Delta) { d.Epoch = "f" },
		"of another begin": func(d *distributionv1.Delta) { d.From = 9 },
		"of another end":   func(d *distributionv1.Delta) { d.To = 12 },
		"suddenly atomic":  func(d *distributionv1.Delta) { d.Atomic = true },
	} {
		var p replica.Pending
		if _, err := p.Add(part(func(*distributionv1.Delta) {}), 1); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Add(part(change), 1); !errors.Is(err, replica.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var large replica.Pending
	if _, err := large.Add(part(func(*distributionv1.Delta) {}), 90<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := large.Add(part(func(*distributionv1.Delta) {}), 90<<20); !errors.Is(err, replica.ErrMalformed) {
		t.Errorf("180 MB in one delta: %v", err)
	}
}

// TestFrozenIsAMoment: what is frozen does not change when the state does.
func TestFrozenIsAMoment(t *testing.T) {
	a := tool("s/a", "one")
	s := build(t, a)
	f := s.Freeze()
	wire := bytes.Clone(f.Wires[0])
	next := tool("s/a", "two")
	d := readDelta(t, &distributionv1.Delta{Epoch: "e", From: 10, To: 11, Upserts: []*distributionv1.Resource{next}, Blobs: [][]byte{[]byte("two")}, Digest: sum(next)})
	if _, err := s.Apply(d, nil); err != nil {
		t.Fatal(err)
	}
	if f.Revision != 10 || len(f.Wires) != 1 || !bytes.Equal(f.Wires[0], wire) || string(f.Blobs[sha256.Sum256([]byte("one"))].Bytes()) != "one" {
		t.Error("the frozen state changed")
	}
}
