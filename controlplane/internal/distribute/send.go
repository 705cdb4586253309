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
	"github.com/penstockhq/penstock/sdk/node/pack"
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
	minWait    = 500 * time.Millisecond // D-42: a node that is one snapshot too many waits at least this long
)

// send is the send loop: it brings the node from what it has to what there is, until the stream ends.
func (st *stream) send() {
	st.slow = time.AfterFunc(time.Hour, func() { st.end(errSlow) })
	st.slow.Stop()
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
	st.packs = hello.GetDictionary() >= pack.Dictionary
	st.again = time.NewTimer(time.Hour)
	defer st.again.Stop()
	defer st.endTurn()
	st.server.pace.join()
	defer st.server.pace.leave()
	if err := st.resume(hello); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	old := time.NewTimer(st.server.age())
	defer old.Stop()
	for beats := 1; ; {
		// Taken before looking, so that no change falls between.
		epoch, released, changed := st.server.pace.now()
		revoked, rolled := st.server.revoked.changed(), st.server.rollout.changed()
		if err := st.catchUp(epoch, released); err != nil {
			return err
		}
		select {
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-st.server.draining:
			return st.leave(jitter(st.server.spread()))
		case <-st.shed:
			return st.leave(jitter(st.server.shedEvery))
		case <-old.C:
			return st.leave(jitter(leaveSpread))
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
		case st.queue() <- struct{}{}:
			st.queues, st.turn = false, st.server.turns.begin()
		case <-st.acks:
		case <-st.again.C:
		case <-changed:
		case <-revoked:
		case <-rolled:
		}
	}
}

