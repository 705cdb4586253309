// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/explain"
	"github.com/penstockhq/penstock/dataplane/internal/limit"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/quota"
)

func asPerson(name string) *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_User{User: name}}
}

func asToken(name string) *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_BearerToken{BearerToken: name}}
}

// steps writes the steps of an explanation as "node ok, scopes REFUSED".
func stepsOf(e *resourcev1.Explanation) string {
	var list []string
	for _, s := range e.GetSteps() {
		outcome := strings.TrimPrefix(s.GetOutcome().String(), "STEP_OUTCOME_")
		if s.GetOutcome() == resourcev1.StepOutcome_STEP_OUTCOME_OK {
			outcome = "ok"
		}
		list = append(list, s.GetStep()+" "+outcome)
	}
	return strings.Join(list, ", ")
}

// TestExplain is G-36: each refusal with its step and its word, and what is said besides.
func TestExplain(t *testing.T) {
	const (
		passed = "node ok, authentication ok, visibility ok, scopes ok, tool ok, state ok, policies ok, limits ok, credential ok"
		lazily = "node ok, authentication ok, visibility ok, scopes ok, tool ok, arguments ok, state ok, policies ok, limits ok, credential ok"

		askedFirst = "node ok, authentication ok, visibility ok, scopes ok, tool ok, state ok, policies ok, approval WOULD_HOLD, limits ok, credential ok"
	)
	hour := []compile.RateLimit{{Rule: "r", Per: compile.PerCaller, Amount: 1, Period: time.Hour, Burst: 1}}
	for _, tc := range []struct {
		name   string
		change func(w *rsWorld, b *view.Builder, g *view.Gateway)
		after  func(w *rsWorld) // the view is published
		ask    func(q *resourcev1.ExplainQuestion)
		want   string // verdict, deciding step, reason
		steps  string // empty: not looked at
		says   string // a part of the whole answer
	}{
		{name: "all in order", want: "ALLOWED", steps: passed, says: `state:"none"`},
		{name: "a team's token", ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_Team{Team: "eng"}
		}, want: "ALLOWED", steps: passed, says: `kind:"team"`},
		{name: "a team's token elsewhere", ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_Team{Team: "support"}
		}, want: "REFUSED visibility GATEWAY_ACCESS_DENIED", steps: strings.Replace(passed, "visibility ok", "visibility REFUSED", 1)},
		{name: "a team that is not there", ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_Team{Team: "none"}
		}, want: "REFUSED authentication TOKEN_INVALID", steps: "node ok, authentication REFUSED"},
		{name: "a token of the organisation", ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_Organization{Organization: true}
		}, want: "REFUSED visibility GATEWAY_ACCESS_DENIED"},
		{name: "a machine", change: func(_ *rsWorld, b *view.Builder, _ *view.Gateway) {
			b.PutClient("ci", &view.Client{Name: "ci", UID: "uid-ci", Machine: true, Gateways: map[string]struct{}{"eng": {}}, Scopes: []string{"mcp"}})
		}, ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_ServiceAccount{ServiceAccount: "ci"}
		}, want: "ALLOWED", says: `auth_method:"client_credentials"`},
		{name: "a machine at a gateway that it has not", change: func(_ *rsWorld, b *view.Builder, _ *view.Gateway) {
			b.PutClient("ci", &view.Client{Name: "ci", UID: "uid-ci", Machine: true, Scopes: []string{"mcp"}})
		}, ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_ServiceAccount{ServiceAccount: "ci"}
		}, want: "REFUSED visibility GATEWAY_ACCESS_DENIED"},
		{name: "a machine that is none", ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_ServiceAccount{ServiceAccount: "ci"}
		}, want: "REFUSED authentication TOKEN_REVOKED"},
		{name: "a bearer token", ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asToken("u1") }, want: "ALLOWED", says: `bearer_token:"u1"`},
		{name: "one that has expired", ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asToken("old") }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "one whose owner has left", ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asToken("gone") }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "one that is not there", ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asToken("none") }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "one that was revoked a moment ago", after: func(w *rsWorld) {
			w.node.holder.Deny(w.revision+1, []view.Key{{Kind: "bearer_token", Name: "u1"}})
		}, ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asToken("u1") }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "somebody who has left", ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asPerson("gone") }, want: "REFUSED authentication TOKEN_REVOKED"},
		{name: "somebody of another team", ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asPerson("u2") }, want: "REFUSED visibility GATEWAY_ACCESS_DENIED"},
		{name: "out of the team a moment ago", after: func(w *rsWorld) {
			w.node.holder.Deny(w.revision+1, []view.Key{{Kind: "team_member", Name: "eng/u1"}})
		}, want: "REFUSED visibility GATEWAY_ACCESS_DENIED"},
		{name: "a client that is disabled", change: func(_ *rsWorld, b *view.Builder, _ *view.Gateway) {
			b.PutClient("c", &view.Client{Name: "c", Disabled: true})
		}, ask: func(q *resourcev1.ExplainQuestion) { q.ClientId = "c" }, want: "REFUSED authentication TOKEN_REVOKED"},
		{name: "a gateway that is disabled", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.Disabled = true }, want: "REFUSED visibility GATEWAY_ACCESS_DENIED"},
		{name: "a gateway that takes no token", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.OAuth, g.BearerTokens = false, false }, want: "REFUSED authentication GATEWAY_NOT_READY"},
		{name: "a method that it does not take", ask: func(q *resourcev1.ExplainQuestion) { q.AuthMethod = "id_jag" }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "another that it does not take", ask: func(q *resourcev1.ExplainQuestion) { q.AuthMethod = "jwks" }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "static tokens where there are none", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.BearerTokens = false }, ask: func(q *resourcev1.ExplainQuestion) { q.AuthMethod = "bearer_token" }, want: "REFUSED authentication TOKEN_INVALID"},
		{name: "an identity provider that knows the person", change: withProvider("u1"), ask: func(q *resourcev1.ExplainQuestion) { q.AuthMethod, q.ClientId = "jwks", "c" }, want: "ALLOWED", says: `auth_method:"jwks"`},
		{name: "one that does not", change: withProvider("u2"), ask: func(q *resourcev1.ExplainQuestion) { q.AuthMethod = "jwks" }, want: "REFUSED visibility GATEWAY_ACCESS_DENIED"},
		{name: "a clock that is wrong", after: func(w *rsWorld) { w.skewed.Store(true) }, want: "REFUSED node CLOCK_SKEW"},
		{name: "a view that is too old", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.MaxStale = time.Minute }, after: func(w *rsWorld) { w.stale.Store(int64(time.Hour)) }, want: "REFUSED node CONFIG_STALE"},
		{name: "revocations that are not known", after: func(w *rsWorld) { w.stale.Store(int64(time.Hour)) }, want: "REFUSED authentication REVOCATIONS_STALE"},
		{name: "a scope that is missing", ask: func(q *resourcev1.ExplainQuestion) { q.Tool, q.Scopes = "srv__write", []string{"mcp"} }, want: "REFUSED scopes INSUFFICIENT_SCOPE", steps: strings.Replace(passed, "scopes ok", "scopes REFUSED", 1)},
		{name: "all scopes unless it says which", ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "srv__write" }, want: "ALLOWED"},
		{name: "requests used up", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.RequestLimits = hour }, after: func(w *rsWorld) { w.use(false) }, want: "REFUSED request_limits RATE_LIMITED", says: "left:0"},
		{name: "requests left", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.RequestLimits = hour }, want: "ALLOWED", says: "left:1"},
		{name: "a tool that is not there", ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "nope" }, want: "REFUSED tool UNKNOWN_TOOL", steps: "node ok, authentication ok, visibility ok, scopes ok, tool REFUSED"},
		{name: "another letter case", ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "SRV__ECHO" }, want: "REFUSED tool UNKNOWN_TOOL", says: `close_matches:"srv__echo"`},
		{name: "its bare name", ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "echo" }, want: "REFUSED tool UNKNOWN_TOOL", says: `close_matches:"srv__echo"`},
		{name: "by its server", ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "srv/echo" }, want: "ALLOWED", says: `exposed_name:"srv__echo"`},
		{name: "unassigned a moment ago", after: func(w *rsWorld) {
			w.node.holder.Deny(w.revision+1, []view.Key{{Kind: "assignment", Name: "eng/srv/echo"}})
		}, want: "REFUSED tool UNKNOWN_TOOL"},
		{name: "run_tool", change: lazy, want: "ALLOWED", steps: lazily},
		{name: "run_tool, its bare name", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "echo" }, want: "ALLOWED", steps: lazily},
		{name: "run_tool, another letter case", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Tool = "SRV__ECHO" }, want: "REFUSED tool UNKNOWN_TOOL", says: `close_matches:"srv__echo"`},
		{name: "run_tool, wrong arguments", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Args = `{"message":1}` }, want: "REFUSED arguments TOOL_ARGUMENTS_INVALID", says: "$.message"},
		{name: "run_tool, no arguments", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Args = `{}` }, want: "REFUSED arguments TOOL_ARGUMENTS_INVALID"},
		{name: "run_tool, arguments that are not known", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Args = "" }, want: "ALLOWED", steps: strings.Replace(lazily, "arguments ok", "arguments UNKNOWN", 1)},
		{name: "run_tool by its own name", change: lazy, ask: func(q *resourcev1.ExplainQuestion) {
			q.Tool, q.Args = "run_tool", `{"tool_name":"echo","tool_args":{"message":"x"}}`
		}, want: "ALLOWED", steps: lazily},
		{name: "run_tool of itself", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Tool, q.Args = "run_tool", `{"tool_name":"run_tool"}` }, want: "REFUSED tool TOOL_NOT_RUNNABLE"},
		{name: "run_tool of nothing", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Tool, q.Args = "run_tool", `{}` }, want: "REFUSED arguments JSONRPC_INVALID_PARAMS"},
		{name: "search_tools", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Tool, q.Args = "search_tools", `{"query":"x"}` }, want: "ALLOWED"},
		{name: "search_tools for nothing", change: lazy, ask: func(q *resourcev1.ExplainQuestion) { q.Tool, q.Args = "search_tools", `{}` }, want: "REFUSED arguments JSONRPC_INVALID_PARAMS"},
		{name: "held", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.Tools[0].Held = true }, want: "REFUSED state TOOL_CHANGE_PENDING", steps: strings.Replace(passed, "state ok", "state REFUSED", 1)},
		{name: "blocked", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.message == "x"`, Reason: "Ask."}), want: "REFUSED policies POLICY_BLOCKED", says: `rules:{policy:"a" covers:true evaluated:true matched:true action:"BLOCK" decided:true}`},
		{name: "arguments that are not known match nothing", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.message == "x"`}), ask: func(q *resourcev1.ExplainQuestion) { q.Args = "" }, want: "ALLOWED", says: `rules:{policy:"a" covers:true evaluated:true action:"BLOCK"}`},
		{name: "every rule", change: ruledBy(
			&resourcev1.Policy{Name: "b", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK}, &resourcev1.Policy{Name: "z", Action: resourcev1.PolicyAction_POLICY_ACTION_ALLOW},
			&resourcev1.Policy{Name: "o", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, Tools: []string{"other__*"}},
			&resourcev1.Policy{Name: "s", Action: resourcev1.PolicyAction_POLICY_ACTION_ALLOW, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW},
		), want: "REFUSED policies POLICY_BLOCKED", says: `rules:{policy:"b" covers:true evaluated:true matched:true action:"BLOCK" decided:true} rules:{policy:"o" action:"BLOCK"} ` +
			`rules:{policy:"z" covers:true matched:true action:"ALLOW"} rules:{policy:"s" covers:true evaluated:true matched:true action:"ALLOW" shadow:true}`},
		{name: "a condition that fails", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.message > 1`}), want: "REFUSED policies POLICY_BLOCKED", says: `matched:true action:"BLOCK" error:"`},
		{name: "the default", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.BlockUnmatched = true }, want: "REFUSED policies POLICY_BLOCKED", says: `rules:{covers:true evaluated:true matched:true action:"BLOCK" decided:true}`},
		{name: "an untrusted context", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED}), ask: func(q *resourcev1.ExplainQuestion) { q.Untrusted = proto.Bool(true) }, want: "REFUSED policies POLICY_BLOCKED"},
		{name: "a trusted context", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED}), ask: func(q *resourcev1.ExplainQuestion) { q.Untrusted = proto.Bool(false) }, want: "ALLOWED"},
		{name: "sources", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `"web" in context.sources`}), ask: func(q *resourcev1.ExplainQuestion) { q.Untrusted, q.Sources = proto.Bool(true), []string{"web"} }, want: "REFUSED policies POLICY_BLOCKED"},
		{name: "another time", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `request.time.getFullYear() == 2031`}), ask: func(q *resourcev1.ExplainQuestion) {
			q.Time = timestamppb.New(time.Date(2031, 5, 1, 0, 0, 0, 0, time.UTC))
		}, want: "REFUSED policies POLICY_BLOCKED"},
		{name: "headers", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			g.PassedHeaders = []string{"X-Ticket"}
			ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `request.headers["x-ticket"] == "T"`})(w, b, g)
		}, ask: func(q *resourcev1.ExplainQuestion) { q.Headers = map[string]string{"x-ticket": "T"} }, want: "REFUSED policies POLICY_BLOCKED"},
		{name: "headers that do not pass", change: ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `request.headers["x-ticket"] == "T"`}), ask: func(q *resourcev1.ExplainQuestion) { q.Headers = map[string]string{"x-ticket": "T"} }, want: "ALLOWED"},
		{name: "calls used up", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.CallLimits = hour }, after: func(w *rsWorld) { w.use(true) }, want: "REFUSED limits RATE_LIMITED", says: `per:"CALLER" limit:1 period:{seconds:3600} burst:1`},
		{name: "a server that is gone", after: func(w *rsWorld) {
			w.node.holder.Deny(w.revision+1, []view.Key{{Kind: "connection", Name: "srv"}})
		}, want: "REFUSED credential CONNECTION_MISSING", says: `state:"missing"`},
		{name: "no secret", change: func(_ *rsWorld, b *view.Builder, _ *view.Gateway) {
			b.PutServer("srv", &view.Server{Name: "srv", URL: "http://127.0.0.1/mcp", Protocol: modernVersion, NeedsSecret: true})
		}, want: "REFUSED credential CREDENTIAL_MISSING"},
		{name: "held for its approvers", change: heldFor(&resourcev1.Approvers{Users: []string{"u2"}}), want: "HELD approval", steps: askedFirst, says: `outcome:STEP_OUTCOME_WOULD_HOLD sentence:"The policy \"a\" holds the call until its approvers decide."`},
		{name: "held for the caller", change: heldFor(&resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}), want: "HELD approval", steps: askedFirst, says: `The policy \"a\" has the person who calls confirm it, in a client that offers elicitation with forms.`},
		{name: "held, with its rule", change: heldFor(&resourcev1.Approvers{Users: []string{"u2"}}), want: "HELD approval", says: `rules:{policy:"a" covers:true evaluated:true matched:true action:"REQUIRE_APPROVAL" decided:true}`},
		{name: "run_tool, held", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			lazy(w, b, g)
			heldFor(&resourcev1.Approvers{Users: []string{"u2"}})(w, b, g)
		}, want: "HELD approval", steps: strings.Replace(lazily, "policies ok", "policies ok, approval WOULD_HOLD", 1)},
		{name: "held before the limits", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			g.CallLimits = hour
			heldFor(&resourcev1.Approvers{Users: []string{"u2"}})(w, b, g)
		}, after: func(w *rsWorld) { w.use(true) }, want: "HELD approval", steps: strings.Replace(askedFirst, "limits ok", "limits REFUSED", 1)},
		{name: "nobody's token cannot confirm", change: heldFor(&resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}), ask: func(q *resourcev1.ExplainQuestion) {
			q.Principal.Who = &resourcev1.ExplainPrincipal_Team{Team: "eng"}
		}, want: "REFUSED approval APPROVAL_REQUIRES_USER", steps: strings.Replace(askedFirst, "WOULD_HOLD", "REFUSED", 1)},
		{name: "nobody is asked about what cannot run", change: heldFor(&resourcev1.Approvers{Users: []string{"u2"}}), after: func(w *rsWorld) {
			w.node.holder.Deny(w.revision+1, []view.Key{{Kind: "connection", Name: "srv"}})
		}, want: "REFUSED approval CONNECTION_MISSING", steps: strings.NewReplacer("WOULD_HOLD", "REFUSED", "credential ok", "credential REFUSED").Replace(askedFirst)},
		{name: "a node that cannot hold calls", change: heldFor(&resourcev1.Approvers{Users: []string{"u2"}}), after: func(w *rsWorld) {
			w.node.calls.Approvals = nil
		}, want: "REFUSED approval POLICY_BLOCKED", says: "this node cannot hold calls"},
		{name: "not held for other arguments", change: ruledBy(&resourcev1.Policy{
			Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Approvers: &resourcev1.Approvers{Users: []string{"u2"}}, When: `args.message == "y"`,
		}), want: "ALLOWED", steps: strings.Replace(passed, "state ok", "state ok, argument_names ok", 1)},
		{
			name: "an argument that may be taken for one that a policy reads", change: ruledBy(&resourcev1.Policy{
				Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Approvers: &resourcev1.Approvers{Users: []string{"u2"}}, When: `args.message == "y"`,
			}), ask: func(q *resourcev1.ExplainQuestion) { q.Args = `{"Message":"y"}` }, want: "REFUSED argument_names TOOL_ARGUMENTS_INVALID",
			steps: strings.Replace(passed, "state ok", "state ok, argument_names REFUSED", 1),
		},
		{name: "only counted", change: ruledBy(&resourcev1.Policy{
			Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Approvers: &resourcev1.Approvers{Users: []string{"u2"}}, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW,
		}), want: "ALLOWED", steps: passed, says: `matched:true action:"REQUIRE_APPROVAL" shadow:true`},
		{name: "fixed arguments", change: fixes("message", `"fixed"`), want: "ALLOWED", steps: strings.Replace(passed, "tool ok", "tool ok, fixed_arguments ok", 1)},
		{name: "policies see what is fixed", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			fixes("message", `"fixed"`)(w, b, g)
			ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.message == "fixed"`})(w, b, g)
		}, want: "REFUSED policies POLICY_BLOCKED"},
		{name: "policies see what is fixed where no arguments are known", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			fixes("message", `"fixed"`)(w, b, g)
			ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `args.message == "fixed"`})(w, b, g)
		}, ask: func(q *resourcev1.ExplainQuestion) { q.Args = "" }, want: "REFUSED policies POLICY_BLOCKED"},
		{name: "run_tool, fixed arguments", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			lazy(w, b, g)
			fixes("message", `"fixed"`)(w, b, g)
		}, want: "ALLOWED", steps: strings.Replace(lazily, "arguments ok", "arguments ok, fixed_arguments ok", 1)},
		{name: "result policies", change: marking(
			&resourcev1.ResultPolicy{Name: "m", Mark: resourcev1.ResultMark_RESULT_MARK_UNTRUSTED}, &resourcev1.ResultPolicy{Name: "o", Mark: resourcev1.ResultMark_RESULT_MARK_BLOCK, Tools: []string{"other__*"}},
		), want: "ALLOWED", steps: passed + ", result_policies ok", says: `rules:{policy:"m" covers:true evaluated:true matched:true action:"UNTRUSTED" decided:true}`},
		{name: "fixed arguments, held, result policies", change: func(w *rsWorld, b *view.Builder, g *view.Gateway) {
			fixes("message", `"fixed"`)(w, b, g)
			heldFor(&resourcev1.Approvers{Users: []string{"u2"}})(w, b, g)
			marking(&resourcev1.ResultPolicy{Name: "m", Mark: resourcev1.ResultMark_RESULT_MARK_REDACT, Redact: []string{"x"}, When: `args.message == "fixed"`})(w, b, g)
		}, want: "HELD approval", steps: strings.Replace(askedFirst, "tool ok, state ok", "tool ok, fixed_arguments ok, state ok, argument_names ok", 1) + ", result_policies ok", says: `matched:true action:"REDACT" decided:true`},
		{
			name: "what is refused first decides", change: func(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.Tools[0].Held, g.BlockUnmatched = true, true }, ask: func(q *resourcev1.ExplainQuestion) { q.Principal = asPerson("u2") }, want: "REFUSED visibility GATEWAY_ACCESS_DENIED",
			steps: "node ok, authentication ok, visibility REFUSED, scopes ok, tool ok, state REFUSED, policies REFUSED, limits ok, credential ok",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inRS(t, rsOptions{}, func(w *rsWorld) {
				w.limits = limit.New(quota.NewLimiter(quota.Config{}), func(context.Context, string, string) {})
				w.node.calls.RateLimits, w.node.calls.Approvals = w.limits, undecided{}
				w.publish(func(b *view.Builder) { w.putEng(b, tc.change) })
				if tc.after != nil {
					tc.after(w)
				}
				q := &resourcev1.ExplainQuestion{Gateway: "eng", Tool: "srv__echo", Args: `{"message":"x"}`, Principal: asPerson("u1")}
				if tc.ask != nil {
					tc.ask(q)
				}
				e, err := w.explainer(w.limits).Explain(w.t.Context(), q)
				if err != nil {
					w.t.Fatal(err)
				}
				got := strings.TrimSpace(strings.TrimPrefix(e.GetVerdict().String(), "VERDICT_") + " " + e.GetDecidedBy() + " " + e.GetReason())
				text := strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(e)), " ")
				if got != tc.want || tc.steps != "" && stepsOf(e) != tc.steps || !strings.Contains(text, tc.says) {
					w.t.Errorf("got %s\nwant %s\nsteps %s\nwant  %s\nin %s\nwant %s", got, tc.want, stepsOf(e), tc.steps, text, tc.says)
				}
				if e.GetRevision() != w.revision || (e.GetSentence() == "") != (e.GetVerdict() == resourcev1.Verdict_VERDICT_ALLOWED) {
					w.t.Errorf("revision %d, %q", e.GetRevision(), e.GetSentence())
				}
				if got := w.origin.take(); len(got) > 0 {
					w.t.Errorf("the server was asked %v", got)
				}
			})
		})
	}
}

func lazy(_ *rsWorld, _ *view.Builder, g *view.Gateway) { g.LoadToolsWhenNeeded = true }

// ruledBy puts policies.
func ruledBy(list ...*resourcev1.Policy) func(*rsWorld, *view.Builder, *view.Gateway) {
	return func(w *rsWorld, b *view.Builder, _ *view.Gateway) {
		for _, r := range list {
			p, err := compile.MakePolicy(r)
			if err != nil {
				w.t.Fatal(err)
			}
			b.PutPolicy(r.GetName(), p)
		}
	}
}

// heldFor holds every call.
func heldFor(by *resourcev1.Approvers) func(*rsWorld, *view.Builder, *view.Gateway) {
	return ruledBy(&resourcev1.Policy{Name: "a", Action: resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL, Approvers: by})
}

// fixes fixes an argument of the first tool.
func fixes(name, value string) func(*rsWorld, *view.Builder, *view.Gateway) {
	return func(_ *rsWorld, _ *view.Builder, g *view.Gateway) {
		g.Tools[0].Fixed = []compile.FixedArgument{{Name: name, Value: []byte(value)}}
	}
}

// marking puts result policies.
func marking(list ...*resourcev1.ResultPolicy) func(*rsWorld, *view.Builder, *view.Gateway) {
	return func(w *rsWorld, b *view.Builder, _ *view.Gateway) {
		for _, r := range list {
			p, err := compile.MakeResultPolicy(r)
			if err != nil {
				w.t.Fatal(err)
			}
			b.PutResultPolicy(r.GetName(), p)
		}
	}
}

// withProvider makes the gateway accept tokens of an identity provider that knows one person.
func withProvider(user string) func(*rsWorld, *view.Builder, *view.Gateway) {
	return func(_ *rsWorld, b *view.Builder, g *view.Gateway) {
		b.PutProvider("okta", &view.Provider{Name: "okta", Issuer: "https://127.0.0.1"})
		b.PutUser(user, &view.User{Name: user, UID: "uid-" + user, Identities: []view.Identity{{Issuer: "https://127.0.0.1", Subject: "s"}}})
		g.JWKS = []view.JWKSIssuer{{Provider: "okta"}}
	}
}

// putEng puts the gateway that questions are about.
func (w *rsWorld) putEng(b *view.Builder, change func(*rsWorld, *view.Builder, *view.Gateway)) {
	write := aTool("srv", "write", `{"name":"write","inputSchema":{"type":"object"}}`)
	write.RequiredScopes = []string{"mcp:write"}
	g := &view.Gateway{
		Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", Visibility: view.Visibility{Teams: []string{"eng"}}, OAuth: true, BearerTokens: true},
		Tools: []*view.Tool{
			aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}}`), write,
		},
	}
	if change != nil {
		change(w, b, g)
	}
	b.PutGateway(g)
}

