// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// TestPackedIsTheSame: nodes that know the dictionary get the same frames and bodies in fewer bytes, and those of a snapshot
// are packed once (D-10, D-42).
func TestPackedIsTheSame(t *testing.T) {
	unpacker, err := pack.NewUnpacker(16 << 20)
	if err != nil {
		t.Fatal(err)
	}
	same := func(what string, plain, packed [][]byte) {
		t.Helper()
		var before, after int
		if len(plain) != len(packed) || len(plain) == 0 {
			t.Fatalf("%s: %d frames, %d packed", what, len(plain), len(packed))
		}
		for i, frame := range packed {
			back, err := unpacker.Message(frame)
			if err != nil || !bytes.Equal(back, plain[i]) {
				t.Fatalf("%s: frame %d is another one, %v", what, i, err)
			}
			before, after = before+len(plain[i]), after+len(frame)
		}
		if after >= before {
			t.Errorf("%s: %d bytes became %d", what, before, after)
		}
	}
	store := memstore.New(nil)
	feedtest.Write(t, store, append(feedtest.Shop(), feedtest.Tools("big", 3000)...)...)
	f := feedtest.Start(t, store)
	c, err := f.Class(scope.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	snap := c.Snapshot()
	packed := slices.Collect(snap.Packed())
	same("snapshot", slices.Collect(snap.Frames()), packed)
	if again := slices.Collect(c.Snapshot().Packed()); &again[1][0] != &packed[1][0] {
		t.Error("a snapshot was packed twice")
	}
	from := f.Head().Revision
	feedtest.AwaitHead(t, f, feedtest.Write(t, store, feedtest.Tools("more", 3)...))
	d, err := c.Delta(t.Context(), from, f.Head().Revision)
	if err != nil {
		t.Fatal(err)
	}
	same("delta", d.Frames, d.Packed)

	var hashes []catalog.Hash
	for frame := range snap.Frames() {
		m, err := replica.ParseMessage(frame)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Part {
			for _, h := range r.Blobs {
				hashes = append(hashes, catalog.Hash(h))
			}
		}
	}
	plain, err := f.Blobs(t.Context(), hashes)
	if err != nil || len(plain) == 0 {
		t.Fatalf("%d bodies, %v", len(plain), err)
	}
	for range 2 { // from the store, then from memory
		frames, err := f.PackedBlobs(t.Context(), hashes)
		if err != nil {
			t.Fatal(err)
		}
		for i, frame := range frames {
			if back, err := unpacker.Body(frame); err != nil || !bytes.Equal(back, plain[i]) {
				t.Fatalf("body %d is another one, %v", i, err)
			}
		}
	}
}
