// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	rolloutPoll  = 250 * time.Millisecond
	stageTimeout = time.Minute
	// settleTime is how long all nodes of a stage must have enforced it: a node's reject may come right after its ack.
	settleTime = 250 * time.Millisecond
	tenth      = 10
	leastTenth = 2
)

// Rollouts keeps the staged rollout. catalog.Store implements it.
type Rollouts interface {
	Rollout(ctx context.Context) (record.Rollout, error)
	Advance(ctx context.Context, next record.Rollout) (bool, error)
}

// rollout is the staged rollout as this control plane knows it. All control planes of a deployment read the same one and
// each may advance it; the store lets one of them.
type rollout struct {
	store   Rollouts // nil: there are none
	timeout time.Duration

	mu      sync.Mutex
	known   bool // it was read
	now     record.Rollout
	settled time.Time // since when all nodes of the stage enforce it; zero: they do not
	moved   chan struct{}
}

func newRollout(store Rollouts, timeout time.Duration) *rollout {
	if timeout == 0 {
		timeout = stageTimeout
	}
	return &rollout{store: store, timeout: timeout, known: store == nil, moved: make(chan struct{})}
}

func (r *rollout) changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moved
}

func (r *rollout) isReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

func (r *rollout) get() record.Rollout {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rollout) set(now record.Rollout) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known && r.now.Version == now.Version {
		return
	}
	r.known, r.now, r.settled = true, now, time.Time{}
	close(r.moved)
	r.moved = make(chan struct{})
}

// limit returns the latest revision that a follower may have. A change that the feed has and the rollout that was read has
// not heard of is held back until it is read again.
func (s *Server) limit(id string, head catalog.Revision) catalog.Revision {
	if s.rollout.store == nil {
		return head
	}
	now := s.rollout.get()
	limit := now.Limit(id, head)
	if staged := s.feed.Staged(); staged > now.Revision {
		limit = min(limit, staged-1)
	}
	return limit
}

// leap returns where a follower goes in one step that may not see what is between: from the last revision that all had over
// a rollout that was rolled back. 0 is nowhere.
func (s *Server) leap(cursor catalog.Revision) (to catalog.Revision) {
	now := s.rollout.get()
	if now.Stage == record.StageAll && now.Ended > now.Revision && cursor < now.Revision && cursor >= now.Base {
		return now.Ended
	}
	return 0
}

// hurdle returns the revision at which a follower has to stop before it leaps.
func (s *Server) hurdle(cursor, target catalog.Revision) catalog.Revision {
	now := s.rollout.get()
	if now.Stage == record.StageAll && now.Ended > now.Revision && cursor < now.Base {
		return min(target, now.Base)
	}
	return target
}

// delta returns the next delta of a stream on its way to a target.
func (st *stream) delta(target catalog.Revision) (*feed.Delta, error) {
	if to := st.server.leap(st.cursor); to != 0 && to <= target {
		return st.class.Leap(st.ctx, st.cursor, to)
	}
	return st.class.Delta(st.ctx, st.cursor, st.server.hurdle(st.cursor, target))
}

// full returns the state that a stream may have.
func (st *stream) full() *feed.Snapshot {
	head := st.server.feed.Head().Revision
	if limit := st.server.limit(st.id, head); limit < head {
		if snap := st.class.SnapshotAt(limit); snap != nil {
			return snap
		}
		st.server.log.ErrorContext(st.ctx, "a rollout has been stopped for so long that a new node gets what it holds back",
			obs.AttrNode, st.node.Name, obs.AttrRevision, uint64(limit))
	}
	return st.class.Snapshot()
}

