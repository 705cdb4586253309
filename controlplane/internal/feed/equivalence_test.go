// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/feedtest"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	"github.com/penstockhq/penstock/controlplane/internal/memstore"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// scopes are the scope classes that every equivalence is checked for.
func scopes() []scope.Scope { return []scope.Scope{{}, {Region: "eu"}, {Region: "us"}} }

// take makes the state a node has after a snapshot, with every body from the store.
func take(tb feedtest.TB, f *feed.Feed, c *feed.Class) *replica.State {
	tb.Helper()
	var b *replica.Builder
	for frame := range c.Snapshot().Frames() {
		m, err := replica.ParseMessage(frame)
		if err != nil {
			tb.Fatalf("parse snapshot: %v", err)
		}
		switch {
		case m.Other.GetSnapshotBegin() != nil:
			begin := m.Other.GetSnapshotBegin()
			if b, err = replica.NewBuilder(nil, nil, begin.GetEpoch(), begin.GetRevision()); err != nil {
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
	for _, h := range b.Missing() {
		if !c.HoldsBlob(h) {
			tb.Fatalf("body %x of the snapshot is not in the scope", h)
		}
		bodies, err := f.Blobs(tb.Context(), []catalog.Hash{catalog.Hash(h)})
		if err != nil {
			tb.Fatal(err)
		}
		if err := b.PutBlob(bodies[0]); err != nil {
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
		all[fmt.Sprintf("blob %x", h)] = string(body)
	}
	return all
}

// model is the configuration as the test believes it to be: the rules of D-11 and D-12 said once more, slowly.
type model struct {
	gateways    map[string][]string // name → regions
	assignments map[string]string   // "<gateway>/<tool>" → connection
	tools       map[string]string   // name → body
	servers     map[string]bool
	connections map[string]bool // of server "<prefix>"
	wide        map[catalog.Key]bool
}

func newModel() *model {
	return &model{
		gateways: map[string][]string{}, assignments: map[string]string{}, tools: map[string]string{}, servers: map[string]bool{},
		connections: map[string]bool{}, wide: map[catalog.Key]bool{},
	}
}

func (m *model) members(s scope.Scope) map[replica.Key]bool {
	in := make(map[replica.Key]bool)
	for k := range m.wide {
		in[replica.Key{Kind: string(k.Kind), Name: k.Name}] = true
	}
	server := func(name string) {
		if m.servers[name] {
			in[replica.Key{Kind: "server", Name: name}] = true
		}
	}
	for g, regions := range m.gateways {
		if s.Region == "" || len(regions) == 0 || slices.Contains(regions, s.Region) {
			in[replica.Key{Kind: "gateway", Name: g}] = true
		}
	}
	for a, connection := range m.assignments {
		g, tool, _ := strings.Cut(a, "/")
		if !in[replica.Key{Kind: "gateway", Name: g}] {
			continue
		}
		in[replica.Key{Kind: "assignment", Name: a}] = true
		if _, ok := m.tools[tool]; ok {
			in[replica.Key{Kind: "tool", Name: tool}] = true
			name, _, _ := strings.Cut(tool, "/")
			server(name)
		}
		if m.connections[connection] {
			in[replica.Key{Kind: "connection", Name: connection}] = true
			name, _, _ := strings.Cut(connection, "-")
			server(name)
		}
	}
	return in
}

// draw makes one random operation and applies it to the model.
func (m *model) draw(t *rapid.T) feedtest.Op {
	pick := func(label string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label) }
	server, version := pick("server", "s1", "s2"), pick("version", "1", "2", "3")
	gateway := pick("gateway", "g1", "g2", "g3")
	tool := server + "/" + pick("tool", "a", "b")
	connection := server + "-" + pick("connection", "x", "y")
	switch rapid.IntRange(0, 13).Draw(t, "op") {
	case 0, 1:
		regions := rapid.SampledFrom([][]string{nil, {"eu"}, {"us"}, {"eu", "us"}}).Draw(t, "regions")
		m.gateways[gateway] = regions
		return feedtest.Gateway(gateway, version, regions...)
	case 2, 3, 4:
		m.assignments[gateway+"/"+tool] = connection
		return feedtest.Assign(gateway, tool, connection)
	case 5, 6:
		// Few bodies, so that tools share them and lose them again.
		body := pick("body", "body-1", "body-2", "body-3")
		m.tools[tool] = body
		_, name, _ := strings.Cut(tool, "/")
		return feedtest.Tool(server, name, body)
	case 7:
		m.servers[server] = true
		return feedtest.Server(server, version)
	case 8:
		m.connections[connection] = true
		return feedtest.Connection(connection, server)
	case 9:
		m.wide[catalog.Key{Kind: catalog.KindTeam, Name: "eng"}] = true
		return feedtest.Team("eng", version+"@example.com")
	default:
		return m.drawDelete(t)
	}
}

// drawDelete deletes one of what there is.
func (m *model) drawDelete(t *rapid.T) feedtest.Op {
	var all []catalog.Key
	add := func(kind catalog.Kind, names ...string) {
		for _, n := range names {
			all = append(all, catalog.Key{Kind: kind, Name: n})
		}
	}
	add(catalog.KindGateway, slices.Sorted(maps.Keys(m.gateways))...)
	add(catalog.KindAssignment, slices.Sorted(maps.Keys(m.assignments))...)
	add(catalog.KindTool, slices.Sorted(maps.Keys(m.tools))...)
	add(catalog.KindServer, slices.Sorted(maps.Keys(m.servers))...)
	add(catalog.KindConnection, slices.Sorted(maps.Keys(m.connections))...)
	for k := range m.wide {
		all = append(all, k)
	}
	if len(all) == 0 {
		m.wide[catalog.Key{Kind: catalog.KindUser, Name: "u@example.com"}] = true
		return feedtest.User("u@example.com", "first")
	}
	k := rapid.SampledFrom(all).Draw(t, "deleted")
	switch k.Kind {
	case catalog.KindGateway:
		delete(m.gateways, k.Name)
	case catalog.KindAssignment:
		delete(m.assignments, k.Name)
	case catalog.KindTool:
		delete(m.tools, k.Name)
	case catalog.KindServer:
		delete(m.servers, k.Name)
	case catalog.KindConnection:
		delete(m.connections, k.Name)
	default:
		delete(m.wide, k)
	}
	return func(ctx context.Context, tx catalog.Tx) error {
		if err := feedtest.Delete(k.Kind, k.Name)(ctx, tx); err != nil {
			return err
		}
		return feedtest.Deny(k.Kind, k.Name)(ctx, tx)
	}
}

// follower is one simulated node: a class and the state so far, and how the members of the class were since.
type follower struct {
	class *feed.Class
	state *replica.State
	seen  map[replica.Key]bool // members at any revision since the state's
}

// checkEquivalence is failure 16: snapshot(a) + deltas(a, b] = snapshot(b), for every scope class, whatever the ranges
// the changes are merged over; and D-82: no name outside the scope is ever sent.
func checkEquivalence(t *rapid.T) {
	tb := feedtest.TB(t)
	store := memstore.New(nil)
	m := newModel()
	f := feedtest.Start(tb, store)
	var followers []*follower
	for range rapid.IntRange(1, 40).Draw(t, "changes") {
		var ops []feedtest.Op
		for range rapid.IntRange(1, 4).Draw(t, "ops") {
			ops = append(ops, m.draw(t))
		}
		if rapid.IntRange(0, 9).Draw(t, "atomic") == 0 {
			ops = append(ops, feedtest.Atomic())
		}
		feedtest.AwaitHead(tb, f, feedtest.Write(tb, store, ops...))
		head := f.Head().Revision
		for _, x := range followers {
			maps.Copy(x.seen, m.members(x.class.Scope()))
			if rapid.Bool().Draw(t, "behind") {
				continue
			}
			follow(tb, x, head)
			x.check(tb, f, m)
		}
		if s := scopes(); len(followers) < 2*len(s) && rapid.Bool().Draw(t, "join") {
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
	checkRestart(t, tb, store, followers, m)
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
func checkRestart(t *rapid.T, tb feedtest.TB, store catalog.Store, followers []*follower, m *model) {
	if len(followers) == 0 {
		return
	}
	before := feedtest.Start(tb, store)
	class, err := before.Class(followers[0].class.Scope())
	if err != nil {
		tb.Fatal(err)
	}
	node := take(tb, before, class)
	for range rapid.IntRange(1, 5).Draw(t, "missed") {
		feedtest.Write(tb, store, m.draw(t))
	}
	after := feedtest.Start(tb, store)
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
	rapid.Check(t, checkEquivalence)
}

// FuzzDeltaApply is the same property with the choices made by the fuzzer.
func FuzzDeltaApply(f *testing.F) {
	f.Add(bytes.Repeat([]byte{7, 1, 9, 200}, 64))
	f.Fuzz(rapid.MakeFuzz(checkEquivalence))
}
