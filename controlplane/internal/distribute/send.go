// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	heartbeatEvery = 5 * time.Second
	digestEvery    = 15          // heartbeats
	advanceEvery   = time.Second // D-28
	// maxOpen is how many states and deltas may be under way to a node. More would be merged worse, fewer would leave
	// the node idle for a round trip.
	maxOpen    = 2
	retryDelta = 250 * time.Millisecond // after a body that could not be read
	leaveGrace = 500 * time.Millisecond // between the time a node is to leave and the end of its stream
	minWait    = 500 * time.Millisecond // D-42: a node that is one snapshot too many waits this long
	maxWait    = 2 * time.Second
)

// send is the send loop: it brings the node from what it has to what there is, until the stream ends.
func (st *stream) send() {
	late := time.NewTimer(helloTimeout)
	defer late.Stop()
	select {
	case <-st.ctx.Done():
		return
	case <-late.C:
		st.end(errNoHello)
		return
	case hello := <-st.hello:
		if err := st.follow(hello); err != nil {
			st.end(err)
		}
	}
}

func (st *stream) follow(hello *distributionv1.Hello) error {
	st.server.log.InfoContext(st.ctx, "node follows", obs.AttrNode, st.node.Name, obs.AttrRegion, st.node.Region,
		obs.AttrRevision, hello.GetRevision())
	st.again = time.NewTimer(time.Hour)
	defer st.again.Stop()
	if err := st.resume(hello); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	for beats := 1; ; {
		// Taken before looking, so that no change falls between.
		changed := st.server.feed.Changed()
		if err := st.catchUp(); err != nil {
			return err
		}
		select {
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-st.server.draining:
			return st.leave(jitter(st.server.window))
		case t := <-st.tasks:
			m := &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Task{Task: t}}
			if err := st.write(laneTasks, m, proto.Size(m)); err != nil {
				return err
			}
		case <-beat.C:
			if st.silentFor() > silence {
				return errSilent
			}
			if err := st.heartbeat(0, beats%digestEvery == 0); err != nil {
				return err
			}
			beats++
		case <-st.acks:
		case <-st.again.C:
		case <-changed:
		}
	}
}

// resume decides where the node continues (D-20): from its cursor, or with a snapshot.
func (st *stream) resume(hello *distributionv1.Hello) error {
	head := st.server.feed.Head()
	st.epoch = head.Epoch
	rev := catalog.Revision(hello.GetRevision())
	if hello.GetEpoch() != head.Epoch || rev == 0 {
		st.denied = head.Revision // what the node has not, cannot be taken away
		reason := reasonEmpty
		if hello.GetEpoch() != "" {
			reason = reasonEpoch
		}
		return st.snapshot(reason, true)
	}
	if rev > head.Revision {
		// Revisions, perhaps denials, that this control plane does not know (D-72): it lags, or they were lost.
		st.server.log.ErrorContext(st.ctx, "node knows revisions that this control plane does not", obs.AttrNode, st.node.Name,
			obs.AttrRevision, hello.GetRevision(), "head", uint64(head.Revision))
		return status.Errorf(codes.Unavailable, "this control plane is at revision %d, before the node's %d", head.Revision, rev)
	}
	st.denied = max(catalog.Revision(hello.GetDenyRevision()), rev)
	if err := st.denials(); err != nil {
		return err
	}
	if sum, known := st.class.Digest(rev); known && string(sum) != string(hello.GetDigest()) {
		st.server.metrics.drifted(st.ctx)
		st.server.log.ErrorContext(st.ctx, "state of a node differs, it gets a snapshot", obs.AttrNode, st.node.Name,
			obs.AttrRevision, hello.GetRevision())
		return st.snapshot(reasonDrift, false)
	}
	st.cursor = rev
	return st.heartbeat(0, false) // so that the node hears at once that it is followed
}