// followRollout keeps the rollout up to date and takes its steps until ctx ends.
func (s *Server) followRollout(ctx context.Context) {
	if s.rollout.store == nil {
		return
	}
	tick := time.NewTicker(rolloutPoll)
	defer tick.Stop()
	for failing := false; ; {
		changed, moved := s.feed.Changed(), s.ledger.changed()
		now, err := s.rollout.store.Rollout(ctx)
		switch {
		case err == nil:
			s.rollout.set(now)
			err = s.advance(ctx, now)
		case ctx.Err() != nil:
			return
		}
		if err != nil && ctx.Err() == nil && !failing { // told once: it may last
			s.log.WarnContext(ctx, "staged rollout cannot be followed now", obs.AttrError, err)
		}
		failing = err != nil
		if !now.Running() {
			moved = nil // acks are of no interest
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-changed:
		case <-moved:
			if !pauseFor(ctx, 20*time.Millisecond) { // acks come in bunches
				return
			}
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// advance takes the next step of a rollout, if it is time. Of several control planes that see it is, one does.
func (s *Server) advance(ctx context.Context, now record.Rollout) error {
	if !now.Running() || now.Stage == record.StageStopped || s.feed.Head().Revision < now.Revision {
		return nil
	}
	next, ok := s.step(now)
	if !ok {
		return nil
	}
	next.Version = now.Version + 1
	done, err := s.rollout.store.Advance(ctx, next)
	if err != nil || !done {
		return err
	}
	s.rollout.set(next)
	level := s.log.InfoContext
	if next.Stage == record.StageStopped {
		level = s.log.ErrorContext
	}
	level(ctx, "staged rollout", obs.AttrRevision, uint64(next.Revision), "stage", string(next.Stage), obs.AttrReason, next.Reason, obs.AttrCount, len(next.Nodes))
	return nil
}

// standing is where a node is in a rollout.
type standing struct {
	id        string
	connected bool
	concerned bool
	enforces  bool
	reject    string
}

// standings returns the nodes, those that a rollout concerns first, else by name.
func (s *Server) standings(now record.Rollout) (list []standing) {
	head := s.feed.Head()
	l := s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, e := range l.entries {
		if e.node.Role != ident.RoleNode {
			continue
		}
		n := standing{id: id, connected: e.node.Connected, concerned: e.class != nil && e.class.Affects(now.Base, now.Revision)}
		n.enforces = n.connected && e.enforces(head, now.Revision, false)
		for k, r := range e.rejects {
			if r.Revision >= now.Revision && (e.class == nil || e.class.HoldsVersion(k, r.version)) {
				n.reject = fmt.Sprintf("node %s would not compile %s %s: %s", e.node.Name, k.Kind, k.Name, r.Reason)
			}
		}
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b standing) int {
		switch {
		case a.concerned != b.concerned && a.concerned:
			return -1
		case a.concerned != b.concerned:
			return 1
		case a.id < b.id:
			return -1
		default:
			return 1
		}
	})
	return list
}

// step returns the next state of a rollout; ok is false if it has to wait.
func (s *Server) step(now record.Rollout) (next record.Rollout, ok bool) {
	list := s.standings(now)
	next = now
	next.Since = s.now().UTC()
	if len(now.Nodes) == 0 { // the first node is not chosen yet
		next.Nodes = choose(list, nil, 1)
		return next, len(next.Nodes) > 0
	}
	waiting := ""
	for _, n := range list {
		if !slices.Contains(now.Nodes, n.id) {
			continue
		}
		if n.reject != "" {
			next.Stage, next.Reason = record.StageStopped, n.reject
			return next, true
		}
		if !n.enforces {
			waiting = n.id
		}
	}
	if waiting != "" {
		s.rollout.unsettle()
		next.Stage = record.StageStopped
		next.Reason = fmt.Sprintf("node %s did not enforce it within %v", waiting, s.rollout.timeout)
		return next, s.now().Sub(now.Since) >= s.rollout.timeout
	}
	if !s.rollout.settle(s.now()) {
		return next, false
	}
	connected := 0
	for _, n := range list {
		if n.connected {
			connected++
		}
	}
	if now.Stage == record.StageOne && connected > 1 {
		next.Stage = record.StageTenth
		next.Nodes = choose(list, now.Nodes, max(leastTenth, (connected+tenth-1)/tenth))
		return next, true
	}
	next.Stage, next.Nodes, next.Ended = record.StageAll, nil, now.Revision
	return next, true
}

// choose adds connected nodes until there are n.
func choose(list []standing, have []string, n int) []string {
	out := slices.Clone(have)
	for _, c := range list {
		if len(out) >= n {
			break
		}
		if c.connected && !slices.Contains(out, c.id) {
			out = append(out, c.id)
		}
	}
	slices.Sort(out)
	return out
}

func (r *rollout) unsettle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = time.Time{}
}

// settle reports whether all nodes of the stage have enforced it for a while.
func (r *rollout) settle(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.settled.IsZero() {
		r.settled = now
	}
	return now.Sub(r.settled) >= settleTime
}
