// SPDX-License-Identifier: Apache-2.0

package nodeapi

import (
	"cmp"
	"context"
	"log/slog"
	"sync"

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Dispatcher gives a task to a connected node, and to another one if that leaves, until ctx ends, which is no error.
// Without a node the fault is Unavailable.
type Dispatcher interface {
	Dispatch(ctx context.Context, t *distributionv1.Task) error
}

// Others are the other control planes of the deployment.
type Others interface {
	// Mark ends the ids of this control plane's tasks.
	Mark() string
	// Report hands a result to the control plane whose mark ends the id of its task; false if there is none.
	Report(ctx context.Context, r *nodev1.ReportDiscoveryRequest) (bool, error)
	// ReportExplanation does so for an ExplainTask.
	ReportExplanation(ctx context.Context, r *nodev1.ReportExplanationRequest) (bool, error)
}

// Reasons of this package's faults.
const (
	// ReasonDiscoveryTimeout is a discovery that no node finished in time.
	ReasonDiscoveryTimeout = "DISCOVERY_TIMEOUT"
	// ReasonDiscoveryFailed is a discovery that a node gave up without saying why.
	ReasonDiscoveryFailed = "DISCOVERY_FAILED"
)

// Status takes what nodes noticed.
type Status interface {
	// RecordDiscovery stores what a server told about itself; NotFound if there is no such server any more.
	RecordDiscovery(ctx context.Context, server string, d catalog.Discovery) (catalog.DiscoveryOutcome, error)
	RecordDiscoveryFailure(ctx context.Context, server, reason, detail string) error
	RecordStatus(ctx context.Context, uses []catalog.TokenUse, checks []catalog.ConnectionCheck) error
}

// Server serves penstock.node.v1. It is safe for concurrent use.
type Server struct {
	nodev1.UnimplementedNodeServiceServer
	dispatcher Dispatcher
	others     Others // nil: there are none
	status     Status
	log        *slog.Logger

	mu      sync.Mutex
	waiting map[string]chan report // by task id
}

// report is the result of a task.
type report interface {
	proto.Message
	GetTaskId() string
}

// New returns a Server. Without other control planes, others is nil.
func New(d Dispatcher, others Others, s Status, log *slog.Logger) *Server {
	return &Server{dispatcher: d, others: others, status: s, log: log, waiting: make(map[string]chan report)}
}

// Register adds the service to a gRPC server.
func (s *Server) Register(g grpc.ServiceRegistrar) { nodev1.RegisterNodeServiceServer(g, s) }

// Discover has a node list a server and waits for the result until ctx ends. A server that does not answer is
// Unavailable with the node's reason; no node is Unavailable, NO_NODE; none that answers in time is Timeout,
// DISCOVERY_TIMEOUT.
func (s *Server) Discover(ctx context.Context, task *distributionv1.DiscoverTask) (*nodev1.Discovered, error) {
	r, err := s.ask(ctx, &distributionv1.Task{Kind: &distributionv1.Task_Discover{Discover: task}}, func(cause error) error {
		return fault.New(fault.Timeout, ReasonDiscoveryTimeout, "No node reported the server's tools in time. See the node's log.").Because(cause)
	})
	if err != nil {
		return nil, err
	}
	found, ok := r.(*nodev1.ReportDiscoveryRequest)
	if !ok {
		return nil, fault.New(fault.Unavailable, ReasonDiscoveryFailed, "The node answered another question.")
	}
	return outcome(found)
}

// ask gives a task to a node and waits for its report until ctx ends, which late says.
func (s *Server) ask(ctx context.Context, task *distributionv1.Task, late func(cause error) error) (report, error) {
	id := uuid.NewString()
	if s.others != nil {
		id += s.others.Mark()
	}
	task.Id = id
	result := make(chan report, 1)
	s.mu.Lock()
	s.waiting[id] = result
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}()
	asking, stop := context.WithCancel(ctx)
	refused := make(chan error, 1)
	var dispatch sync.WaitGroup
	defer dispatch.Wait()
	defer stop()
	dispatch.Go(func() {
		refused <- s.dispatcher.Dispatch(asking, task)
	})
	for {
		select {
		case <-ctx.Done():
			return nil, late(context.Cause(ctx))
		case err := <-refused:
			select {
			case r := <-result: // it came before the node left
				return r, nil
			default:
			}
			if err != nil {
				return nil, err
			}
			refused = nil // ctx ended
		case r := <-result:
			return r, nil
		}
	}
}

