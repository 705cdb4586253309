// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/authn"
	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"connectrpc.com/otelconnect"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi/port"
	"github.com/penstockhq/penstock/controlplane/internal/adminapi/rules"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
)

// maxRequestBytes bounds one request message, after decompression.
const maxRequestBytes = 16 << 20

// Log knows the newest revision. catalog.Store has it.
type Log interface {
	Head(ctx context.Context) (catalog.Head, error)
}

// Fleet knows the nodes and what they enforce.
type Fleet interface {
	// WaitEnforced returns when every connected node in scope enforces the revision, with whole also everything before it,
	// or when ctx ends with the state then, which is no error.
	WaitEnforced(ctx context.Context, revision catalog.Revision, whole bool) (Enforcement, error)
	// Nodes returns all nodes known, connected or not, in any order.
	Nodes(ctx context.Context) ([]Node, error)
}

// Enforcement says which nodes obey a revision; each list holds names of nodes, in any order.
type Enforcement struct {
	Enforced     bool // no connected node lags
	Enforcing    []string
	Lagging      []string
	Disconnected []string
}

// Node is one data-plane process as the control plane sees it.
type Node struct {
	Name, Region, Build string
	Connected           bool
	Replica             string // control plane that has its stream; empty while it has none
	Epoch               string
	Enforced, Denied    catalog.Revision // newest revision and newest denial enforced
	Lag                 time.Duration    // age of the oldest change it does not enforce; 0 if there is none
	Seen                time.Time        // last message
	Rejects             []Reject
	Banned              bool
}

// Reject is a resource that a node would not compile.
type Reject struct {
	Kind, Name, Reason, Detail string
	Revision                   catalog.Revision
}

// Discoverer has a node list a server's tools. An unreachable server or no connected node is a fault of kind Unavailable or
// Timeout whose public text names the cause. connection is nil for a server without credential.
type Discoverer interface {
	Discover(ctx context.Context, server *catalog.Server, connection *catalog.Connection) (catalog.Discovery, error)
}

// Config is what the admin API needs. Everything is required unless it says otherwise.
type Config struct {
	Catalog    *catalog.Catalog
	Log        Log
	Fleet      Fleet
	Discoverer Discoverer
	Enrollment Enrollment // optional: nobody can join or be banned
	Approvals  Approvals
	Logger     *slog.Logger
	Tracer     trace.TracerProvider // optional
	Meter      metric.MeterProvider // optional
	// Ready says whether the control plane can serve; its error shows in gRPC health as NOT_SERVING. Optional: always ready.
	Ready func() error
	// Origins of web pages that may call, for example "https://console.example.com". Empty turns CORS off.
	Origins []string
}

// api is what the services share.
type api struct {
	catalog    *catalog.Catalog
	log        Log
	fleet      Fleet
	discoverer Discoverer
	enrollment Enrollment
	held       Approvals
	logger     *slog.Logger
}

// New returns the handler of the admin API; [Server] serves it on a port. It starts nothing.
func New(c Config) (http.Handler, error) {
	if c.Catalog == nil || c.Log == nil || c.Fleet == nil || c.Discoverer == nil || c.Approvals == nil || c.Logger == nil {
		return nil, errors.New("admin API: Catalog, Log, Fleet, Discoverer, Approvals and Logger are required")
	}
	a := &api{
		catalog: c.Catalog, log: c.Log, fleet: c.Fleet, discoverer: c.Discoverer, enrollment: c.Enrollment, held: c.Approvals, logger: c.Logger,
	}
	options, err := c.handlerOptions()
	if err != nil {
		return nil, err
	}
	services := a.services(options)
	protected := http.NewServeMux()
	mux := http.NewServeMux()
	guarded := authn.NewMiddleware(a.authenticate, options).Wrap(protected)
	var names []string
	for _, s := range services {
		protected.Handle(s.path, s.handler)
		mux.Handle(s.path, port.Bounded(guarded))
		names = append(names, s.name)
	}
	// Health and reflection say nothing that the published contracts do not: they need no token.
	mux.Handle(grpchealth.NewHandler(health{services: names, ready: c.Ready}, options))
	all := append(names, grpchealth.HealthV1ServiceName)
	mux.Handle(grpcreflect.NewHandlerV1(grpcreflect.NewStaticReflector(all...), options))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(grpcreflect.NewStaticReflector(all...), options))
	return port.Identified(port.CrossOrigin(c.Origins, mux)), nil
}

