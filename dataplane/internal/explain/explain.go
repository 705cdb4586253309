// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Reasons of questions that cannot be answered.
const (
	// ReasonNoView (Unavailable): the node has no configuration yet.
	ReasonNoView = "VIEW_NOT_LOADED"
	// ReasonNoGateway (NotFound): the node knows no such gateway, or not yet.
	ReasonNoGateway = "GATEWAY_NOT_FOUND"
	// ReasonArguments (Invalid): the arguments are no JSON object.
	ReasonArguments = "ARGUMENTS_INVALID"
)

// Steps that are passed before dispatch, in the words of penstock.resource.v1.ExplainedStep.
const (
	stepNode           = "node"
	stepAuthentication = "authentication"
	stepVisibility     = "visibility"
	stepScopes         = "scopes"
	stepRequestLimits  = "request_limits"
)

// Views returns the snapshot that calls are decided by, nil before there is one.
type Views interface{ Load() *view.Snapshot }

// Front is what the HTTP front decides of a request (edge room).
type Front interface {
	// Serves returns why this node may not serve a gateway now, nil if it may.
	Serves(g *view.Gateway) error
	// Scoped returns why a principal's scopes do not cover a tools/call, by its name and raw arguments.
	Scoped(s *view.Snapshot, g *view.Gateway, p ident.Principal, name string, arguments []byte) error
	// Passes returns those headers of a request that the gateway passes on.
	Passes(g *view.Gateway, h http.Header) http.Header
}

// Callers makes principals (authn room).
type Callers interface {
	// Assume returns who a request would come from; the principal is complete also with a fault of another kind than Unauthenticated.
	Assume(s *view.Snapshot, g *view.Gateway, who call.Assumed) (ident.Principal, error)
}

// Limits knows how far limits are used up (limit room).
type Limits interface {
	// Look returns the limits that a call of a tool, or a request if that is nil, counts against.
	Look(ctx context.Context, s *view.Snapshot, g *view.Gateway, p ident.Principal, t *view.Tool) []call.DryLimit
}

// Calls takes a call as far as it goes (dispatch room).
type Calls interface {
	Explain(ctx context.Context, c call.Caller, k call.Call, dry *call.Dry)
}

// Config is what an Explainer needs; all of it is required.
type Config struct {
	View    Views
	Front   Front
	Callers Callers
	Limits  Limits
	Calls   Calls
	Now     func() time.Time
}

// Explainer answers questions about calls. It is safe for concurrent use.
type Explainer struct{ c Config }

// New returns an Explainer.
func New(c Config) *Explainer { return &Explainer{c} }

// Explain answers by the present snapshot. The question is as the contract has it; node and region of the answer are not filled in.
// Its faults are those of a question that cannot be answered: Unavailable VIEW_NOT_LOADED, NotFound GATEWAY_NOT_FOUND and Invalid
// ARGUMENTS_INVALID. That the call would be refused is an answer.
func (e *Explainer) Explain(ctx context.Context, q *resourcev1.ExplainQuestion) (*resourcev1.Explanation, error) {
	s := e.c.View.Load()
	if s == nil {
		return nil, fault.New(fault.Unavailable, ReasonNoView, "The node has no configuration yet.")
	}
	g := s.Gateway(q.GetGateway())
	if g == nil {
		return nil, fault.Newf(fault.NotFound, ReasonNoGateway,
			"The node does not know the gateway %q, or not yet: see penstock wait, and the gateway's regions.", q.GetGateway())
	}
	k, err := toCall(s, g, q)
	if err != nil {
		return nil, err
	}
	x := &explanation{Explanation: &resourcev1.Explanation{Revision: s.Revision, Time: timestamppb.New(e.c.Now())}}
	e.ask(ctx, x, q, s, g, k)
	x.decide()
	return x.Explanation, nil
}

// ask takes the call through its steps.
func (e *Explainer) ask(ctx context.Context, x *explanation, q *resourcev1.ExplainQuestion, s *view.Snapshot, g *view.Gateway, k call.Call) {
	x.step(stepNode, e.c.Front.Serves(g))
	p, err := e.c.Callers.Assume(s, g, assumed(q))
	x.caller(s, p, q.GetPrincipal().GetBearerToken())
	switch fault.KindOf(err) {
	case fault.Denied:
		x.step(stepAuthentication, nil)
		x.step(stepVisibility, err)
	case fault.Unauthenticated: // nothing is known of who calls
		x.step(stepAuthentication, err)
		return
	default:
		x.step(stepAuthentication, err)
		x.step(stepVisibility, nil)
	}
	x.step(stepScopes, e.c.Front.Scoped(s, g, p, k.Name, k.Message.P.Arguments.Of(k.Body)))
	x.limits(stepRequestLimits, e.c.Limits.Look(ctx, s, g, p, nil))
	headers := make(http.Header, len(q.GetHeaders()))
	for name, value := range q.GetHeaders() {
		headers.Set(name, value)
	}
	dry := &call.Dry{ArgumentsUnknown: q.GetArgs() == "", Untrusted: q.Untrusted, Sources: q.GetSources()}
	if q.GetTime() != nil {
		dry.Time = q.GetTime().AsTime()
	}
	e.c.Calls.Explain(ctx, call.Caller{
		Principal: p, Snapshot: s, Gateway: g, Version: wire.Latest, Passed: e.c.Front.Passes(g, headers),
	}, k, dry)
	x.dry(dry)
}

