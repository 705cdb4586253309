// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	tellEvery = 50 * time.Millisecond // at most
	tellLeast = 5 * time.Second       // at least
)

// service serves penstock.replica.v1.
type service struct {
	replicav1.UnimplementedReplicaServiceServer
	r *Replicas
}

// Register adds the service to a gRPC server.
func (r *Replicas) Register(g grpc.ServiceRegistrar) {
	replicav1.RegisterReplicaServiceServer(g, service{r: r})
}

// Watch implements ReplicaService.
func (s service) Watch(req *replicav1.WatchRequest, g replicav1.ReplicaService_WatchServer) error {
	if err := admit(g.Context(), req); err != nil {
		return err
	}
	idle := time.NewTicker(tellLeast)
	defer idle.Stop()
	pace := time.NewTicker(tellEvery)
	defer pace.Stop()
	stop := s.r.stop
	var told replicav1.WatchResponse // without followers: what was said last
	for due := true; ; {
		m, changed := s.r.tell(told.GetPosition())
		m.Whole = told.GetReplica() == ""
		if due || len(m.GetFollowers()) > 0 || m.GetStreams() != told.GetStreams() || m.GetDraining() != told.GetDraining() {
			if err := g.Send(m); err != nil {
				return err
			}
			m.Followers = nil
			proto.Reset(&told)
			proto.Merge(&told, m)
		}
		due = false
		select {
		case <-g.Context().Done():
			return g.Context().Err()
		case <-s.r.over:
			return status.Error(codes.Unavailable, "this control plane has stopped")
		case <-stop:
			stop = nil
		case <-idle.C:
			due = true
		case <-changed:
			select { // what changes meanwhile goes along
			case <-pace.C:
			case <-g.Context().Done():
			}
		}
	}
}

// tell returns what changed after a position.
func (r *Replicas) tell(after uint64) (m *replicav1.WatchResponse, changed <-chan struct{}) {
	m = &replicav1.WatchResponse{Replica: r.id}
	m.Followers, m.Position, changed = r.c.Ledger.Followers(after)
	for _, f := range m.GetFollowers() {
		r.toFleet(f)
	}
	_, staying := r.c.Ledger.Streams()
	m.Streams = uint32(staying)
	select {
	case <-r.stop:
		m.Draining = true
	default:
	}
	head := r.c.Log.Head()
	m.Epoch, m.Head = head.Epoch, uint64(head.Revision)
	return m, changed
}

// GetPosition implements ReplicaService.
func (s service) GetPosition(ctx context.Context, req *replicav1.GetPositionRequest) (*replicav1.GetPositionResponse, error) {
	if err := admit(ctx, req); err != nil {
		return nil, err
	}
	_, position, _ := s.r.c.Ledger.Followers(^uint64(0))
	return &replicav1.GetPositionResponse{Replica: s.r.id, Position: position}, nil
}

// Dispatch implements ReplicaService.
func (s service) Dispatch(ctx context.Context, req *replicav1.DispatchRequest) (*replicav1.DispatchResponse, error) {
	if err := admit(ctx, req); err != nil {
		return nil, err
	}
	if err := s.r.c.Ledger.Dispatch(ctx, req.GetTask()); err != nil {
		return nil, toStatus(err)
	}
	return &replicav1.DispatchResponse{}, nil
}

// Report implements ReplicaService.
func (s service) Report(ctx context.Context, req *replicav1.ReportRequest) (*replicav1.ReportResponse, error) {
	if err := admit(ctx, req); err != nil {
		return nil, err
	}
	if req.GetExplanation() != nil {
		s.r.c.DeliverExplanation(req.GetExplanation())
	} else {
		s.r.c.Deliver(req.GetReport())
	}
	return &replicav1.ReportResponse{}, nil
}

// admit checks who calls, then what was sent against the rules of its contract.
func admit(ctx context.Context, m proto.Message) error {
	if _, err := enroll.Peer(ctx, ident.RoleControlPlane); err != nil {
		return toStatus(err)
	}
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
