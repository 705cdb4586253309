// SPDX-License-Identifier: Apache-2.0

package scope

import (
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/node/digest"
)

// Scope is what a node or an authserver may hold. The zero value is all that a node can get.
type Scope struct {
	// Region restricts to gateways that list no region, or this one. Empty means all gateways.
	Region string
	// Authserver is the one scope of authservers (D-11): people, identity providers, OAuth clients, gateways without their
	// tools, the metadata of connections, which gateways use those (D-85), and the servers that people connect themselves, all
	// of them whatever their region.
	Authserver bool
}

// whole reports whether all resources of a kind are in the scope by themselves.
func (s Scope) whole(k catalog.Kind) bool {
	if !s.Authserver {
		return Everywhere(k)
	}
	switch k {
	case catalog.KindGateway, catalog.KindConnection:
		return true
	case catalog.KindBearerToken, catalog.KindPolicy, catalog.KindResultPolicy:
		return false
	default:
		return Everywhere(k)
	}
}

// needs returns what comes into the scope with a resource.
func (s Scope) needs(e *Entry) []catalog.Key {
	if s.Authserver {
		return nil
	}
	return e.needs
}

// bodies returns the bodies that come into the scope with a resource.
func (s Scope) bodies(e *Entry) []catalog.Hash {
	if s.Authserver {
		return nil
	}
	return e.Blobs
}

func (s Scope) covers(gateway *Entry) bool {
	return gateway != nil && (s.Region == "" || len(gateway.regions) == 0 || slices.Contains(gateway.regions, s.Region))
}

// Members is the membership index of a scope class: which resources are in it, by counting what refers to them (D-13).
// It is not safe for concurrent use.
type Members struct {
	scope Scope
	refs  map[catalog.Key]int // members that need a tool, server or connection
	blobs map[catalog.Hash]int
	sum   digest.Digest
	size  int
}

// NewMembers returns the index of an empty world.
func NewMembers(s Scope) *Members {
	return &Members{scope: s, refs: make(map[catalog.Key]int), blobs: make(map[catalog.Hash]int)}
}

// Touched records what one change does to a class: the state of everything it moves, as it was before.
type Touched struct {
	before map[catalog.Key]*Entry // nil: was not a member
	order  []catalog.Key
	held   map[catalog.Hash]bool // whether a body was needed before
	bodies []catalog.Hash
}

// NewTouched returns the record of a change that did nothing yet.
func NewTouched() *Touched {
	return &Touched{before: make(map[catalog.Key]*Entry), held: make(map[catalog.Hash]bool)}
}

func (t *Touched) note(k catalog.Key, before *Entry) {
	if t == nil {
		return
	}
	if _, ok := t.before[k]; !ok {
		t.before[k] = before
		t.order = append(t.order, k)
	}
}

func (t *Touched) noteBlob(h catalog.Hash, before bool) {
	if t == nil {
		return
	}
	if _, ok := t.held[h]; !ok {
		t.held[h] = before
		t.bodies = append(t.bodies, h)
	}
}

// Has reports whether a resource of the world is a member.
func (m *Members) Has(w *World, e *Entry) bool {
	switch {
	case e == nil:
		return false
	case m.scope.whole(e.Key.Kind):
		return true
	case m.scope.Authserver:
		return e.auth != nil
	case e.Key.Kind == catalog.KindGateway:
		return m.scope.covers(e)
	case e.Key.Kind == catalog.KindAssignment:
		return m.scope.covers(w.Entries[catalog.Key{Kind: catalog.KindGateway, Name: gatewayOf(e.Key)}])
	default:
		return m.refs[e.Key] > 0 || m.chosen(e)
	}
}

// chosen reports whether the entry is a connection of a server whose connections are all in the class, because calls choose
// among them (G-12).
func (m *Members) chosen(e *Entry) bool {
	return e.Key.Kind == catalog.KindConnection && m.refs[installedOf(e.server)] > 0
}

// Step follows one operation: the world already holds after, which replaced before.
func (m *Members) Step(w *World, before, after *Entry, t *Touched) {
	was, is := m.Has(w, before), m.Has(w, after)
	switch {
	case was && is:
		m.replace(w, before, after, t)
		return
	case was:
		m.leave(w, before, t)
	case is:
		m.enter(w, after, t)
	default:
		return
	}
	key := before
	if is {
		key = after
	}
	if key.Key.Kind != catalog.KindGateway || m.scope.Authserver {
		return
	}
	for _, a := range w.assigned[key.Key.Name] {
		if is {
			m.enter(w, a, t)
		} else {
			m.leave(w, a, t)
		}
	}
}

func (m *Members) enter(w *World, e *Entry, t *Touched) {
	t.note(e.Key, nil)
	m.sum.Add(string(e.Key.Kind), e.Key.Name, e.Version[:])
	m.size++
	m.take(w, e, t)
}

