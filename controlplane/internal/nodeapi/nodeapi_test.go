// SPDX-License-Identifier: Apache-2.0

package nodeapi_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/nodeapi"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is a dispatcher with one node, which does with a task what a test says.
type fleet struct {
	do func(ctx context.Context, id string) error
}

// Dispatch implements nodeapi.Dispatcher.
func (f *fleet) Dispatch(ctx context.Context, t *distributionv1.Task) error {
	if t.GetDiscover().GetServer() == nil {
		return errors.New("the task does not name its server")
	}
	return f.do(ctx, t.GetId())
}

// ledger is a status that remembers.
type ledger struct {
	mu     sync.Mutex
	uses   []catalog.TokenUse
	checks []catalog.ConnectionCheck
	found  map[string]catalog.Discovery // by server
	failed map[string]string            // by server: reason and detail
	err    error
}

// RecordDiscovery implements nodeapi.Status.
func (l *ledger) RecordDiscovery(_ context.Context, server string, d catalog.Discovery) (catalog.DiscoveryOutcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found == nil {
		l.found = make(map[string]catalog.Discovery)
	}
	l.found[server] = d
	return catalog.DiscoveryOutcome{}, l.err
}

// RecordDiscoveryFailure implements nodeapi.Status.
func (l *ledger) RecordDiscoveryFailure(_ context.Context, server, reason, detail string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = make(map[string]string)
	}
	l.failed[server] = reason + ": " + detail
	return l.err
}

// RecordStatus implements nodeapi.Status.
func (l *ledger) RecordStatus(_ context.Context, uses []catalog.TokenUse, checks []catalog.ConnectionCheck) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uses, l.checks = append(l.uses, uses...), append(l.checks, checks...)
	return l.err
}

// serve runs the service for callers of one identity and returns their client.
func serve(t *testing.T, s *nodeapi.Server, creds credentials.TransportCredentials) nodev1.NodeServiceClient {
	t.Helper()
	return nodev1.NewNodeServiceClient(connect(t, s, creds))
}

// connect runs a service for callers of one identity and returns their connection.
func connect(t *testing.T, s interface{ Register(g grpc.ServiceRegistrar) }, creds credentials.TransportCredentials) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(64 << 10)
	g := grpc.NewServer(grpc.Creds(creds))
	s.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn
}

func node() credentials.TransportCredentials {
	return enroll.Local(ident.Workload{TrustDomain: "test", Region: "eu", Role: ident.RoleNode, Name: "n1"})
}

func task() *distributionv1.DiscoverTask {
	t := &distributionv1.DiscoverTask{}
	t.ProtoReflect().Mutable(t.ProtoReflect().Descriptor().Fields().ByName("server"))
	return t
}

func found(id string) *nodev1.ReportDiscoveryRequest {
	return &nodev1.ReportDiscoveryRequest{TaskId: id, Result: &nodev1.ReportDiscoveryRequest_Discovered{
		Discovered: &nodev1.Discovered{ProtocolVersion: "2025-11-25", Tools: [][]byte{[]byte(`{"name":"echo"}`)}},
	}}
}

