// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// ReasonNoNode is the reason of a task that no node can be given: none is connected, or those that were asked left.
const ReasonNoNode = "NO_NODE"

// Notes keeps small facts across restarts. catalog.Store implements it.
type Notes interface {
	Note(ctx context.Context, kind, name string, body []byte) error
	Notes(ctx context.Context, kind string) (map[string][]byte, error)
}

// Config is what a Server needs.
type Config struct {
	// Feed is what is sent. Required.
	Feed *feed.Feed
	// Log takes life-cycle lines. Required.
	Log *slog.Logger
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Notes keeps what is known of nodes across restarts; nil keeps it in memory only.
	Notes Notes
	// Revocations keeps revoked tokens; nil takes and sends none.
	Revocations Revocations
	// Rollouts keeps the staged rollout; nil makes none: what is staged goes to all nodes.
	Rollouts Rollouts
	// StageTimeout is how long the nodes of a stage may take to enforce it; 0 means 60 s.
	StageTimeout time.Duration
	// Meter makes the metrics; nil makes none.
	Meter metric.MeterProvider
	// DrainWindow is the time over which nodes are asked to leave when this control plane stops (D-41); 0 asks all at once.
	DrainWindow time.Duration
	// Replica is the id of this control plane, which its nodes are shown with.
	Replica string
	// Others are the other control planes; nil means there are none.
	Others Others
	// MaxAge is how long a stream lasts, give or take a fifth, before its node is asked to go where there is most room; 0
	// means 30 min (D-41).
	MaxAge time.Duration
	// ShedEvery is how often a few nodes are sent away while the others have far fewer; 0 means 5 s.
	ShedEvery time.Duration
	// HelloRate is how many streams may begin a second; 0 means 200 for each core (D-42).
	HelloRate float64
	// MaxSnapshots is how many snapshots are sent at the same time; 0 means two for each core (D-42).
	MaxSnapshots int
}

// Server serves penstock.distribution.v1. It is safe for concurrent use.
type Server struct {
	distributionv1.UnimplementedDistributionServiceServer
	feed      *feed.Feed
	log       *slog.Logger
	now       func() time.Time
	notes     Notes
	metrics   *metrics
	window    time.Duration
	maxAge    time.Duration
	shedEvery time.Duration
	hellos    *bucket
	waiting   atomic.Int64 // streams that wait for the configuration to be loaded
	ledger    *ledger
	others    Others
	revoked   *revoked
	rollout   *rollout
	pace      *pace
	snapshots chan struct{} // one token per snapshot that is sent
	crowd     *crowd        // of those who want one
	turns     turns
	loops     sync.WaitGroup

	mu       sync.Mutex
	draining chan struct{} // closed by Drain
	drained  bool
	stopped  bool // Run waits for the loops: no more may begin
	next     int  // round robin of Dispatch
}

// New returns a server without streams.
func New(cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxSnapshots == 0 {
		cfg.MaxSnapshots = 2 * runtime.GOMAXPROCS(0)
	}
	if cfg.Others == nil {
		cfg.Others = alone{}
	}
	s := &Server{
		feed: cfg.Feed, log: cfg.Log, now: cfg.Now, notes: cfg.Notes, window: cfg.DrainWindow, ledger: newLedger(cfg.Replica), others: cfg.Others,
		revoked: newRevoked(cfg.Revocations), rollout: newRollout(cfg.Rollouts, cfg.StageTimeout),
		snapshots: make(chan struct{}, cfg.MaxSnapshots), crowd: newCrowd(cfg.MaxSnapshots), turns: newTurns(), pace: newPace(), draining: make(chan struct{}),
	}
	s.maxAge, s.shedEvery, s.hellos = cmp.Or(cfg.MaxAge, maxAge), cmp.Or(cfg.ShedEvery, shedEvery), newBucket(cfg.HelloRate)
	s.metrics = newMetrics(cfg.Meter, s)
	return s
}

// Register adds the service to a gRPC server, which must use [Codec].
func (s *Server) Register(g grpc.ServiceRegistrar) {
	distributionv1.RegisterDistributionServiceServer(g, s)
}

// Drain asks all nodes to leave, spread over the drain window, and then ends their streams: the first step of a stop
// (D-41). New streams are refused.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.drained {
		s.drained = true
		close(s.draining)
	}
}

func (s *Server) isDraining() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// Follow implements DistributionService.
func (s *Server) Follow(g distributionv1.DistributionService_FollowServer) error {
	w, err := enroll.Peer(g.Context(), ident.RoleNode, ident.RoleAuthserver)
	if err != nil {
		return toStatus(err)
	}
	if err := s.admit(g.Context()); err != nil {
		return err
	}
	class, err := s.feed.Class(scopeOf(w))
	if err != nil {
		return toStatus(err)
	}
	st := newStream(s, g, w, class)
	if !s.start(st) {
		return status.Error(codes.Unavailable, "this control plane is stopping")
	}
	<-st.ctx.Done()
	err = context.Cause(st.ctx)
	if s.ledger.leave(st) {
		s.log.InfoContext(g.Context(), "node left", obs.AttrNode, w.Name, obs.AttrRegion, w.Region, obs.AttrError, err)
	}
	return ended(err)
}

// scopeOf returns what a workload may hold (D-11).
func scopeOf(w ident.Workload) scope.Scope {
	if w.Role == ident.RoleAuthserver {
		return scope.Scope{Authserver: true}
	}
	return scope.Scope{Region: w.Region}
}

// start begins the loops of a stream. They may outlast Follow a little, because only its return makes gRPC let go of a
// Send or Recv that hangs: Run waits for them.
func (s *Server) start(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.loops.Go(st.receive)
	s.loops.Go(st.send)
	return true
}

// wait ends when all loops have ended.
func (s *Server) wait() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.loops.Wait()
}

// ended maps what ended a stream to its status.
func ended(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, errLeft):
		return nil
	case errors.Is(err, errReplaced):
		return status.Error(codes.Aborted, err.Error())
	case errors.Is(err, errSlow), errors.Is(err, errSilent), errors.Is(err, errNoHello):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return toStatus(err)
}

// Dispatch gives a task to one connected node, never an authserver, each time another one, and stays until ctx ends, which is no error: the
// result goes to penstock.node.v1. If the node leaves before, the next one is asked. When there is none left the fault is
// Unavailable, NO_NODE.
func (s *Server) Dispatch(ctx context.Context, t *distributionv1.Task) error {
	s.mu.Lock()
	s.next++
	first := s.next
	s.mu.Unlock()
	asked := make(map[string]bool)
	for {
		st := s.ledger.pick(first, asked, wishOf(t))
		if st == nil {
			return noNode(len(asked) > 0)
		}
		asked[st.id] = true
		if !st.task(t) {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-st.ctx.Done():
		}
	}
}

func noNode(asked bool) error {
	text := "No node is connected that could do it. Start a data plane and try again."
	if asked {
		text = "The nodes that could do it left or are busy. Try again."
	}
	return fault.New(fault.Unavailable, ReasonNoNode, text)
}

// jitter returns a random part of a duration.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return rand.N(d) //nolint:gosec // jitter is no secret
}

// validate checks a message against the rules of its contract.
func validate(m proto.Message) error {
	if err := protovalidate.Validate(m); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return nil
}

// toStatus maps a fault to a gRPC status; the cause stays here.
func toStatus(err error) error {
	f := fault.From(err)
	return status.Error(codes.Code(f.Kind.ConnectCode()), f.Public) // the numbers of Connect are those of gRPC
}