// Server returns an HTTP server for the handler, as the three protocols need it (see [port.Server]). The caller serves it.
func Server(h http.Handler) *http.Server { return port.Server(h) }

// mounted is one service.
type mounted struct {
	name, path string
	handler    http.Handler
}

// services lists the house.
func (a *api) services(o connect.HandlerOption) []mounted {
	mount := func(name string) func(string, http.Handler) mounted {
		return func(path string, h http.Handler) mounted { return mounted{name, path, h} }
	}
	return []mounted{
		mount(adminv1connect.ServerServiceName)(adminv1connect.NewServerServiceHandler(servers{a}, o)),
		mount(adminv1connect.ConnectionServiceName)(adminv1connect.NewConnectionServiceHandler(connections{a}, o)),
		mount(adminv1connect.ToolServiceName)(adminv1connect.NewToolServiceHandler(tools{a}, o)),
		mount(adminv1connect.GatewayServiceName)(adminv1connect.NewGatewayServiceHandler(gateways{a}, o)),
		mount(adminv1connect.TeamServiceName)(adminv1connect.NewTeamServiceHandler(teams{a}, o)),
		mount(adminv1connect.UserServiceName)(adminv1connect.NewUserServiceHandler(users{a}, o)),
		mount(adminv1connect.BearerTokenServiceName)(adminv1connect.NewBearerTokenServiceHandler(bearerTokens{a}, o)),
		mount(adminv1connect.IdentityProviderServiceName)(adminv1connect.NewIdentityProviderServiceHandler(identityProviders{a}, o)),
		mount(adminv1connect.OAuthClientServiceName)(adminv1connect.NewOAuthClientServiceHandler(oauthClients{a}, o)),
		mount(adminv1connect.PolicyServiceName)(adminv1connect.NewPolicyServiceHandler(policies{a}, o)),
		mount(adminv1connect.ApprovalServiceName)(adminv1connect.NewApprovalServiceHandler(approvals{a}, o)),
		mount(adminv1connect.ConfigurationServiceName)(adminv1connect.NewConfigurationServiceHandler(configuration{a}, o)),
		mount(adminv1connect.NodeServiceName)(adminv1connect.NewNodeServiceHandler(nodes{api: a}, o)),
	}
}

// handlerOptions lists what wraps each call, outermost first: trace, answer, recover, validate.
func (c Config) handlerOptions() (connect.HandlerOption, error) {
	var observe []otelconnect.Option
	if c.Tracer != nil {
		observe = append(observe, otelconnect.WithTracerProvider(c.Tracer))
	}
	if c.Meter != nil {
		observe = append(observe, otelconnect.WithMeterProvider(c.Meter))
	}
	traced, err := otelconnect.NewInterceptor(observe...)
	if err != nil {
		return nil, err
	}
	valid, err := rules.NewInterceptor()
	if err != nil {
		return nil, err
	}
	return connect.WithHandlerOptions(
		connect.WithReadMaxBytes(maxRequestBytes), port.StrictJSON(),
		connect.WithInterceptors(traced, answering(c.Logger)),
		connect.WithRecover(recovered),
		connect.WithInterceptors(valid),
	), nil
}

// health answers the gRPC health protocol.
type health struct {
	services []string
	ready    func() error
}

// Check implements grpchealth.Checker: the empty name and each service share one state.
func (h health) Check(_ context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	known := req.Service == ""
	for _, s := range h.services {
		known = known || s == req.Service
	}
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("unknown service"))
	}
	status := grpchealth.StatusServing
	if h.ready != nil && h.ready() != nil {
		status = grpchealth.StatusNotServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}
