// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Others are the other control planes of the deployment.
type Others interface {
	// Sync returns when [Server.Merge] was told everything that was so at the others when it was called, or when ctx ends
	// or they do not answer. It names those that are missing.
	Sync(ctx context.Context) (silent []string)
	// Silent names those whose followers are not known now.
	Silent() []string
	// Endpoints returns where nodes reach the others that take nodes, host:port, those that should get the next one first.
	Endpoints() []string
	// Surplus returns how many nodes here are too many, because the others have far fewer.
	Surplus() int
}

// alone is a control plane without others.
type alone struct{}

// Sync implements Others.
func (alone) Sync(context.Context) []string { return nil }

// Silent implements Others.
func (alone) Silent() []string { return nil }

// Endpoints implements Others.
func (alone) Endpoints() []string { return nil }

// Surplus implements Others.
func (alone) Surplus() int { return 0 }

// Followers returns the followers that have or had a stream here and changed after a position, all of them after 0, with
// the position that this is up to and a channel that is closed when there is more.
func (s *Server) Followers(after uint64) (list []*replicav1.Follower, position uint64, changed <-chan struct{}) {
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	head := s.feed.Head()
	for _, e := range l.entries {
		// A node in this process, which has no region, is nobody else's business.
		if e.ours && e.at > after && (e.who.Region != "" || e.who.Role != ident.RoleNode) {
			list = append(list, e.follower(head.Revision))
		}
	}
	return list, l.at, l.moved
}

// follower says what another control plane needs to know. The caller holds the ledger's mu.
func (e *entry) follower(head catalog.Revision) *replicav1.Follower {
	n := &e.node
	f := &replicav1.Follower{
		SpiffeId: e.who.URI(), Connected: e.stream != nil, Build: n.Build, Capabilities: n.Capabilities, Epoch: n.Epoch,
		Revision: uint64(n.Enforced), DenyRevision: uint64(n.Denied), SeenTime: timestamppb.New(n.Seen), ConnectTime: timestamppb.New(e.since),
	}
	if e.class != nil && n.Enforced > 0 {
		f.IdleRevision = uint64(head)
		if next, ok := e.class.FirstAfter(n.Enforced); ok {
			f.IdleRevision = uint64(next.Revision - 1)
		}
	}
	for k, r := range e.rejects {
		f.Rejects = append(f.Rejects, &distributionv1.RejectItem{
			Kind: string(k.Kind), Name: k.Name, Version: r.version, Reason: r.Reason, Detail: r.Detail,
		})
		f.RejectRevisions = append(f.RejectRevisions, uint64(r.Revision))
	}
	return f
}

// Merge takes what another control plane tells of its followers; with whole, others that it told before have left. A
// workload counts once: of two streams the newer one is its stream, and if the older one is here it ends (D-40).
func (s *Server) Merge(replica string, followers []*replicav1.Follower, whole bool) {
	type known struct {
		who   ident.Workload
		class *feed.Class
	}
	list := make([]known, len(followers))
	for i, f := range followers {
		w, err := ident.ParseSPIFFE(f.GetSpiffeId())
		if err != nil {
			s.log.Error("another control plane tells of a follower that cannot be", obs.AttrError, err)
			continue
		}
		list[i].who = w
		if list[i].class, err = s.feed.Class(scopeOf(w)); err != nil {
			s.log.Debug("scope of a follower elsewhere is not known", obs.AttrNode, w.Name, obs.AttrError, err)
		}
	}
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	told := make(map[string]bool, len(followers))
	for i, k := range list {
		if k.who.Name == "" {
			continue
		}
		id := idOf(k.who)
		told[id] = true
		if old := l.merge(id, k.who, replica, followers[i]); old != nil {
			old.end(errReplaced)
		}
		if e := l.entries[id]; e.class == nil {
			e.class = k.class
		}
	}
	if whole {
		l.forget(replica, told)
	}
	l.signal()
}

// Forget takes the followers of a control plane that is gone for disconnected.
func (s *Server) Forget(replica string) {
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(replica, nil)
	l.signal()
}

// forget disconnects who is at another control plane and was not told of. The caller holds mu.
func (l *ledger) forget(replica string, told map[string]bool) {
	for id, e := range l.entries {
		if e.stream == nil && e.node.Replica == replica && !told[id] {
			e.node.Connected, e.node.Replica = false, ""
		}
	}
}

// merge takes one follower of another control plane and returns the stream here that it replaces, if any. The caller
// holds mu.
func (l *ledger) merge(id string, w ident.Workload, replica string, f *replicav1.Follower) (old *stream) {
	e := l.entries[id]
	if e == nil {
		e = &entry{}
		l.entries[id] = e
	}
	since := f.GetConnectTime().AsTime()
	switch {
	case !f.GetConnected() && e.node.Replica != replica && (e.node.Connected || !since.After(e.since)):
		return nil // it left there, and is elsewhere or nothing new is said
	case f.GetConnected() && e.node.Connected && e.node.Replica != replica && !newer(since, replica, e):
		return nil // the stream there is the older one, and ends when that control plane hears of this one
	}
	if e.stream != nil {
		old, e.stream, e.dirty = e.stream, nil, false
		l.touch(e)
	}
	e.who, e.since = w, since
	e.node = Node{
		Name: w.Name, Region: w.Region, Role: w.Role, Connected: f.GetConnected(), Build: f.GetBuild(), Capabilities: f.GetCapabilities(),
		Epoch: f.GetEpoch(), Enforced: catalog.Revision(f.GetRevision()), Denied: catalog.Revision(f.GetDenyRevision()),
		Idle: catalog.Revision(f.GetIdleRevision()), Seen: f.GetSeenTime().AsTime(),
	}
	if e.node.Connected {
		e.node.Replica = replica
	}
	e.rejects = make(map[catalog.Key]rejected, len(f.GetRejects()))
	for i, item := range f.GetRejects() {
		var rev catalog.Revision
		if i < len(f.GetRejectRevisions()) {
			rev = catalog.Revision(f.GetRejectRevisions()[i])
		}
		e.rejects[catalog.Key{Kind: catalog.Kind(item.GetKind()), Name: item.GetName()}] = rejected{version: item.GetVersion(), Reject: Reject{
			Kind: item.GetKind(), Name: item.GetName(), Reason: item.GetReason(), Detail: item.GetDetail(), Revision: rev,
		}}
	}
	return old
}

// newer reports whether a connection that began elsewhere is newer than that of an entry. Of two that began at one moment
// all control planes choose the same.
func newer(since time.Time, replica string, e *entry) bool {
	return since.After(e.since) || since.Equal(e.since) && replica > e.node.Replica
}

// Streams returns how many followers have a stream here, and how many of those were not asked to leave.
func (s *Server) Streams() (all, staying int) {
	s.ledger.mu.Lock()
	defer s.ledger.mu.Unlock()
	for _, e := range s.ledger.entries {
		if e.stream == nil {
			continue
		}
		all++
		if !e.stream.leaving.Load() {
			staying++
		}
	}
	return all, staying
}
