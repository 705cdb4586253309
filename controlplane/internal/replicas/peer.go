// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	redialFirst = 100 * time.Millisecond
	redialMost  = 2 * time.Second
	maxMessage  = 64 << 20 // all followers at once
)

// errOther is an address at which another process answers than the one that wrote the row.
var errOther = errors.New("another control plane answers at this address")

// peer is another control plane.
type peer struct {
	r      *Replicas
	row    Row
	conn   *grpc.ClientConn
	client replicav1.ReplicaServiceClient
	end    context.CancelFunc

	mu       sync.Mutex
	known    bool   // its followers are known as they are now
	position uint64 // up to which they are
	staying  int    // its followers that were not asked to leave
	draining bool
	moved    chan struct{} // closed when one of those changes
}

// newPeer makes a peer. It dials nothing yet.
func newPeer(r *Replicas, row Row) (*peer, error) {
	conn, err := grpc.NewClient("passthrough:///"+row.Address, grpc.WithTransportCredentials(r.c.Credentials),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: redialFirst, Multiplier: 2, Jitter: 0.5, MaxDelay: redialMost},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)), grpc.WithDisableServiceConfig())
	if err != nil {
		return nil, err
	}
	return &peer{r: r, row: row, conn: conn, client: replicav1.NewReplicaServiceClient(conn), staying: row.Streams, moved: make(chan struct{})}, nil
}

// current reports whether its followers are known as they are now.
func (p *peer) current() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known
}

// set changes what is known of the peer and wakes who waits for it.
func (p *peer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.moved)
	p.moved = make(chan struct{})
}

// run follows the followers of the peer until ctx ends.
func (p *peer) run(ctx context.Context) {
	defer func() { _ = p.conn.Close() }() // nobody uses it any more
	for delay := redialFirst; ; delay = min(2*delay, redialMost) {
		began := time.Now()
		err := p.watch(ctx)
		lost := p.current()
		p.set(func() { p.known = false })
		if ctx.Err() != nil {
			return
		}
		if lost {
			p.r.c.Logger.WarnContext(ctx, "followers of another control plane are not told any more", attrReplica, p.row.ID, obs.AttrError, err)
		}
		if time.Since(began) > redialMost {
			delay = redialFirst
		}
		wait := time.NewTimer(delay/2 + rand.N(delay)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// watch takes in what the peer tells until that ends.
func (p *peer) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.client.Watch(ctx, &replicav1.WatchRequest{})
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetReplica() != p.row.ID {
			return fmt.Errorf("%w: %s", errOther, m.GetReplica())
		}
		for _, f := range m.GetFollowers() {
			p.r.toOurs(f)
		}
		if len(m.GetFollowers()) > 0 || m.GetWhole() {
			p.r.c.Ledger.Merge(p.row.ID, m.GetFollowers(), m.GetWhole())
		}
		p.set(func() {
			p.known, p.position = true, m.GetPosition()
			p.staying, p.draining = int(m.GetStreams()), m.GetDraining()
		})
		if first && m.GetEpoch() != "" {
			p.r.c.Log.Witness(ctx, "control plane "+p.row.ID, catalog.Head{Epoch: m.GetEpoch(), Revision: catalog.Revision(m.GetHead())})
		}
	}
}

// toOurs turns times of the database's clock into those of this host's.
func (r *Replicas) toOurs(f *replicav1.Follower) { r.shift(f, -time.Duration(r.offset.Load())) }

// toFleet is the reverse.
func (r *Replicas) toFleet(f *replicav1.Follower) { r.shift(f, time.Duration(r.offset.Load())) }

func (*Replicas) shift(f *replicav1.Follower, by time.Duration) {
	f.SeenTime = timestamppb.New(f.GetSeenTime().AsTime().Add(by))
	f.ConnectTime = timestamppb.New(f.GetConnectTime().AsTime().Add(by))
}

// sync waits until everything that was so at the peer when it was asked is known here.
func (p *peer) sync(ctx context.Context) bool {
	res, err := p.client.GetPosition(ctx, &replicav1.GetPositionRequest{}, grpc.WaitForReady(true))
	if err != nil || res.GetReplica() != p.row.ID {
		return false
	}
	return p.wait(ctx, func() bool { return p.known && p.position >= res.GetPosition() })
}

// wait waits until something holds of the peer; false if ctx ended before.
func (p *peer) wait(ctx context.Context, holds func() bool) bool {
	for {
		p.mu.Lock()
		ok, moved := holds(), p.moved
		p.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-moved:
		}
	}
}
