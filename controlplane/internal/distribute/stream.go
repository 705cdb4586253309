// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	protocol     = 1                // of the stream; what Hello must say
	helloTimeout = 10 * time.Second // for the first message
	writeTimeout = 10 * time.Second // D-26
	silence      = 15 * time.Second // D-43
	maxTasks     = 16               // that wait for one node
)

var (
	errReplaced = errors.New("a newer stream of this node took its place")
	errSlow     = errors.New("the node did not read for 10 s")
	errSilent   = errors.New("the node was silent for 15 s")
	errNoHello  = errors.New("no Hello within 10 s")
	errLeft     = errors.New("the node was asked to leave")
)

// stream is one node's stream. Its two loops never wait for each other (D-26).
type stream struct {
	server *Server
	grpc   distributionv1.DistributionService_FollowServer
	id     string // region and name; see idOf
	node   ident.Workload
	class  *feed.Class
	ctx    context.Context //nolint:containedctx // the life of the stream: rooms that have no part in the call end it
	end    context.CancelCauseFunc

	hello   chan *distributionv1.Hello
	tasks   chan *distributionv1.Task
	shed    chan struct{} // closed when the node is to go to another control plane
	acks    chan struct{} // an ack came that the send loop waits for
	waits   atomic.Bool   // it waits for one
	acked   atomic.Uint64 // revision of the last ack in the stream's epoch
	leaving atomic.Bool   // it was asked to leave
	heard   atomic.Int64  // when the node was heard last, nanoseconds since opened
	since   time.Time     // opened

	// of the send loop
	epoch   string
	cursor  catalog.Revision   // up to which the node was told everything
	denied  catalog.Revision   // up to which denials were sent
	revoked revokedCursor      // up to which revocations were sent
	open    []catalog.Revision // states and deltas sent and not acknowledged
	told    time.Time          // when the cursor was last moved
	counted catalog.Revision   // what pace was last told that the node was sent
	packs   bool               // the node knows the dictionary
	again   *time.Timer        // when to look again without being told to
	slow    *time.Timer        // ends the stream when a write takes too long
	queues  bool               // it waits for a turn
	turn    *turn              // nil: it has none
}

// idOf returns what is unique about a workload. An authserver and a node may have the same name, and no region is "/".
func idOf(w ident.Workload) string {
	if w.Role == ident.RoleAuthserver {
		return "//authserver/" + w.Region + "/" + w.Name
	}
	return w.Region + "/" + w.Name
}

func newStream(s *Server, g distributionv1.DistributionService_FollowServer, w ident.Workload, class *feed.Class) *stream {
	ctx, end := context.WithCancelCause(g.Context())
	return &stream{
		server: s, grpc: g, id: idOf(w), node: w, class: class, ctx: ctx, end: end, since: time.Now(),
		hello: make(chan *distributionv1.Hello, 1), tasks: make(chan *distributionv1.Task, maxTasks), acks: make(chan struct{}, 1),
		shed: make(chan struct{}),
	}
}

// receive reads until the stream ends. It never waits for the send loop.
func (st *stream) receive() {
	first := true
	for {
		m, err := st.grpc.Recv()
		if err == nil {
			err = validate(m)
		}
		if err == nil {
			st.heard.Store(int64(time.Since(st.since)))
			err = st.take(m, first)
		}
		if err != nil {
			st.end(err)
			return
		}
		first = false
	}
}

func (st *stream) take(m *distributionv1.FollowRequest, first bool) error {
	switch {
	case first && m.GetHello() == nil:
		return status.Error(codes.InvalidArgument, "the first message must be Hello")
	case !first && m.GetHello() != nil:
		return status.Error(codes.InvalidArgument, "Hello is the first message only")
	case first && m.GetHello().GetProtocol() != protocol:
		return status.Errorf(codes.FailedPrecondition, "protocol %d is not spoken here, only %d: update the older side",
			m.GetHello().GetProtocol(), protocol)
	case first:
		// Before anything else is read: an Ack may be right behind.
		if old := st.server.ledger.join(st, m.GetHello(), st.server.now()); old != nil {
			old.end(errReplaced)
		}
		st.hello <- m.GetHello() // has room for one
	case m.GetAck() != nil:
		st.server.ledger.ack(st, m.GetAck())
		if m.GetAck().GetEpoch() == st.server.feed.Head().Epoch {
			st.acked.Store(m.GetAck().GetRevision())
		}
		if st.waits.Swap(false) {
			select {
			case st.acks <- struct{}{}:
			default: // one is waiting
			}
		}
	default:
		st.server.rejected(st, m.GetReject())
	}
	return nil
}

// silentFor returns how long the node was not heard.
func (st *stream) silentFor() time.Duration {
	return time.Since(st.since) - time.Duration(st.heard.Load())
}

// task queues a task; false if the stream has ended or too many wait.
func (st *stream) task(t *distributionv1.Task) bool {
	if st.ctx.Err() != nil {
		return false
	}
	select {
	case st.tasks <- t:
		return true
	default:
		return false
	}
}

// write sends one message, with a deadline: a node that does not read loses its stream, not our memory. Ending the
// stream makes Follow return, and that frees a Send that hangs.
func (st *stream) write(lane string, m any, size int) error {
	st.slow.Reset(writeTimeout)
	defer st.slow.Stop()
	if err := st.grpc.SendMsg(m); err != nil {
		return err
	}
	st.server.metrics.sent(st.ctx, lane, size)
	return nil
}

func (st *stream) writeFrame(lane string, f []byte) error { return st.write(lane, frame(f), len(f)) }