// TestDiscover: whatever becomes of the task, the one who waits hears it.
func TestDiscover(t *testing.T) {
	failed := func(reason, detail string) func(string) *nodev1.ReportDiscoveryRequest {
		return func(id string) *nodev1.ReportDiscoveryRequest {
			return &nodev1.ReportDiscoveryRequest{TaskId: id, Result: &nodev1.ReportDiscoveryRequest_Failure{
				Failure: &nodev1.DiscoveryFailure{Reason: reason, Detail: detail},
			}}
		}
	}
	tests := []struct {
		name    string
		report  func(id string) *nodev1.ReportDiscoveryRequest // nil: the node says nothing
		refused error                                          // of the dispatcher
		kind    fault.Kind
		reason  string
		text    string
	}{
		{"found", found, nil, 0, "", ""},
		{"the server does not answer", failed("UPSTREAM_UNREACHABLE", "connection refused"), nil, fault.Unavailable, "UPSTREAM_UNREACHABLE", "connection refused"},
		{"failed for no reason", failed("", ""), nil, fault.Unavailable, nodeapi.ReasonDiscoveryFailed, ""},
		{"no node", nil, fault.New(fault.Unavailable, "NO_NODE", "no node"), fault.Unavailable, "NO_NODE", "no node"},
		{"nobody reports", nil, nil, fault.Timeout, nodeapi.ReasonDiscoveryTimeout, "in time"},
		{"a report of another task", func(string) *nodev1.ReportDiscoveryRequest { return found("another") }, nil, fault.Timeout, nodeapi.ReasonDiscoveryTimeout, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var client nodev1.NodeServiceClient
				f := &fleet{do: func(ctx context.Context, id string) error {
					if tt.refused != nil {
						return tt.refused
					}
					if tt.report != nil {
						for range 2 { // a report that is repeated harms nobody
							if _, err := client.ReportDiscovery(ctx, tt.report(id)); err != nil && ctx.Err() == nil {
								t.Errorf("report: %v", err)
							}
						}
					}
					<-ctx.Done()
					return nil
				}}
				s := nodeapi.New(f, nil, &ledger{}, slog.New(slog.DiscardHandler))
				client = serve(t, s, node())
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				got, err := s.Discover(ctx, task())
				if tt.reason == "" {
					if err != nil || got.GetProtocolVersion() != "2025-11-25" || len(got.GetTools()) != 1 {
						t.Fatalf("got %v, %v", got, err)
					}
					return
				}
				if f := fault.From(err); f.Kind != tt.kind || f.Reason != tt.reason || !strings.Contains(f.Public, tt.text) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestManyDiscoveries: each gets its own result.
func TestManyDiscoveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var client nodev1.NodeServiceClient
		var mu sync.Mutex
		ids := map[string]bool{}
		f := &fleet{do: func(ctx context.Context, id string) error {
			mu.Lock()
			ids[id] = true
			mu.Unlock()
			r := found(id)
			r.GetDiscovered().Instructions = id
			_, err := client.ReportDiscovery(ctx, r)
			return err
		}}
		s := nodeapi.New(f, nil, &ledger{}, slog.New(slog.DiscardHandler))
		client = serve(t, s, node())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				d, err := s.Discover(ctx, task())
				if err != nil {
					t.Errorf("discover: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if !ids[d.GetInstructions()] {
					t.Error("the result of nobody, or of two")
				}
				delete(ids, d.GetInstructions())
			})
		}
		wg.Wait()
	})
}

