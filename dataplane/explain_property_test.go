// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/explain"
	"github.com/penstockhq/penstock/dataplane/internal/limit"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/quota"
)

// chance is a source of configurations and calls; the same seed makes the same.
type chance struct{ *rand.Rand }

func (c chance) is(one, of int) bool { return c.IntN(of) < one }

func pickOf[T any](c chance, list ...T) T { return list[c.IntN(len(list))] }

// randomPolicies are rules on everything that a condition can look at.
func randomPolicies(c chance) (out []*resourcev1.Policy) {
	for i := range c.IntN(5) {
		r := &resourcev1.Policy{Name: fmt.Sprintf("p%d", i), Action: resourcev1.PolicyAction(1 + c.IntN(4)), Reason: pickOf(c, "", "Ask SRE.")}
		r.When = pickOf(c, "", "", `args.message == "secret"`, `args.message > 1`, `"eng" in caller.teams`, `caller.auth_method == "oauth"`,
			`caller.email == "u1"`, `context.untrusted`, `tool.name == "echo"`, `args.list.exists(x, x == "b")`, `caller.client_id != ""`, `request.headers["x-ticket"] == "T"`)
		if r.GetAction() == resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL {
			r.Approvers = pickOf(c, &resourcev1.Approvers{Users: []string{"u2"}}, &resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}})
		}
		if c.is(1, 3) {
			r.Tools = []string{pickOf(c, "srv__*", "srv__echo", "*__own", "*")}
		}
		if c.is(1, 4) {
			r.Mode = resourcev1.PolicyMode_POLICY_MODE_SHADOW
		}
		if c.is(1, 6) {
			r.Gateways = []string{pickOf(c, "rand", "other", "r*")}
		}
		out = append(out, r)
	}
	return out
}

// randomView puts the gateway "rand" and all that is behind it.
func randomView(t testing.TB, c chance, w *rsWorld, b *view.Builder) {
	t.Helper()
	for _, r := range randomPolicies(c) {
		p, err := compile.MakePolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		b.PutPolicy(r.GetName(), p)
	}
	url := "http://127.0.0.1/mcp"
	b.PutServer("keyed", &view.Server{Name: "keyed", URL: url, Protocol: modernVersion, NeedsSecret: true})
	b.PutConnection("keyless", &view.Connection{Name: "keyless", UID: "c-keyless", Server: "keyed", OwnerKind: compile.OwnerOrganization})
	b.PutServer("own", &view.Server{Name: "own", URL: url, Protocol: modernVersion, OwnOnly: c.is(1, 3)})
	b.PutServer("person", &view.Server{Name: "person", URL: url, Protocol: modernVersion, CallerOnly: true})
	b.PutConnection("person", &view.Connection{Name: "person", UID: "c-person", Server: "person", OwnerKind: compile.OwnerOrganization})
	for i, owner := range []struct {
		kind compile.OwnerKind
		name string
	}{{compile.OwnerUser, "u1"}, {compile.OwnerTeam, "support"}, {compile.OwnerOrganization, ""}} {
		if c.is(1, 3) {
			name := fmt.Sprintf("own-%d", i)
			b.PutConnection(name, &view.Connection{Name: name, UID: "c-" + name, Server: "own", OwnerKind: owner.kind, Owner: owner.name})
		}
	}
	echo := aTool("srv", "echo", `{"name":"echo","inputSchema":{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}}`)
	write := aTool("srv", "write", `{"name":"write","inputSchema":{"type":"object"}}`)
	write.RequiredScopes = []string{"mcp:write"}
	if c.is(1, 3) {
		echo.Fixed = pickOf(c, []compile.FixedArgument{{Name: "message", Value: []byte(`"secret"`)}}, []compile.FixedArgument{{Name: "list", Value: []byte(`["b"]`)}})
	}
	held := aTool("srv", "held", `{"name":"held","inputSchema":{"type":"object"}}`)
	held.Held = true
	lost := aTool("gone", "lost", `{"name":"lost","inputSchema":{"type":"object"}}`)
	unplugged := aTool("srv", "unplugged", `{"name":"unplugged","inputSchema":{"type":"object"}}`)
	unplugged.Connection = "deleted"
	keyed := aTool("keyed", "keyed", `{"name":"keyed","inputSchema":{"type":"object"}}`)
	keyed.Connection = "keyless"
	own := aTool("own", "own", `{"name":"own","inputSchema":{"type":"object"}}`)
	own.Connection, own.AtCall = "", true
	person := aTool("person", "person", `{"name":"person","inputSchema":{"type":"object"}}`)
	tools := []*view.Tool{echo, held, keyed, lost, own, person, unplugged, write}
	tools = slices.DeleteFunc(tools, func(*view.Tool) bool { return c.is(1, 8) })
	slices.SortFunc(tools, func(a, b *view.Tool) int { return strings.Compare(a.Exposed, b.Exposed) })
	g := compile.Gateway{
		Name: "rand", UID: "uid-rand", OAuth: c.is(7, 8), BearerTokens: c.is(7, 8), Disabled: c.is(1, 12), LoadToolsWhenNeeded: c.is(1, 3),
		BlockUnmatched: c.is(1, 3), Contexts: compile.Contexts(c.IntN(3)), PassedHeaders: []string{"X-Ticket"},
		Visibility: pickOf(c, view.Visibility{Organization: true}, view.Visibility{Organization: true}, view.Visibility{Teams: []string{"eng"}},
			view.Visibility{Teams: []string{"eng", "support"}}, view.Visibility{Owner: "u1"}, view.Visibility{Owner: "u2"}),
	}
	if c.is(1, 3) {
		g.CallLimits = []compile.RateLimit{{Rule: fmt.Sprint("r", c.Uint64()), Per: compile.RatePer(c.IntN(6)), Amount: 1, Period: time.Hour, Burst: 1}}
	}
	b.PutGateway(&view.Gateway{Gateway: g, Tools: tools})
	for _, kind := range []struct {
		name, owner string
		kind        compile.OwnerKind
	}{{"t-user", "u1", compile.OwnerUser}, {"t-team", "support", compile.OwnerTeam}, {"t-org", "", compile.OwnerOrganization}, {"t-bot", "bot", compile.OwnerServiceAccount}} {
		text, hash := ident.MintBearer(ident.KindUser)
		w.static[kind.name] = text
		token := &view.Token{
			Name: kind.name, UID: "uid-" + kind.name, OwnerKind: kind.kind, Owner: kind.owner, Gateways: map[string]struct{}{"rand": {}},
			Scopes: pickOf(c, []string{"mcp"}, []string{"mcp", "mcp:write"}),
		}
		if c.is(1, 10) {
			token.Gateways = map[string]struct{}{"eng": {}}
		}
		if c.is(1, 10) {
			token.Expires = time.Now().Add(-time.Minute)
		}
		b.PutToken(hash, token)
	}
}

