// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

var (
	errSilent  = errors.New("the control plane was silent for 15 s")
	errDrained = errors.New("the control plane asked to leave")
)

// protocol is the version of the stream's protocol that this client speaks.
const protocol = 1

// queued is how many received messages may wait for the apply loop. Only a snapshot can fill it: then the stream itself
// waits, and the control plane with it.
const queued = 64

// item is one received message in order, with its size on the wire.
type item struct {
	msg  replica.Message
	size int
}

// stream is one Follow call. Three loops work on it: receive, apply, send. Receiving never waits for sending, and
// denials never wait for applying (D-26, D-30).
type stream struct {
	c        *Client
	endpoint string
	conn     *grpc.ClientConn
	rpc      grpc.ClientStream
	cancel   context.CancelCauseFunc
	silent   *time.Timer

	work chan item
	wake chan struct{} // something is to be sent

	mu      sync.Mutex
	heard   bool
	drain   *distributionv1.Drain
	leave   *time.Timer
	rejects []Reject // to be sent

	// of the apply loop
	builder *replica.Builder
	begin   *distributionv1.SnapshotBegin
	added   uint64
	pending replica.Pending
}

func newStream(c *Client, endpoint string) *stream {
	return &stream{c: c, endpoint: endpoint, work: make(chan item, queued), wake: make(chan struct{}, 1)}
}

// run follows until something ends the stream, and says what. It returns after all its loops.
func (s *stream) run(ctx context.Context) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.cancel = cancel
	s.silent = time.AfterFunc(silence, func() { cancel(errSilent) })
	defer s.silent.Stop()
	defer s.stopLeaving()

	if err := s.open(inner); err != nil {
		return fmt.Errorf("open stream: %w", errors.Join(err, context.Cause(inner)))
	}
	defer s.close()
	var wg sync.WaitGroup
	// What is being enforced goes on when the stream breaks, hence the outer context.
	for _, loop := range []func(inner, outer context.Context) error{s.receive, s.apply, s.send} {
		wg.Go(func() {
			if err := loop(inner, ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(inner)
}

// What a control plane may send before the node has read it: enough for a snapshot over a long way, 10 MB/s at 100 ms.
const (
	streamWindow = 1 << 20
	connWindow   = 4 << 20
)

// open dials and says Hello.
func (s *stream) open(ctx context.Context) error {
	opts := append([]grpc.DialOption{
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 10 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		// Windows that do not grow: to find out by how much they could, the library sends a ping with every answer.
		grpc.WithStaticStreamWindowSize(streamWindow), grpc.WithStaticConnWindowSize(connWindow),
	}, s.c.cfg.DialOptions...)
	conn, err := grpc.NewClient(s.endpoint, opts...)
	if err != nil {
		return err
	}
	desc := &distributionv1.DistributionService_ServiceDesc.Streams[0]
	rpc, err := conn.NewStream(ctx, desc, distributionv1.DistributionService_Follow_FullMethodName, grpc.ForceCodecV2(newRawCodec()))
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := rpc.SendMsg(&distributionv1.FollowRequest{Kind: &distributionv1.FollowRequest_Hello{Hello: s.c.hello()}}); err != nil {
		return errors.Join(err, conn.Close())
	}
	s.conn, s.rpc = conn, rpc
	s.rejects = s.c.rejected()
	return nil
}

func (s *stream) close() {
	s.c.link.set(nil)
	s.c.mu.Lock()
	s.c.status.Connected, s.c.status.Endpoint = false, ""
	s.c.mu.Unlock()
	_ = s.conn.Close() // what ended the stream is already known
}

// receive reads until the stream ends. Denials, revocations, tasks and signs of life are handled here, everything else in order by
// the apply loop.
func (s *stream) receive(ctx, outer context.Context) error {
	for {
		var m encoded
		if err := s.rpc.RecvMsg(&m); err != nil {
			return err
		}
		plain, err := s.c.unpacker.Message(m.b)
		if err != nil {
			return err
		}
		msg, err := replica.ParseMessage(plain)
		if err != nil {
			return err
		}
		s.alive()
		if m := msg.Other.GetRevocations(); m != nil {
			if err := s.c.revocations(outer, m); err != nil {
				return err
			}
			s.poke()
			continue
		}
		if msg.Other != nil && s.handle(outer, msg.Other) {
			continue
		}
		// A full queue is this node's slowness, not the control plane's silence.
		s.silent.Stop()
		select {
		case s.work <- item{msg: msg, size: len(m.b)}:
		case <-ctx.Done():
			return nil
		}
		s.silent.Reset(silence)
	}
}

// alive notes a sign of life.
func (s *stream) alive() {
	s.silent.Reset(silence)
	s.mu.Lock()
	first := !s.heard
	s.heard = true
	s.mu.Unlock()
	s.c.mu.Lock()
	s.c.status.LastHeartbeat = time.Now()
	s.c.status.Connected, s.c.status.Endpoint = true, s.endpoint
	s.c.mu.Unlock()
	if first {
		s.c.link.set(s.conn)
		s.c.cfg.Log.Info("control plane followed", "address", s.endpoint)
	}
}

// handle does what waits for nothing; it reports whether the message needs no further handling.
func (s *stream) handle(ctx context.Context, m *distributionv1.FollowResponse) bool {
	switch {
	case m.GetDeny() != nil:
		s.c.deny(ctx, m.GetDeny())
		s.poke()
		return true
	case m.GetTask() != nil:
		s.c.startTask(ctx, m.GetTask())
		return true
	case m.GetDrain() != nil:
		s.startLeaving(m.GetDrain())
		return true
	case m.GetSnapshotBegin() != nil:
		s.c.tagDenials(m.GetSnapshotBegin().GetEpoch())
		return false
	case m.GetHeartbeat() != nil:
		s.c.compareClocks(m.GetHeartbeat())
		return false
	default:
		return m.GetSnapshotEnd() == nil // a kind that this build does not know is ignored
	}
}

// startLeaving ends the stream after the time the control plane named (D-41).
func (s *stream) startLeaving(d *distributionv1.Drain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drain != nil {
		return
	}
	s.drain = d
	s.leave = time.AfterFunc(time.Duration(d.GetAfterMs())*time.Millisecond, func() { s.cancel(errDrained) })
}

func (s *stream) stopLeaving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leave != nil {
		s.leave.Stop()
	}
}

func (s *stream) drained() *distributionv1.Drain {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drain
}

// useful reports whether the control plane said anything.
func (s *stream) useful() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

func (s *stream) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // one is waiting
	}
}