// TestUnasked: what a node discovers because the server told of a change is stored, whoever waits (M-71).
func TestUnasked(t *testing.T) {
	l := &ledger{}
	client := serve(t, nodeapi.New(&fleet{}, nil, l, slog.New(slog.DiscardHandler)), node())
	answered := found("")
	answered.Server = "s"
	answered.GetDiscovered().Prompts, answered.GetDiscovered().Templates = [][]byte{[]byte(`{"name":"p"}`)}, [][]byte{[]byte(`{"uriTemplate":"x:{y}"}`)}
	answered.GetDiscovered().Capabilities, answered.GetDiscovered().Instructions = []byte(`{}`), "do"
	answered.GetDiscovered().ResourceAuthorities = []string{"x:"}
	answered.GetDiscovered().Missing, answered.GetDiscovered().Sse = []string{"prompts"}, true
	silent := &nodev1.ReportDiscoveryRequest{Server: "t", Result: &nodev1.ReportDiscoveryRequest_Failure{Failure: &nodev1.DiscoveryFailure{Detail: "gone"}}}
	for _, r := range []*nodev1.ReportDiscoveryRequest{answered, silent} {
		if _, err := client.ReportDiscovery(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]catalog.Discovery{"s": {
		ProtocolVersion: "2025-11-25", Tools: [][]byte{[]byte(`{"name":"echo"}`)}, Prompts: [][]byte{[]byte(`{"name":"p"}`)},
		Templates: [][]byte{[]byte(`{"uriTemplate":"x:{y}"}`)}, Capabilities: []byte(`{}`), Instructions: "do", Authorities: []string{"x:"},
		Missing: []string{"prompts"}, SSE: true,
	}}
	if diff := cmp.Diff(want, l.found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"t": nodeapi.ReasonDiscoveryFailed + ": gone"}, l.failed); diff != "" {
		t.Errorf("failed (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		name string
		err  error
		want codes.Code
	}{
		{"the server was deleted meanwhile", fault.New(fault.NotFound, "RESOURCE_NOT_FOUND", "no server"), codes.OK},
		{"the store fails", errors.New("password=hunter2 is wrong"), codes.Unavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.mu.Lock()
			l.err = tt.err
			l.mu.Unlock()
			_, err := client.ReportDiscovery(t.Context(), answered)
			if status.Code(err) != tt.want || err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestReportStatus(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 0, 0, time.UTC)
	l := &ledger{}
	client := serve(t, nodeapi.New(&fleet{}, nil, l, slog.New(slog.DiscardHandler)), node())
	report := &nodev1.ReportStatusRequest{
		TokenUses:   []*nodev1.TokenUse{{Token: "t1", Time: timestamppb.New(at)}},
		Connections: []*nodev1.ConnectionCheck{{Connection: "c1", Time: timestamppb.New(at), Reason: "UPSTREAM_UNREACHABLE"}, {Connection: "c2", Time: timestamppb.New(at)}},
	}
	if _, err := client.ReportStatus(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]catalog.TokenUse{{Token: "t1", Time: at}}, l.uses); diff != "" {
		t.Error(diff)
	}
	want := []catalog.ConnectionCheck{{Connection: "c1", Time: at, Reason: "UPSTREAM_UNREACHABLE"}, {Connection: "c2", Time: at}}
	if diff := cmp.Diff(want, l.checks); diff != "" {
		t.Error(diff)
	}
	l.mu.Lock()
	l.err = errors.New("password=hunter2 is wrong")
	l.mu.Unlock()
	_, err := client.ReportStatus(t.Context(), report)
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the store fails: %v", err)
	}
}

// TestRefusals: who may call, and with what.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 65)
	tests := []struct {
		name  string
		creds credentials.TransportCredentials
		call  func(context.Context, nodev1.NodeServiceClient) error
		code  codes.Code
	}{
		{"no identity", insecure.NewCredentials(), discovery(found("x")), codes.Unauthenticated},
		{"no identity, status", insecure.NewCredentials(), report(&nodev1.ReportStatusRequest{}), codes.Unauthenticated},
		{"another role", enroll.Local(ident.Workload{TrustDomain: "test", Role: ident.RoleControlPlane, Name: "c"}), discovery(found("x")), codes.PermissionDenied},
		{"no task", node(), discovery(found("")), codes.InvalidArgument},
		{"a task that is too long", node(), discovery(found(long)), codes.InvalidArgument},
		{"a task and a server", node(), discovery(&nodev1.ReportDiscoveryRequest{TaskId: "x", Server: "s", Result: found("").GetResult()}), codes.InvalidArgument},
		{"no result", node(), discovery(&nodev1.ReportDiscoveryRequest{TaskId: "x"}), codes.InvalidArgument},
		{"a token that is too long", node(), report(&nodev1.ReportStatusRequest{TokenUses: []*nodev1.TokenUse{{Token: long}}}), codes.InvalidArgument},
		{"too many tokens", node(), report(&nodev1.ReportStatusRequest{TokenUses: make([]*nodev1.TokenUse, 10_001)}), codes.InvalidArgument},
		{"a task that nobody waits for", node(), discovery(found("gone")), codes.OK},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := serve(t, nodeapi.New(&fleet{}, nil, &ledger{}, slog.New(slog.DiscardHandler)), tt.creds)
			if err := tt.call(t.Context(), client); status.Code(err) != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
}

func discovery(r *nodev1.ReportDiscoveryRequest) func(context.Context, nodev1.NodeServiceClient) error {
	return func(ctx context.Context, c nodev1.NodeServiceClient) error {
		_, err := c.ReportDiscovery(ctx, r)
		return err
	}
}

func report(r *nodev1.ReportStatusRequest) func(context.Context, nodev1.NodeServiceClient) error {
	return func(ctx context.Context, c nodev1.NodeServiceClient) error {
		if r.GetTokenUses() != nil && r.GetTokenUses()[0] == nil {
			for i := range r.GetTokenUses() {
				r.GetTokenUses()[i] = &nodev1.TokenUse{Token: "t"}
			}
		}
		_, err := c.ReportStatus(ctx, r)
		return err
	}
}
