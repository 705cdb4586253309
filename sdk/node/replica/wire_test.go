// SPDX-License-Identifier: Apache-2.0

package replica_test

import (
	"bytes"
	"errors"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

func encode(t *testing.T, m *distributionv1.FollowResponse) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func partOf(r *distributionv1.Resource) *distributionv1.FollowResponse {
	return &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{
		SnapshotPart: &distributionv1.SnapshotPart{Resources: []*distributionv1.Resource{r}},
	}}
}

// TestParseRefuses: each way in which a message can be wrong is an error, never a panic and never half a message (D-87).
func TestParseRefuses(t *testing.T) {
	good := encode(t, partOf(tool("s/a", "one")))
	change := func(fn func(*distributionv1.Resource)) []byte {
		r := tool("s/a", "one")
		fn(r)
		return encode(t, partOf(r))
	}
	raw := func(field protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), body)
	}
	tests := map[string][]byte{
		"cut off":                          good[:len(good)-1],
		"not protobuf":                     {0xff, 0xff, 0xff},
		"two kinds":                        append(bytes.Clone(good), good...),
		"a resource without a name":        change(func(r *distributionv1.Resource) { r.Name = "" }),
		"a resource without a kind":        change(func(r *distributionv1.Resource) { r.Kind = "" }),
		"a version of another size":        change(func(r *distributionv1.Resource) { r.Version = r.Version[1:] }),
		"a hash of another size":           change(func(r *distributionv1.Resource) { r.Blobs[0] = r.Blobs[0][1:] }),
		"a part that is not protobuf":      raw(2, []byte{0xff}),
		"a resource that is not protobuf":  raw(2, raw(1, []byte{0x08})),
		"a body that is not its message":   raw(2, raw(1, append(wireOf(t, tool("s/a", "one")), raw(12, []byte{0xff, 0xff})...))),
		"a delta that is not protobuf":     raw(4, []byte{0x0a, 0xff}),
		"a delta with half a number":       raw(4, []byte{0x10}),
		"a tombstone that is not protobuf": raw(4, raw(6, []byte{0xff})),
		"a name that is no text":           raw(2, raw(1, append(wireOf(t, tool("s/a", "one")), raw(2, []byte{0xff, 0xfe})...))),
		"an upsert that is not a resource": raw(4, raw(5, []byte("text"))),
		"a heartbeat that is not protobuf": raw(7, []byte{0xff}),
		"a giant length":                   {0x12, 0xff, 0xff, 0xff, 0xff, 0x7f},
		"a group that does not end":        {0x0b},
		"field number 0":                   {0x02, 0x00},
	}
	for name, b := range tests {
		t.Run(name, func(t *testing.T) {
			if m, err := replica.ParseMessage(b); !errors.Is(err, replica.ErrMalformed) {
				t.Fatalf("got %+v, %v", m, err)
			}
		})
	}
}

func wireOf(t *testing.T, r *distributionv1.Resource) []byte {
	t.Helper()
	b, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestParseTakes: what a later release may send is taken: unknown kinds of messages, unknown kinds of resources, unknown
// fields.
func TestParseTakes(t *testing.T) {
	unknown := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), []byte("later"))
	if m, err := replica.ParseMessage(unknown); err != nil || m.Other == nil || m.Other.GetKind() != nil {
		t.Errorf("an unknown kind of message: %+v, %v", m, err)
	}
	if m, err := replica.ParseMessage(nil); err != nil || m.Other == nil {
		t.Errorf("an empty message: %+v, %v", m, err)
	}
	wire := append(wireOf(t, tool("s/a", "one")), unknown...)
	m, err := replica.ParseMessage(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType),
		protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), wire)))
	if err != nil || len(m.Part) != 1 || !bytes.Equal(m.Part[0].Wire, wire) {
		t.Errorf("a resource with an unknown field: %+v, %v", m, err)
	}
	policy := wireOf(t, &distributionv1.Resource{Kind: "policy", Name: "p", Version: make([]byte, 32)})
	if r, err := replica.ParseResource(policy); err != nil || r.Key.Kind != "policy" {
		t.Errorf("an unknown kind of resource: %+v, %v", r, err)
	}
	if m, err := replica.ParseMessage(encode(t, partOf(&distributionv1.Resource{
		Kind: "user", Name: "a", Version: make([]byte, 32), Body: &distributionv1.Resource_User{User: &resourcev1.User{Name: "a"}},
	}))); err != nil || len(m.Part[0].Blobs) != 0 {
		t.Errorf("a resource without bodies: %+v, %v", m, err)
	}
	empty := encode(t, &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotPart{SnapshotPart: &distributionv1.SnapshotPart{}}})
	if m, err := replica.ParseMessage(empty); err != nil || m.Part == nil {
		t.Errorf("an empty part: %+v, %v", m, err)
	}
}

// FuzzParseMessage: the reader without decoding and protobuf itself agree on what is a message and what it says.
func FuzzParseMessage(f *testing.F) {
	for _, m := range []*distributionv1.FollowResponse{
		partOf(tool("s/a", "one")),
		{Kind: &distributionv1.FollowResponse_Delta{Delta: &distributionv1.Delta{
			Epoch: "e", From: 1, To: 2, Upserts: []*distributionv1.Resource{tool("s/a", "one")}, Blobs: [][]byte{[]byte("one")},
			Tombstones: []*distributionv1.ResourceKey{{Kind: "tool", Name: "s/b"}}, Atomic: true, More: true, Digest: make([]byte, 16),
		}}},
		{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: &distributionv1.Heartbeat{Head: 7}}},
		{Kind: &distributionv1.FollowResponse_SnapshotBegin{SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: "e", Revision: 3, Resources: 9}}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := replica.ParseMessage(b)
		want := &distributionv1.FollowResponse{}
		decodes := proto.Unmarshal(b, want) == nil
		if err != nil {
			return
		}
		if !decodes {
			t.Fatal("protobuf refuses what was taken")
		}
		switch {
		case got.Delta != nil:
			d := want.GetDelta()
			if d.GetEpoch() != got.Delta.Epoch || d.GetFrom() != got.Delta.From || d.GetTo() != got.Delta.To || d.GetMore() != got.Delta.More ||
				d.GetAtomic() != got.Delta.Atomic || !bytes.Equal(d.GetDigest(), got.Delta.Digest) ||
				len(d.GetUpserts()) != len(got.Delta.Upserts) || len(d.GetTombstones()) != len(got.Delta.Tombstones) {
				t.Fatalf("got %+v, want %v", got.Delta, d)
			}
			for i, r := range d.GetUpserts() {
				same(t, got.Delta.Upserts[i], r)
			}
		case got.Part != nil:
			if len(got.Part) != len(want.GetSnapshotPart().GetResources()) {
				t.Fatalf("%d resources, want %d", len(got.Part), len(want.GetSnapshotPart().GetResources()))
			}
			for i, r := range want.GetSnapshotPart().GetResources() {
				same(t, got.Part[i], r)
			}
		default:
			if !proto.Equal(got.Other, want) {
				t.Fatalf("got %v, want %v", got.Other, want)
			}
		}
	})
}

func same(t *testing.T, got replica.Resource, want *distributionv1.Resource) {
	t.Helper()
	if got.Key.Kind != want.GetKind() || got.Key.Name != want.GetName() || !bytes.Equal(got.Version, want.GetVersion()) ||
		len(got.Blobs) != len(want.GetBlobs()) {
		t.Fatalf("got %+v, want %v", got, want)
	}
}