// resume decides where the node continues (D-20): from its cursor, or with a snapshot. What was revoked meanwhile goes
// first in every case (D-32).
func (st *stream) resume(hello *distributionv1.Hello) error {
	st.revoked = revokedCursor{epoch: hello.GetRevocationEpoch(), seq: hello.GetRevocationSeq()}
	if err := st.revocations(); err != nil {
		return err
	}
	head := st.server.feed.Head()
	st.epoch = head.Epoch
	rev := catalog.Revision(hello.GetRevision())
	if hello.GetEpoch() != head.Epoch || rev == 0 {
		st.denied = head.Revision // what the node has not, cannot be taken away
		reason := reasonEmpty
		if hello.GetEpoch() != "" {
			reason = reasonEpoch
		}
		if wait := st.server.hellos.take(time.Now()); wait > 0 {
			return st.leave(wait)
		}
		return st.snapshot(reason, true)
	}
	if seen := max(rev, catalog.Revision(hello.GetDenyRevision())); seen > head.Revision {
		// Revisions, perhaps denials, that this control plane does not know (D-72): it lags, or they were lost.
		st.server.feed.Witness(st.ctx, "node "+st.node.Name, catalog.Head{Epoch: head.Epoch, Revision: seen})
		st.server.log.WarnContext(st.ctx, "node knows revisions that this control plane does not", obs.AttrNode, st.node.Name,
			obs.AttrRevision, uint64(seen), "head", uint64(head.Revision))
		return status.Errorf(codes.Unavailable, "this control plane is at revision %d, before the node's %d", head.Revision, seen)
	}
	st.denied = max(catalog.Revision(hello.GetDenyRevision()), rev)
	if err := st.denials(); err != nil {
		return err
	}
	if wait := st.server.hellos.take(time.Now()); wait > 0 {
		return st.leave(wait)
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

// catchUp sends what the node lacks and may get now: the fast lane first, then one merged delta up to what is released.
func (st *stream) catchUp(epoch string, released catalog.Revision) error {
	if err := st.fastLane(); err != nil {
		return err
	}
	if epoch != st.epoch {
		return status.Error(codes.OutOfRange, "the revision log has a new epoch: say Hello again")
	}
	if !st.ready() {
		return nil // an ack wakes this loop, or its turn
	}
	// What holds this stream back wakes the loop when that changes.
	target := st.server.limit(st.id, released)
	if target <= st.cursor {
		st.endTurn()
		st.took(released)
		return nil
	}
	d, err := st.delta(target)
	if err != nil || len(d.Frames) == 0 {
		st.endTurn() // it is for a large delta
	}
	switch {
	case feed.NeedsSnapshot(err):
		return st.snapshot(reasonBehind, false)
	case err != nil:
		st.server.log.WarnContext(st.ctx, "delta cannot be made now", obs.AttrNode, st.node.Name, obs.AttrError, err)
		st.again.Reset(retryDelta)
		return nil
	case len(d.Frames) == 0:
		st.took(released)
		return st.advance(d.To)
	}
	frames := d.Frames
	if st.packs {
		frames = d.Packed
	}
	if sizeOf(frames) > bulk && st.turn == nil {
		st.queues = true
		return nil
	}
	for _, f := range frames {
		if err := st.writeFrame(laneDelta, f); err != nil {
			return err
		}
		// The fast lane does not wait for the rest of a large delta.
		if err := st.fastLane(); err != nil {
			return err
		}
	}
	st.moved(d.To)
	if st.turn != nil {
		st.turn.used = true
	}
	if d.To < target {
		st.again.Reset(0) // an atomic change ended it: the rest follows
	} else {
		st.took(released)
	}
	return nil
}

// took notes that the node was sent all that it is to get of what is released.
func (st *stream) took(released catalog.Revision) {
	if st.counted < released {
		st.counted = released
		st.server.pace.took(released)
	}
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

// ready reports whether the node may get a delta now.
func (st *stream) ready() bool {
	if st.queues {
		return false
	}
	if st.settle(); st.mayGetMore() {
		return true
	}
	st.waits.Store(true)
	st.settle() // the ack may have come just now
	return st.mayGetMore()
}

// mayGetMore reports whether so little is under way to the node that more may be sent: after a large delta, nothing.
func (st *stream) mayGetMore() bool {
	return len(st.open) < maxOpen && (st.turn == nil || !st.turn.used)
}

// settle forgets what the node acknowledged. Its turn is over when that is all.
func (st *stream) settle() {
	acked := catalog.Revision(st.acked.Load())
	for len(st.open) > 0 && st.open[0] <= acked {
		st.open = st.open[1:]
	}
	if len(st.open) == 0 && st.turn != nil && st.turn.used {
		st.endTurn()
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

// fastLane sends what goes ahead of everything else: denials and revocations.
func (st *stream) fastLane() error {
	if err := st.denials(); err != nil {
		return err
	}
	return st.revocations()
}

// revocations sends the revoked tokens that the node does not know yet. They have nothing to do with revisions.
func (st *stream) revocations() error {
	frames, next := st.server.revoked.after(st.revoked)
	for _, f := range frames {
		if err := st.write(laneRevocations, f, len(f)); err != nil {
			return err
		}
	}
	st.revoked = next
	return nil
}

// snapshot sends the full state. Blank is a node that enforces nothing of this lineage: denials that the snapshot
// contains are none of its business.
func (st *stream) snapshot(reason string, blank bool) error {
	switch ok, err := st.slot(blank); {
	case err != nil:
		return err
	case !ok:
		return st.leave(st.server.crowd.wait(time.Now())) // D-42: a wait, not a queue
	}
	began := time.Now()
	defer func() {
		<-st.server.snapshots
		st.server.crowd.sent(time.Since(began))
	}()
	snap := st.full()
	if snap.Epoch != st.epoch {
		return status.Error(codes.OutOfRange, "the revision log has a new epoch: say Hello again")
	}
	if blank {
		st.denied = snap.Revision
	}
	st.server.metrics.snapshot(st.ctx, reason)
	st.server.log.InfoContext(st.ctx, "snapshot", obs.AttrNode, st.node.Name, obs.AttrReason, reason,
		obs.AttrRevision, uint64(snap.Revision), obs.AttrCount, snap.Len())
	frames := snap.Frames()
	if st.packs {
		frames = snap.Packed()
	}
	for f := range frames {
		if err := st.writeFrame(laneSnapshot, f); err != nil {
			return err
		}
		if err := st.fastLane(); err != nil {
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

// leave asks the node to leave after a time, and ends the stream if it does not. The fast lane still goes meanwhile.
func (st *stream) leave(after time.Duration) error {
	st.leaving.Store(true)
	m := &distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Drain{
		Drain: &distributionv1.Drain{AfterMs: uint32(after.Milliseconds()), Endpoints: st.server.endpoints()},
	}}
	if err := st.write(laneTasks, m, proto.Size(m)); err != nil {
		return err
	}
	over := time.NewTimer(after + leaveGrace)
	defer over.Stop()
	for {
		changed, revoked := st.server.feed.Changed(), st.server.revoked.changed()
		if err := st.fastLane(); err != nil {
			return err
		}
		select {
		case <-st.ctx.Done():
			return context.Cause(st.ctx)
		case <-over.C:
			return errLeft
		case <-changed:
		case <-revoked:
		}
	}
}