// catchUp sends what the node lacks and may get now: denials first, then one merged delta.
func (st *stream) catchUp() error {
	if err := st.denials(); err != nil {
		return err
	}
	head := st.server.feed.Head()
	if head.Epoch != st.epoch {
		return status.Error(codes.OutOfRange, "the revision log has a new epoch: say Hello again")
	}
	st.settle()
	if len(st.open) >= maxOpen {
		return nil // the next ack wakes this loop
	}
	target, wait := st.server.pace.next(head, st.server.feed.Prompt(), time.Now())
	if wait > 0 {
		st.again.Reset(wait)
	}
	if target <= st.cursor {
		return nil
	}
	d, err := st.class.Delta(st.ctx, st.cursor, target)
	switch {
	case feed.NeedsSnapshot(err):
		return st.snapshot(reasonBehind, false)
	case err != nil:
		st.server.log.WarnContext(st.ctx, "delta cannot be made now", obs.AttrNode, st.node.Name, obs.AttrError, err)
		st.again.Reset(retryDelta)
		return nil
	case len(d.Frames) == 0:
		return st.advance(d.To)
	}
	for _, f := range d.Frames {
		if err := st.writeFrame(laneDelta, f); err != nil {
			return err
		}
		// A denial does not wait for the rest of a large delta.
		if err := st.denials(); err != nil {
			return err
		}
	}
	st.moved(d.To)
	if d.To < target {
		st.again.Reset(0) // an atomic change ended it: the rest follows
	}
	return nil
}

// advance moves the cursor over changes outside the scope, at most once a second (D-28). Until then neither the node's
// cursor nor this one moves: they are equal whenever a delta begins.
func (st *stream) advance(to catalog.Revision) error {
	if wait := advanceEvery - time.Since(st.told); wait > 0 {
		st.again.Reset(wait)
		return nil
	}
	if err := st.heartbeat(to, false); err != nil {
		return err
	}
	st.cursor, st.told = to, time.Now()
	return nil
}

// moved notes that the node was sent everything up to a revision.
func (st *stream) moved(to catalog.Revision) {
	st.cursor, st.told = to, time.Now()
	st.open = append(st.open, to)
}

// settle forgets what the node acknowledged.
func (st *stream) settle() {
	acked := catalog.Revision(st.acked.Load())
	for len(st.open) > 0 && st.open[0] <= acked {
		st.open = st.open[1:]
	}
}

// denials sends the denials that the node does not have yet, ahead of everything else (D-30).
func (st *stream) denials() error {
	frames, head := st.class.Denials(st.denied)
	for _, f := range frames {
		if err := st.writeFrame(laneDenials, f); err != nil {
			return err
		}
	}
	st.denied = max(st.denied, head)
	return nil
}

// snapshot sends the full state. Blank is a node that enforces nothing of this lineage: denials that the snapshot
// contains are none of its business.
func (st *stream) snapshot(reason string, blank bool) error {
	select {
	case st.server.snapshots <- struct{}{}:
		defer func() { <-st.server.snapshots }()
	default:
		return st.leave(minWait + jitter(maxWait-minWait)) // D-42: a wait, not a queue
	}
	snap := st.class.Snapshot()
	if snap.Epoch != st.epoch {
		return status.Error(codes.OutOfRange, "the revision log has a new epoch: say Hello again")
	}
	if blank {
		st.denied = snap.Revision
	}
	st.server.metrics.snapshot(st.ctx, reason)
	st.server.log.InfoContext(st.ctx, "snapshot", obs.AttrNode, st.node.Name, obs.AttrReason, reason,
		obs.AttrRevision, uint64(snap.Revision), obs.AttrCount, snap.Len())
	for f := range snap.Frames() {
		if err := st.writeFrame(laneSnapshot, f); err != nil {
			return err
		}
		if err := st.denials(); err != nil {
			return err
		}
	}
	st.open = nil
	st.moved(snap.Revision)
	return nil
}

// heartbeat is a sign of life. advance is the revision the node moves its cursor to, 0 for none.
func (st *stream) heartbeat(advance catalog.Revision, withDigest bool) error {
	head := st.server.feed.Head()
	m := &distributionv1.Heartbeat{
		Head: uint64(head.Revision), AdvanceTo: uint64(advance), Now: timestamppb.New(st.server.now()), Epoch: st.epoch,
	}
	if withDigest {
		m.Digest, _ = st.class.Digest(max(st.cursor, advance))
	}
	r := &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: m}}
	return st.write(laneHeartbeat, r, proto.Size(r))
}

// leave asks the node to leave after a time, and ends the stream if it does not. Denials still go meanwhile.
func (st *stream) leave(after time.Duration) error {
	m := &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Drain{
		Drain: &distributionv1.Drain{AfterMs: uint32(after.Milliseconds())},
	}}
	if err := st.write(laneTasks, m, proto.Size(m)); err != nil {
		return err
	}
	over := time.NewTimer(after + leaveGrace)
	defer over.Stop()
	for {
		changed := st.server.feed.Changed()
		if err := st.denials(); err != nil {
			return err
		}
		select {
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-over.C:
			return errLeft
		case <-changed:
		}
	}
}
