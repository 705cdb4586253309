// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// scopes are the scope classes that every equivalence is checked for.
func scopes() []scope.Scope {
	return []scope.Scope{{}, {Region: "eu"}, {Region: "us"}, {Authserver: true}}
}

// take makes the state a node has after a snapshot, with every body from the store.
func take(tb feedtest.TB, f *feed.Feed, c *feed.Class) *replica.State {
	tb.Helper()
	held, err := bodies.New()
	if err != nil {
		tb.Fatal(err)
	}
	var b *replica.Builder
	for frame := range c.Snapshot().Frames() {
		m, err := replica.ParseMessage(frame)
		if err != nil {
			tb.Fatalf("parse snapshot: %v", err)
		}
		switch {
		case m.Other.GetSnapshotBegin() != nil:
			begin := m.Other.GetSnapshotBegin()
			if b, err = replica.NewBuilder(held, nil, begin.GetEpoch(), begin.GetRevision()); err != nil {
				tb.Fatal(err)
			}
		case m.Other.GetSnapshotEnd() != nil:
			if err := b.Verify(m.Other.GetSnapshotEnd().GetDigest()); err != nil {
				tb.Fatal(err)
			}
		default:
			for _, r := range m.Part {
				if err := b.Add(r); err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	for _, h := range b.Missing(nil) {
		if !c.HoldsBlob(h) {
			tb.Fatalf("body %x of the snapshot is not in the scope", h)
		}
		found, err := f.Blobs(tb.Context(), []catalog.Hash{catalog.Hash(h)})
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := b.PutBlob(found[0]); err != nil {
			tb.Fatal(err)
		}
	}
	s, err := b.Build()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// step applies the next delta of a class to a state and returns it, nil if it only moved the cursor. No body may be
// missing: each comes with the delta that needs it, and if exact, no other does (D-24).
func step(tb feedtest.TB, c *feed.Class, s *replica.State, to catalog.Revision, exact bool) (*replica.Delta, error) {
	tb.Helper()
	d, err := c.Delta(tb.Context(), catalog.Revision(s.Revision()), to)
	if err != nil {
		return nil, err
	}
	if len(d.Frames) == 0 {
		return nil, s.Advance(s.Epoch(), uint64(d.To))
	}
	var p replica.Pending
	for i, frame := range d.Frames {
		m, err := replica.ParseMessage(frame)
		if err != nil {
			tb.Fatalf("parse delta: %v", err)
		}
		whole, err := p.Add(m.Delta, len(frame))
		if err != nil {
			tb.Fatal(err)
		}
		if (whole != nil) != (i == len(d.Frames)-1) {
			tb.Fatalf("part %d of %d: the delta ends elsewhere", i, len(d.Frames))
		}
		if whole == nil {
			continue
		}
		missing, err := s.Check(whole)
		if err != nil {
			return nil, err
		}
		if len(missing) > 0 {
			tb.Fatalf("the delta lacks %d bodies", len(missing))
		}
		for h := range whole.Blobs {
			if s.Blob(h) != nil && exact {
				tb.Fatalf("body %x was sent though the node has it", h)
			}
		}
		if _, err := s.Apply(whole, nil); err != nil {
			tb.Fatal(err)
		}
		return whole, nil
	}
	return nil, nil
}

// content is all a state holds, in a form that go-cmp compares.
func content(s *replica.State) map[string]string {
	f := s.Freeze()
	all := map[string]string{"digest": fmt.Sprintf("%x", f.Digest), "revision": fmt.Sprint(f.Revision)}
	for _, w := range f.Wires {
		r, err := replica.ParseResource(w)
		if err != nil {
			panic(err)
		}
		all[r.Key.Kind+" "+r.Key.Name] = fmt.Sprintf("%x", sha256.Sum256(w))
	}
	for h, body := range f.Blobs {
		all[fmt.Sprintf("blob %x", h)] = string(body.Bytes())
	}
	return all
}

// follower is one simulated node: a class and the state so far, and how the members of the class were since.
type follower struct {
	class *feed.Class
	state *replica.State
	seen  map[replica.Key]bool // members at any revision since the state's
}

// loaded is a feed at the head of a store, without a goroutine: what the fuzzer tries then depends on its choices alone.
func loaded(tb feedtest.TB, s catalog.Store) *feed.Feed {
	tb.Helper()
	f := feed.New(feed.Config{Store: s, Log: feedtest.Log()})
	if err := f.LoadNow(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return f
}

// checkEquivalence is failure 16: snapshot(a) + deltas(a, b] = snapshot(b), for every scope class, whatever the ranges
// the changes are merged over; and D-82: no name outside the scope is ever sent.
func checkEquivalence(tb feedtest.TB, choose chooser, changes int) {
	store := memstore.New(nil)
	m := newModel()
	f := loaded(tb, store)
	var followers []*follower
	for range changes {
		var ops []feedtest.Op
		for range 1 + choose(4) {
			ops = append(ops, m.change(choose))
		}
		if choose(10) == 0 {
			ops = append(ops, feedtest.Atomic())
		}
		feedtest.Write(tb, store, ops...)
		if err := f.CatchUpNow(tb.Context()); err != nil {
			tb.Fatal(err)
		}
		head := f.Head().Revision
		for _, x := range followers {
			maps.Copy(x.seen, m.members(x.class.Scope()))
			if choose(2) == 0 {
				continue
			}
			follow(tb, x, head)
			x.check(tb, f, m)
		}
		if s := scopes(); len(followers) < 2*len(s) && choose(2) == 0 {
			class, err := f.Class(s[len(followers)%len(s)])
			if err != nil {
				tb.Fatal(err)
			}
			x := &follower{class: class, state: take(tb, f, class)}
			x.seen = m.members(class.Scope())
			x.check(tb, f, m)
			followers = append(followers, x)
		}
	}
	for _, x := range followers {
		follow(tb, x, f.Head().Revision)
		x.check(tb, f, m)
	}
	checkRestart(tb, choose, store, followers, m)
}

func follow(tb feedtest.TB, x *follower, head catalog.Revision) {
	tb.Helper()
	var named []replica.Key
	denials, _ := x.class.Denials(catalog.Revision(x.state.Revision()))
	for _, frame := range denials {
		m, err := replica.ParseMessage(frame)
		if err != nil {
			tb.Fatal(err)
		}
		for _, k := range m.Other.GetDeny().GetKeys() {
			named = append(named, replica.Key{Kind: k.GetKind(), Name: k.GetName()})
		}
	}
	for catalog.Revision(x.state.Revision()) < head {
		d, err := step(tb, x.class, x.state, head, true)
		if err != nil {
			tb.Fatal(err)
		}
		if d == nil {
			continue
		}
		named = append(named, d.Tombstones...)
		for _, r := range d.Upserts {
			named = append(named, r.Key)
		}
	}
	for _, k := range named {
		if !x.seen[k] {
			tb.Fatalf("%s %q was sent, which was never in scope %q", k.Kind, k.Name, x.class.Scope().Region)
		}
	}
}

// check compares the state with a snapshot of now, and that with the model.
func (x *follower) check(tb feedtest.TB, f *feed.Feed, m *model) {
	tb.Helper()
	if diff := cmp.Diff(content(take(tb, f, x.class)), content(x.state)); diff != "" {
		tb.Fatalf("scope %q, snapshot and deltas disagree (-snapshot +deltas):\n%s", x.class.Scope().Region, diff)
	}
	have := make(map[replica.Key]bool)
	for _, w := range x.state.Freeze().Wires {
		r, err := replica.ParseResource(w)
		if err != nil {
			tb.Fatal(err)
		}
		have[r.Key] = true
	}
	want := m.members(x.class.Scope())
	if diff := cmp.Diff(want, have); diff != "" {
		tb.Fatalf("scope %q (-want +got):\n%s", x.class.Scope().Region, diff)
	}
	x.seen = want
}

// checkRestart is a control plane that starts anew: its ring is read back from the log, without what the first changes
// replaced. A node that comes with an older state must end with the same state, or notice (D-36).
func checkRestart(tb feedtest.TB, choose chooser, store catalog.Store, followers []*follower, m *model) {
	if len(followers) == 0 {
		return
	}
	before := loaded(tb, store)
	class, err := before.Class(followers[0].class.Scope())
	if err != nil {
		tb.Fatal(err)
	}
	node := take(tb, before, class)
	for range 1 + choose(5) {
		feedtest.Write(tb, store, m.change(choose))
	}
	after := loaded(tb, store)
	if class, err = after.Class(class.Scope()); err != nil {
		tb.Fatal(err)
	}
	head := after.Head().Revision
	for catalog.Revision(node.Revision()) < head {
		if _, err := step(tb, class, node, head, false); errors.Is(err, replica.ErrDrift) {
			return // noticed: the node asks for a snapshot
		} else if err != nil {
			tb.Fatal(err)
		}
	}
	if diff := cmp.Diff(content(take(tb, after, class)), content(node)); diff != "" {
		tb.Fatalf("resumed after a restart (-snapshot +deltas):\n%s", diff)
	}
}

func TestSnapshotAndDeltasAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		choose := drawn(t)
		checkEquivalence(t, choose, 1+choose(40))
	})
}

// FuzzDeltaApply is the same property with the choices made by the fuzzer, about eight bytes for a change.
func FuzzDeltaApply(f *testing.F) {
	for seed := range byte(4) {
		choices := make([]byte, 300)
		for i := range choices {
			choices[i] = byte(i) * (2*seed + 37) >> (seed % 3)
		}
		f.Add(choices)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		checkEquivalence(t, given(choices), min(40, 1+len(choices)/8))
	})
}