// outcome reads the result of a task.
func outcome(r *nodev1.ReportDiscoveryRequest) (*nodev1.Discovered, error) {
	f := r.GetFailure()
	if f == nil {
		return r.GetDiscovered(), nil
	}
	return nil, fault.New(fault.Unavailable, cmp.Or(f.GetReason(), ReasonDiscoveryFailed), f.GetDetail())
}

// Found is what a node reported, as the catalog takes it.
func Found(m *nodev1.Discovered) catalog.Discovery {
	return catalog.Discovery{
		ProtocolVersion: m.GetProtocolVersion(), ServerInfo: m.GetServerInfo(), Capabilities: m.GetCapabilities(),
		Instructions: m.GetInstructions(), Tools: m.GetTools(), Prompts: m.GetPrompts(), Templates: m.GetTemplates(),
		Authorities: m.GetResourceAuthorities(), Missing: m.GetMissing(), SSE: m.GetSse(),
	}
}

// record stores a discovery that no task asked for: the server told the node that one of its lists changed (M-71).
func (s *Server) record(ctx context.Context, r *nodev1.ReportDiscoveryRequest) (*nodev1.ReportDiscoveryResponse, error) {
	var err error
	if f := r.GetFailure(); f != nil {
		err = s.status.RecordDiscoveryFailure(ctx, r.GetServer(), cmp.Or(f.GetReason(), ReasonDiscoveryFailed), f.GetDetail())
	} else {
		_, err = s.status.RecordDiscovery(ctx, r.GetServer(), Found(r.GetDiscovered()))
	}
	if err != nil && fault.KindOf(err) != fault.NotFound { // deleted in the meantime
		return nil, s.failed(ctx, err)
	}
	return &nodev1.ReportDiscoveryResponse{}, nil
}

// Deliver takes the result of a task; false if nobody waits for it here.
func (s *Server) Deliver(r *nodev1.ReportDiscoveryRequest) bool { return s.deliver(r) }

func (s *Server) deliver(r report) bool {
	s.mu.Lock()
	waiting := s.waiting[r.GetTaskId()]
	delete(s.waiting, r.GetTaskId())
	s.mu.Unlock()
	if waiting == nil {
		return false
	}
	waiting <- r // has room for the one result there can be
	return true
}

// ReportDiscovery implements NodeService. A result may belong to another control plane: a node reports to the one that it
// follows at that moment. One that nobody waits for is dropped: it came too late, or twice.
func (s *Server) ReportDiscovery(ctx context.Context, r *nodev1.ReportDiscoveryRequest) (*nodev1.ReportDiscoveryResponse, error) {
	if err := admit(ctx, r); err != nil {
		return nil, err
	}
	if r.GetServer() != "" {
		return s.record(ctx, r)
	}
	done := s.Deliver(r)
	var err error
	if !done && s.others != nil {
		done, err = s.others.Report(ctx, r)
	}
	switch {
	case err != nil:
		return nil, s.failed(ctx, err)
	case !done:
		s.log.InfoContext(ctx, "discovery result came too late")
	}
	return &nodev1.ReportDiscoveryResponse{}, nil
}

// ReportStatus implements NodeService.
func (s *Server) ReportStatus(ctx context.Context, r *nodev1.ReportStatusRequest) (*nodev1.ReportStatusResponse, error) {
	if err := admit(ctx, r); err != nil {
		return nil, err
	}
	var uses []catalog.TokenUse
	for _, u := range r.GetTokenUses() {
		uses = append(uses, catalog.TokenUse{Token: u.GetToken(), Time: u.GetTime().AsTime()})
	}
	var checks []catalog.ConnectionCheck
	for _, c := range r.GetConnections() {
		checks = append(checks, catalog.ConnectionCheck{Connection: c.GetConnection(), Time: c.GetTime().AsTime(), Reason: c.GetReason()})
	}
	if err := s.status.RecordStatus(ctx, uses, checks); err != nil {
		return nil, s.failed(ctx, err)
	}
	return &nodev1.ReportStatusResponse{}, nil
}

func (s *Server) failed(ctx context.Context, err error) error {
	s.log.ErrorContext(ctx, "report of a node not stored", obs.AttrError, err)
	return status.Error(codes.Unavailable, "the report could not be stored: send it again")
}

// admit checks who calls, then what was sent against the rules of its contract.
func admit(ctx context.Context, m proto.Message) error {
	if _, err := enroll.Peer(ctx, ident.RoleNode); err != nil {
		f := fault.From(err)
		return status.Error(codes.Code(f.Kind.ConnectCode()), f.Public) // the numbers of Connect are those of gRPC
	}
	if err := protovalidate.Validate(m); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return nil
}