// send acknowledges what is enforced, at once and at least every 5 s: that is the node's sign of life.
func (s *stream) send(ctx, _ context.Context) error {
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	s.poke()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
		if err := s.sendRejects(); err != nil {
			return sendError(err)
		}
		if err := s.rpc.SendMsg(&distributionv1.FollowRequest{Kind: &distributionv1.FollowRequest_Ack{Ack: s.c.ack()}}); err != nil {
			return sendError(err)
		}
	}
}

// maxRejects is the most items of one Reject message.
const maxRejects = 1000

func (s *stream) sendRejects() error {
	s.mu.Lock()
	list := s.rejects
	s.rejects = nil
	s.mu.Unlock()
	for len(list) > 0 {
		n := min(len(list), maxRejects)
		items := make([]*distributionv1.RejectItem, n)
		for i, r := range list[:n] {
			items[i] = &distributionv1.RejectItem{
				Kind: r.Key.Kind, Name: r.Key.Name, Version: r.Version, Reason: cut(r.Reason, 128), Detail: cut(r.Detail, 2048),
			}
		}
		list = list[n:]
		m := &distributionv1.Reject{Revision: s.c.Status().Revision, Items: items}
		if err := s.rpc.SendMsg(&distributionv1.FollowRequest{Kind: &distributionv1.FollowRequest_Reject{Reject: m}}); err != nil {
			return err
		}
	}
	return nil
}

// cut shortens a text to what the protocol takes.
func cut(text string, limit int) string {
	for i := range text {
		if i > limit-4 { // a rune has at most four bytes
			return text[:i]
		}
	}
	return text
}

// sendError hides the io.EOF of a broken stream: the receive loop learns the reason.
func sendError(err error) error {
	if isEOF(err) {
		return nil
	}
	return err
}