// use counts one request, or one call, of u1.
func (w *rsWorld) use(tool bool) {
	w.t.Helper()
	s := w.node.holder.Load()
	g := s.Gateway("eng")
	p, err := w.authn.Assume(s, g, call.Assumed{Kind: ident.KindUser, Name: "u1"})
	if err != nil {
		w.t.Fatal(err)
	}
	if tool {
		err = w.limits.Call(w.t.Context(), s, g, p, g.Tools[0])
	} else {
		err = w.limits.Request(w.t.Context(), s, g, p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestExplainRefuses: questions that have no answer.
func TestExplainRefuses(t *testing.T) {
	inRS(t, rsOptions{}, func(w *rsWorld) {
		limits := limit.New(quota.NewLimiter(quota.Config{}), func(context.Context, string, string) {})
		for _, tc := range []struct {
			q    *resourcev1.ExplainQuestion
			kind fault.Kind
			want string
		}{
			{&resourcev1.ExplainQuestion{Gateway: "none", Tool: "x"}, fault.NotFound, explain.ReasonNoGateway},
			{&resourcev1.ExplainQuestion{Gateway: "eng", Tool: "x", Args: "[]"}, fault.Invalid, explain.ReasonArguments},
			{&resourcev1.ExplainQuestion{Gateway: "eng", Tool: "x", Args: `{"a":`}, fault.Invalid, explain.ReasonArguments},
			{&resourcev1.ExplainQuestion{Gateway: "eng", Tool: "x", Args: `{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`}, fault.Invalid, explain.ReasonArguments},
		} {
			e, err := w.explainer(limits).Explain(w.t.Context(), tc.q)
			if f := fault.From(err); err == nil || f.Kind != tc.kind || f.Reason != tc.want {
				t.Errorf("%v: %v, %v", tc.q, e, err)
			}
		}
		empty := explain.New(explain.Config{View: view.NewHolder(), Front: w.node.edge, Callers: w.authn, Limits: limits, Calls: w.node.calls, Now: time.Now})
		if _, err := empty.Explain(w.t.Context(), &resourcev1.ExplainQuestion{Gateway: "eng"}); fault.KindOf(err) != fault.Unavailable {
			t.Error(err)
		}
	})
}
