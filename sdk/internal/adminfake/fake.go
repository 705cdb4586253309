// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Token is the one token that the fake accepts.
const Token = "pst_u_fake"

// API is a fake control plane. Its fields may be set before it serves.
type API struct {
	Nodes     []*adminv1.Node
	Discovers map[string][]string // by server: upstream names that a discovery finds
	Connect   []*adminv1.ConnectInstruction
	Passwords map[string]string // by user, as they were set
	// Tried are the cases of policies that were tried.
	Tried     []*adminv1.PolicyCase
	Approvals []*adminv1.Approval // the newest first
	// Asked are the questions about calls; Explanation is the answer to each.
	Asked       []*adminv1.ExplainRequest
	Explanation *resourcev1.Explanation
	Revisions   []*adminv1.RevisionInfo
	Rollouts    []*adminv1.GetRolloutResponse // answers one after the other; the last one stays

	mu        sync.Mutex
	revision  uint64
	resources map[string]proto.Message // "Gateway eng" → message
	calls     []string                 // procedures, in order
	fail      []error                  // answers of the next calls
}

// New returns an empty fake.
func New() *API {
	return &API{resources: map[string]proto.Message{}, Discovers: map[string][]string{}, Passwords: map[string]string{}}
}

// Handler serves the fake.
func (a *API) Handler() http.Handler {
	o := connect.WithInterceptors(connect.UnaryInterceptorFunc(a.guard))
	mux := http.NewServeMux()
	mux.Handle(adminv1connect.NewServerServiceHandler(servers{a: a}, o))
	mux.Handle(adminv1connect.NewConnectionServiceHandler(connections{a: a}, o))
	mux.Handle(adminv1connect.NewToolServiceHandler(tools{a: a}, o))
	mux.Handle(adminv1connect.NewGatewayServiceHandler(gateways{a: a}, o))
	mux.Handle(adminv1connect.NewTeamServiceHandler(teams{a: a}, o))
	mux.Handle(adminv1connect.NewBearerTokenServiceHandler(tokens{a: a}, o))
	mux.Handle(adminv1connect.NewUserServiceHandler(users{a: a}, o))
	mux.Handle(adminv1connect.NewIdentityProviderServiceHandler(providers{a: a}, o))
	mux.Handle(adminv1connect.NewOAuthClientServiceHandler(clients{a: a}, o))
	mux.Handle(adminv1connect.NewPolicyServiceHandler(policies{a: a}, o))
	mux.Handle(adminv1connect.NewResultPolicyServiceHandler(resultPolicies{a: a}, o))
	mux.Handle(adminv1connect.NewApprovalServiceHandler(approvals{a: a}, o))
	mux.Handle(adminv1connect.NewExplainServiceHandler(explains{a: a}, o))
	mux.Handle(adminv1connect.NewNodeServiceHandler(nodes{a: a}, o))
	mux.Handle(adminv1connect.NewConfigurationServiceHandler(configuration{a: a}, o))
	return mux
}

// Put stores a resource as it is.
func (a *API) Put(m proto.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resources[key(m)] = m
}

// FailNext makes the next calls fail, each with one of the errors.
func (a *API) FailNext(errs ...error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = append(a.fail, errs...)
}

// Calls returns the methods called so far, for example "ListGateways".
func (a *API) Calls() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

// Failure makes an error as a control plane sends it.
func Failure(code connect.Code, reason, text string, fields ...*errdetails.BadRequest_FieldViolation) error {
	e := connect.NewError(code, errors.New(text))
	all := []proto.Message{&errdetails.ErrorInfo{Reason: reason, Domain: "penstock"}, &errdetails.RequestInfo{RequestId: "req-1"}}
	if len(fields) > 0 {
		all = append(all, &errdetails.BadRequest{FieldViolations: fields})
	}
	for _, m := range all {
		if d, err := connect.NewErrorDetail(m); err == nil {
			e.AddDetail(d)
		}
	}
	return e
}

// guard records calls, checks the token and answers planned failures.
func (a *API) guard(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		a.mu.Lock()
		procedure := req.Spec().Procedure
		a.calls = append(a.calls, procedure[strings.LastIndex(procedure, "/")+1:])
		var planned error
		if len(a.fail) > 0 {
			planned, a.fail = a.fail[0], a.fail[1:]
		}
		a.mu.Unlock()
		if req.Header().Get("Authorization") != "Bearer "+Token {
			return nil, Failure(connect.CodeUnauthenticated, "TOKEN_INVALID", "The token is not valid.")
		}
		if planned != nil {
			return nil, planned
		}
		return next(ctx, req)
	}
}

func key(m proto.Message) string {
	return string(m.ProtoReflect().Descriptor().Name()) + " " + field(m, "name")
}

func field(m proto.Message, name protoreflect.Name) string {
	return m.ProtoReflect().Get(m.ProtoReflect().Descriptor().Fields().ByName(name)).String()
}

func get[M proto.Message](a *API, name string) (M, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var none M
	kind := string(none.ProtoReflect().Descriptor().Name())
	m, ok := a.resources[kind+" "+name].(M)
	if !ok {
		return none, Failure(connect.CodeNotFound, strings.ToUpper(kind)+"_NOT_FOUND", fmt.Sprintf("There is no %s %s.", strings.ToLower(kind), name))
	}
	return m, nil
}

// list returns a page in name order; the filter may be `server = "x"` or nothing.
func list[M proto.Message](a *API, size int32, token, filter string) ([]M, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	server, filtered := strings.CutPrefix(filter, "server = ")
	var all []M
	for _, m := range a.resources {
		if typed, ok := m.(M); ok && field(m, "name") > token && (!filtered || strconv.Quote(field(m, "server")) == server) {
			all = append(all, typed)
		}
	}
	slices.SortFunc(all, func(x, y M) int { return cmp.Compare(field(x, "name"), field(y, "name")) })
	n := int(size)
	if n == 0 {
		n = 100
	}
	if len(all) <= n {
		return all, ""
	}
	return all[:n], field(all[n-1], "name")
}

// store writes a resource and says what that did.
func (a *API) store(m proto.Message, dryRun bool) (action string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, ok := a.resources[key(m)]
	switch {
	case !ok:
		action = "created"
	case proto.Equal(old, m):
		return "unchanged"
	default:
		action = "updated"
	}
	if !dryRun {
		a.resources[key(m)] = m
		a.revision++
	}
	return action
}

func remove[M proto.Message](a *API, name, etag string) (uint64, error) {
	m, err := get[M](a, name)
	if err != nil {
		return 0, err
	}
	if etag != "" && etag != field(m, "etag") {
		return 0, Failure(connect.CodeAborted, "ETAG_STALE", "The resource was changed meanwhile.")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.resources, key(m))
	a.revision++
	return a.revision, nil
}

func (a *API) head() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.revision
}

// tool makes a discovered tool.
func tool(server, name string) *resourcev1.Tool {
	return &resourcev1.Tool{
		Name: server + "/" + name, Server: server, UpstreamName: name, State: resourcev1.ToolState_TOOL_STATE_ACTIVE,
		Definition: []byte(`{"name":"` + name + `"}`), DefinitionHash: strings.Repeat("a", 64),
	}
}