// randomCall is a question and the request that it is about.
type randomCall struct {
	question *resourcev1.ExplainQuestion
	token    string
	body     string
	headers  []string
}

func (w *rsWorld) randomCall(c chance) randomCall {
	lazy := w.node.holder.Load().Gateway("rand").LoadToolsWhenNeeded
	tool := pickOf(c, "srv__echo", "srv__echo", "srv__echo", "srv__echo", "srv__write", "srv__held", "gone__lost", "own__own", "keyed__keyed", "person__person", "srv__unplugged", "echo", "SRV__ECHO", "nope", "run_tool")
	arguments := pickOf(c, `{"message":"x"}`, `{"message":"x"}`, `{}`, `{"message":1}`, `{"message":"secret"}`, `{"message":"x","list":["a","b"]}`, `{"message":"x","list":"b"}`)
	r := randomCall{question: &resourcev1.ExplainQuestion{Gateway: "rand", Tool: tool, Args: arguments, Principal: &resourcev1.ExplainPrincipal{}}}
	if c.is(1, 2) {
		name := pickOf(c, "t-user", "t-team", "t-org", "t-bot")
		r.token, r.question.Principal.Who = w.static[name], &resourcev1.ExplainPrincipal_BearerToken{BearerToken: name}
	} else {
		user := pickOf(c, "u1", "u1", "u1", "u2", "gone")
		scopes := pickOf(c, "mcp", "mcp mcp:write")
		r.token = w.token(map[string]any{"sub": "uid-" + user, "aud": rsOrigin + "/v1/mcp/rand", "scope": scopes})
		r.question.Principal.Who, r.question.AuthMethod = &resourcev1.ExplainPrincipal_User{User: user}, "oauth"
		r.question.ClientId, r.question.Scopes = rsClient, strings.Fields(scopes)
	}
	if c.is(1, 3) {
		r.question.Headers, r.headers = map[string]string{"x-ticket": "T"}, []string{"X-Ticket: T"}
	}
	if lazy && tool != "run_tool" {
		tool, arguments = "run_tool", `{"tool_name":"`+tool+`","arguments":`+arguments+`}`
	}
	meta := reserved
	if c.is(1, 2) { // its person cannot be asked
		meta = strings.Replace(reserved, declaredForms, "{}", 1)
	}
	r.body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + arguments + `,"_meta":{` + meta + `}}}`
	r.headers = append(r.headers, "MCP-Protocol-Version: "+modernVersion, "Mcp-Method: tools/call", "Mcp-Name: "+tool, bearer(r.token))
	return r
}