func (m *Members) leave(w *World, e *Entry, t *Touched) {
	t.note(e.Key, e)
	m.sum.Remove(string(e.Key.Kind), e.Key.Name, e.Version[:])
	m.size--
	m.drop(w, e, t)
}

// replace takes what the new form needs before it drops what the old one needed, so that nothing leaves and comes back.
func (m *Members) replace(w *World, before, after *Entry, t *Touched) {
	t.note(before.Key, before)
	m.sum.Remove(string(before.Key.Kind), before.Key.Name, before.Version[:])
	m.sum.Add(string(after.Key.Kind), after.Key.Name, after.Version[:])
	m.take(w, after, t)
	m.drop(w, before, t)
}

func (m *Members) take(w *World, e *Entry, t *Touched) {
	for _, h := range m.scope.bodies(e) {
		if m.blobs[h] == 0 {
			t.noteBlob(h, false)
		}
		m.blobs[h]++
	}
	for _, k := range m.scope.needs(e) {
		if m.refs[k]++; m.refs[k] > 1 {
			continue
		}
		if k.Kind == kindInstalled {
			for _, c := range w.installed[k.Name] {
				if m.refs[c.Key] == 0 {
					m.enter(w, c, t)
				}
			}
		} else if needed := w.Entries[k]; needed != nil && !m.chosen(needed) {
			m.enter(w, needed, t)
		}
	}
}

func (m *Members) drop(w *World, e *Entry, t *Touched) {
	for _, h := range m.scope.bodies(e) {
		if m.blobs[h]--; m.blobs[h] == 0 {
			delete(m.blobs, h)
			t.noteBlob(h, true)
		}
	}
	for _, k := range m.scope.needs(e) {
		if m.refs[k]--; m.refs[k] > 0 {
			continue
		}
		delete(m.refs, k)
		if k.Kind == kindInstalled {
			for _, c := range w.installed[k.Name] {
				if m.refs[c.Key] == 0 {
					m.leave(w, c, t)
				}
			}
		} else if needed := w.Entries[k]; needed != nil && !m.chosen(needed) {
			m.leave(w, needed, t)
		}
	}
}

// Fill makes the index of a world from nothing.
func (m *Members) Fill(w *World) {
	for k, e := range w.Entries {
		switch {
		case m.scope.whole(k.Kind), m.scope.Authserver && e.auth != nil:
			m.enter(w, e, nil)
		case m.scope.Authserver: // nothing else
		case k.Kind == catalog.KindGateway && m.scope.covers(e):
			m.enter(w, e, nil)
			for _, a := range w.assigned[k.Name] {
				m.enter(w, a, nil)
			}
		}
	}
}

// Moved is one resource's part of a change: what it was and what it is, nil for nothing or, in a class, for no member.
// Not both are nil.
type Moved struct {
	Before, After *Entry
}

// Key returns the key of the resource.
func (m Moved) Key() catalog.Key {
	if m.Before != nil {
		return m.Before.Key
	}
	return m.After.Key
}

// Equal reports whether nothing moved.
func (m Moved) Equal() bool {
	return m.Before == m.After || m.Before != nil && m.After != nil && m.Before.Version == m.After.Version
}

// Change is what one revision does to a class.
type Change struct {
	Moved   []Moved
	In      []catalog.Hash // bodies needed from here on
	Out     []catalog.Hash // bodies not needed any more
	Denials []catalog.Key  // what it takes away from the class
	Sum     digest.Digest  // of the class at this revision
}

// Close ends a change: it compares what was touched with what the world holds now. Denials are kept if the class had
// the resource or has it: others are none of its business (D-82).
func (m *Members) Close(w *World, t *Touched, denials []catalog.Key) Change {
	c := Change{Sum: m.sum}
	for _, k := range t.order {
		x := Moved{Before: t.before[k], After: w.Entries[k]}
		if !m.Has(w, x.After) {
			x.After = nil
		}
		if !x.Equal() {
			c.Moved = append(c.Moved, x)
		}
	}
	for _, h := range t.bodies {
		switch is := m.blobs[h] > 0; {
		case is && !t.held[h]:
			c.In = append(c.In, h)
		case !is && t.held[h]:
			c.Out = append(c.Out, h)
		}
	}
	for _, k := range denials {
		if k.Kind == catalog.KindTeamMember || t.before[k] != nil || m.Has(w, w.Entries[k]) {
			c.Denials = append(c.Denials, k)
		}
	}
	return c
}

// Sum returns the digest of all members.
func (m *Members) Sum() digest.Digest { return m.sum }

// Len returns the number of members.
func (m *Members) Len() int { return m.size }

// NeedsBlob reports whether a member needs a body.
func (m *Members) NeedsBlob(h catalog.Hash) bool { return m.blobs[h] > 0 }
