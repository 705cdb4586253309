// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Node is what the ledger knows of one node or authserver.
type Node struct {
	Name, Region string
	Role         ident.Role
	Connected    bool
	Replica      string // control plane that has its stream; empty while it has none
	Here         bool   // this one has it
	Build        string
	Capabilities []string         // what it can enforce, as it announced; nil while it was not connected yet
	Epoch        string           // of the two revisions
	Enforced     catalog.Revision // new calls are decided by it
	Idle         catalog.Revision // of a node elsewhere: up to here nothing else concerns it
	Denied       catalog.Revision // latest denial enforced
	Lag          time.Duration    // age of the oldest change in its scope that it does not enforce
	Revoked      uint64           // latest revocation enforced, in the present sequence
	Seen         time.Time        // last message
	Rejects      []Reject         // what it would not compile, by kind and name
}

// Reject is a resource that a node would not compile.
type Reject struct {
	Kind, Name     string
	Reason, Detail string
	Revision       catalog.Revision
}

// maxRejects is how many rejects of one node are kept; a node that has more has one problem, not many.
const maxRejects = 1000

// rejected is a reject with the version it is about: with a newer version it is history (D-38).
type rejected struct {
	Reject
	version []byte
}

// entry is one node of the ledger.
type entry struct {
	node    Node // without Lag and Rejects
	who     ident.Workload
	class   *feed.Class // nil while it is not known what concerns the node
	stream  *stream     // nil while it has none here
	since   time.Time   // when its connection began
	ours    bool        // it has or had a stream here: the other control planes are told of it
	at      uint64      // position of its last change
	rejects map[catalog.Key]rejected
	dirty   bool      // not noted yet
	noted   time.Time // Seen as it was noted last
}

// ledger is what all nodes enforce. Live acks stay in memory (D-51).
type ledger struct {
	mu      sync.Mutex
	entries map[string]*entry // by region and name
	replica string            // this control plane
	at      uint64            // number of changes
	moved   chan struct{}     // closed when an entry changes
}

func newLedger(replica string) *ledger {
	return &ledger{entries: make(map[string]*entry), replica: replica, moved: make(chan struct{})}
}

// signal wakes who waits. The caller holds mu.
func (l *ledger) signal() {
	close(l.moved)
	l.moved = make(chan struct{})
}

// touch notes that an entry changed. The caller holds mu and signals.
func (l *ledger) touch(e *entry) {
	l.at++
	e.at = l.at
}

func (l *ledger) changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.moved
}

// join makes a stream the one of its node and returns the stream it replaces, if any: the newest wins (D-40).
func (l *ledger) join(st *stream, hello *distributionv1.Hello, now time.Time) (old *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[st.id]
	if e == nil {
		e = &entry{}
		l.entries[st.id] = e
	}
	old = e.stream
	e.stream, e.class, e.dirty = st, st.class, true
	e.who, e.since, e.ours = st.node, now, true
	// What the node enforces is what it acks on this stream, not what it says it has. It also says anew what it rejects.
	e.node = Node{
		Name: st.node.Name, Region: st.node.Region, Role: st.node.Role, Connected: true, Replica: l.replica, Here: true, Build: hello.GetBuild(),
		Capabilities: slices.Clone(hello.GetCapabilities()), Seen: now,
	}
	e.rejects = make(map[catalog.Key]rejected)
	l.touch(e)
	l.signal()
	return old
}

// leave ends a node's connection, unless a newer stream has taken its place; it reports whether it did.
func (l *ledger) leave(st *stream) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[st.id]
	if e == nil || e.stream != st {
		return false
	}
	e.stream, e.dirty = nil, true
	e.node.Connected, e.node.Replica, e.node.Here = false, "", false
	l.touch(e)
	l.signal()
	return true
}

// of returns the entry of a stream, nil if another stream took its place. The caller holds mu.
func (l *ledger) of(st *stream) *entry {
	if e := l.entries[st.id]; e != nil && e.stream == st {
		return e
	}
	return nil
}