// assumed is who the question is about.
func assumed(q *resourcev1.ExplainQuestion) call.Assumed {
	a := call.Assumed{Method: q.GetAuthMethod(), Client: q.GetClientId(), Scopes: q.GetScopes()}
	switch who := q.GetPrincipal().GetWho().(type) {
	case *resourcev1.ExplainPrincipal_User:
		a.Kind, a.Name = ident.KindUser, who.User
	case *resourcev1.ExplainPrincipal_Team:
		a.Kind, a.Name = ident.KindTeam, who.Team
	case *resourcev1.ExplainPrincipal_ServiceAccount:
		a.Kind, a.Name = ident.KindServiceAccount, who.ServiceAccount
	case *resourcev1.ExplainPrincipal_Organization:
		a.Kind = ident.KindOrganization
	case *resourcev1.ExplainPrincipal_BearerToken:
		a.Token = who.BearerToken
	}
	return a
}

// toCall writes the request as a client would: of a gateway that loads tools when needed, a run_tool.
func toCall(s *view.Snapshot, g *view.Gateway, q *resourcev1.ExplainQuestion) (call.Call, error) {
	arguments := []byte(strings.TrimSpace(q.GetArgs()))
	if len(arguments) > 0 && (!wire.Valid(arguments) || !wire.IsObject(arguments)) {
		return call.Call{}, fault.New(fault.Invalid, ReasonArguments, "The arguments must be a JSON object.")
	}
	name := called(s, g, q.GetTool())
	if g.LoadToolsWhenNeeded && !compile.Reserved(name) {
		b := wire.AppendString([]byte(`{"tool_name":`), name)
		if len(arguments) > 0 {
			b = append(append(b, `,"arguments":`...), arguments...)
		}
		name, arguments = compile.RunTool, append(b, '}')
	}
	b := wire.AppendString([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":`), name)
	if len(arguments) > 0 {
		b = append(append(b, `,"arguments":`...), arguments...)
	}
	b = append(b, `}}`...)
	m := new(wire.Message)
	if err := wire.Scan(b, m); err != nil {
		return call.Call{}, fault.New(fault.Invalid, ReasonArguments, "The arguments cannot be read: a client's request with them would be refused.").Because(err)
	}
	return call.Call{Method: "tools/call", Name: name, Params: m.Params.Of(b), Message: m, Body: b}, nil
}

// called is the name that a client uses for a tool that is named by it, or by its server and the name there.
func called(s *view.Snapshot, g *view.Gateway, name string) string {
	if s.Tool(g, name) != nil {
		return name
	}
	tools := s.Tools(g)
	if i := slices.IndexFunc(tools, func(t *view.Tool) bool { return t.Name == name }); i >= 0 {
		return tools[i].Exposed
	}
	return name
}

// explanation is an answer in the making.
type explanation struct {
	*resourcev1.Explanation
}

// step notes how a step ends.
func (x *explanation) step(name string, err error) *resourcev1.ExplainedStep {
	s := &resourcev1.ExplainedStep{Step: name, Outcome: resourcev1.StepOutcome_STEP_OUTCOME_OK}
	if f := fault.From(err); err != nil {
		s.Outcome, s.Reason, s.Sentence = resourcev1.StepOutcome_STEP_OUTCOME_REFUSED, f.Reason, f.Public
	}
	x.Steps = append(x.Steps, s)
	return s
}

// decide reads the verdict off the steps: the first refusal is what the caller gets, and what holds the call comes before what is
// behind it.
func (x *explanation) decide() {
	x.Verdict = resourcev1.Verdict_VERDICT_ALLOWED
	for _, s := range x.GetSteps() {
		switch s.GetOutcome() {
		case resourcev1.StepOutcome_STEP_OUTCOME_REFUSED:
			x.Verdict = resourcev1.Verdict_VERDICT_REFUSED
		case resourcev1.StepOutcome_STEP_OUTCOME_WOULD_HOLD:
			x.Verdict = resourcev1.Verdict_VERDICT_HELD
		case resourcev1.StepOutcome_STEP_OUTCOME_UNSPECIFIED, resourcev1.StepOutcome_STEP_OUTCOME_OK, resourcev1.StepOutcome_STEP_OUTCOME_UNKNOWN:
			continue
		}
		x.DecidedBy, x.Reason, x.Sentence = s.GetStep(), s.GetReason(), s.GetSentence()
		return
	}
}

// caller notes who would call.
func (x *explanation) caller(s *view.Snapshot, p ident.Principal, token string) {
	if p.Kind == "" {
		return
	}
	c := &resourcev1.ExplainedCaller{
		Kind: string(p.Kind), Name: p.Name, AuthMethod: p.Method, ClientId: p.ClientID, BearerToken: token, Scopes: p.Scopes,
	}
	s.Teams(p, func(t *view.Team) { c.Teams = append(c.Teams, t.Name) })
	slices.SortFunc(c.GetTeams(), cmp.Compare[string])
	x.Caller = c
}