// becameOf reads the answer to a call: what became of it, and the word for it where it was refused with one.
func becameOf(t testing.TB, r rsReply) (verdict resourcev1.Verdict, reason string) {
	t.Helper()
	var m struct {
		Reason string
		Error  json.RawMessage
		Result struct {
			IsError           bool
			InputRequests     struct{ Approval json.RawMessage }
			StructuredContent struct {
				Penstock struct{ Type string } `json:"penstock_error"`
			}
		}
	}
	if err := json.Unmarshal([]byte(r.body), &m); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	reason = m.Result.StructuredContent.Penstock.Type
	if m.Reason != "" {
		reason = m.Reason
	}
	switch {
	case m.Result.InputRequests.Approval != nil, reason == "APPROVAL_REQUIRED", reason == "APPROVAL_CANNOT_ASK": // by what the client can show
		return resourcev1.Verdict_VERDICT_HELD, ""
	case r.status != 200 || m.Error != nil || m.Result.IsError:
		return resourcev1.Verdict_VERDICT_REFUSED, reason
	}
	return resourcev1.Verdict_VERDICT_ALLOWED, reason
}

// undecided are approvers who take their time.
type undecided struct{}

func (undecided) Hold(context.Context, call.Held) (call.Approval, error) {
	return call.Approval{ID: "a", State: call.ApprovalPending}, nil
}

func (undecided) Wait(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// explainer answers on the node of the world.
func (w *rsWorld) explainer(limits *limit.Rates) *explain.Explainer {
	return explain.New(explain.Config{View: w.node.holder, Front: w.node.edge, Callers: w.authn, Limits: limits, Calls: w.node.calls, Now: time.Now})
}

// TestExplainedAsCalled: whatever the configuration, what a node says of a call is what becomes of the call on that node, in the same
// word, and saying it changes nothing.
func TestExplainedAsCalled(t *testing.T) {
	inRS(t, rsOptions{}, func(w *rsWorld) {
		limits := limit.New(quota.NewLimiter(quota.Config{}), func(context.Context, string, string) {})
		w.node.calls.RateLimits = limits
		explainer, seen, verdicts := w.explainer(limits), make(map[string]int), make(map[resourcev1.Verdict]int)
		time.Sleep(time.Hour) // a node that has just started takes contexts for untrusted
		for seed := range uint64(400) {
			c := chance{rand.New(rand.NewPCG(seed, 7))}
			w.publish(func(b *view.Builder) { randomView(t, c, w, b) })
			w.node.calls.Approvals = undecided{}
			if c.is(1, 10) { // a node that cannot hold calls
				w.node.calls.Approvals = nil
			}
			if c.is(1, 4) {
				key := pickOf(c, view.Key{Kind: "team", Name: "eng"}, view.Key{Kind: "server", Name: "srv"}, view.Key{Kind: "user", Name: "u1"},
					view.Key{Kind: "assignment", Name: "rand/srv/echo"}, view.Key{Kind: "bearer_token", Name: "t-user"}, view.Key{Kind: "connection", Name: "srv"})
				w.node.holder.Deny(w.revision+1, []view.Key{key})
			}
			for range 6 {
				one := w.randomCall(c)
				w.origin.take()
				var said *resourcev1.Explanation
				for range 2 { // the second time as the first: nothing was counted
					e, err := explainer.Explain(t.Context(), one.question)
					if err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					if said != nil && (said.GetVerdict() != e.GetVerdict() || said.GetReason() != e.GetReason()) {
						t.Fatalf("seed %d: first %s, then %s", seed, prototext.Format(said), prototext.Format(e))
					}
					said = e
				}
				if got := w.origin.take(); len(got) > 0 {
					t.Fatalf("seed %d: the server was asked %v", seed, got)
				}
				reply := w.do("POST", "/v1/mcp/rand", one.body, one.headers...)
				verdict, reason := becameOf(t, reply)
				seen[said.GetReason()]++
				verdicts[verdict]++
				if verdict != said.GetVerdict() || reason != "" && reason != said.GetReason() {
					t.Errorf("seed %d: %s\nis answered %d %s\nsaid: %s", seed, one.body, reply.status, reply.body, prototext.Format(said))
				}
				if reached := len(w.origin.take()) > 0; reached != (verdict == resourcev1.Verdict_VERDICT_ALLOWED) {
					t.Errorf("seed %d: %s: the server was asked: %t", seed, one.body, reached)
				}
			}
		}
		for _, reason := range []string{
			"", "GATEWAY_ACCESS_DENIED", "TOKEN_INVALID", "TOKEN_REVOKED", "UNKNOWN_TOOL", "POLICY_BLOCKED", "TOOL_CHANGE_PENDING", "RATE_LIMITED",
			"SERVER_MISSING", "CONNECTION_MISSING", "CREDENTIAL_MISSING", "CREDENTIAL_REQUIRES_USER", "TOOL_ARGUMENTS_INVALID", "INSUFFICIENT_SCOPE", "APPROVAL_REQUIRES_USER",
		} {
			if seen[reason] == 0 {
				t.Errorf("%q never came up: %v", reason, slices.Sorted(maps.Keys(seen)))
			}
		}
		t.Logf("%v", verdicts)
		if n := verdicts[resourcev1.Verdict_VERDICT_HELD]; n < 20 {
			t.Errorf("%d calls were held: %v, %v", n, verdicts, seen)
		}
	})
}