func (l *ledger) ack(st *stream, a *distributionv1.Ack) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(st)
	if e == nil {
		return
	}
	n := &e.node
	n.Seen = st.server.now()
	moved := n.Epoch != a.GetEpoch() || n.Enforced != catalog.Revision(a.GetRevision()) || n.Denied != catalog.Revision(a.GetDenyRevision())
	n.Epoch, n.Enforced, n.Denied = a.GetEpoch(), catalog.Revision(a.GetRevision()), catalog.Revision(a.GetDenyRevision())
	if n.Revoked != a.GetRevocationSeq() {
		n.Revoked, moved = a.GetRevocationSeq(), true
	}
	if moved {
		l.touch(e)
		l.signal()
	}
	e.dirty = e.dirty || moved || n.Seen.Sub(e.noted) >= seenEvery
}

// rejected takes what a node would not compile.
func (s *Server) rejected(st *stream, r *distributionv1.Reject) {
	for _, item := range r.GetItems() {
		s.log.WarnContext(st.ctx, "node would not compile a resource", obs.AttrNode, st.node.Name, "kind", item.GetKind(),
			obs.AttrReason, item.GetReason(), obs.AttrRevision, r.GetRevision())
	}
	s.metrics.rejects.Add(st.ctx, int64(len(r.GetItems())))
	s.ledger.reject(st, r)
}

func (l *ledger) reject(st *stream, r *distributionv1.Reject) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.of(st)
	if e == nil {
		return
	}
	e.node.Seen, e.dirty = st.server.now(), true
	for _, item := range r.GetItems() {
		k := catalog.Key{Kind: catalog.Kind(item.GetKind()), Name: item.GetName()}
		if _, known := e.rejects[k]; !known && len(e.rejects) >= maxRejects {
			break
		}
		e.rejects[k] = rejected{version: item.GetVersion(), Reject: Reject{
			Kind: item.GetKind(), Name: item.GetName(), Reason: item.GetReason(), Detail: item.GetDetail(),
			Revision: catalog.Revision(r.GetRevision()),
		}}
	}
	l.touch(e)
	l.signal()
}

// pick returns a connected node's stream that was not asked yet and may be, counted from first, nil if there is none.
// Those that hold the connection come first: others are refused its credential (D-85).
func (l *ledger) pick(first int, asked map[string]bool, w wish) *stream {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ids, holding []string
	for id, e := range l.entries {
		if e.stream != nil && e.node.Role == ident.RoleNode && !asked[id] && w.may(e) == able {
			ids = append(ids, id)
			if w.connection != "" && e.class != nil && e.class.Holds(catalog.Key{Kind: catalog.KindConnection, Name: w.connection}) {
				holding = append(holding, id)
			}
		}
	}
	if len(holding) > 0 {
		ids = holding
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	return l.entries[ids[first%len(ids)]].stream
}

// Nodes returns all nodes known, connected or not, by name and region.
func (s *Server) Nodes() []Node { return s.list(ident.RoleNode) }

// Authservers returns all authservers known, as Nodes does.
func (s *Server) Authservers() []Node { return s.list(ident.RoleAuthserver) }

func (s *Server) list(role ident.Role) []Node {
	now := s.now()
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Node, 0, len(l.entries))
	for _, e := range l.entries {
		if e.node.Role == role {
			list = append(list, e.show(now))
		}
	}
	slices.SortFunc(list, func(a, b Node) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Region, b.Region))
	})
	return list
}

// show returns the node with what is computed when somebody looks. The caller holds the ledger's mu.
func (e *entry) show(now time.Time) Node {
	n := e.node
	switch {
	case n.Connected && n.Enforced == 0:
		n.Lag = max(0, now.Sub(e.since)) // enforces nothing since it came
	case e.class != nil:
		if info, ok := e.class.FirstAfter(n.Enforced); ok {
			n.Lag = max(0, now.Sub(info.Time))
		}
	}
	for k, r := range e.rejects {
		if e.class == nil || e.class.HoldsVersion(k, r.version) {
			n.Rejects = append(n.Rejects, r.Reject)
		}
	}
	slices.SortFunc(n.Rejects, func(a, b Reject) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return n
}
