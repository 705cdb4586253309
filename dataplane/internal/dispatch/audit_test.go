// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// book is an audit that remembers.
type book struct {
	events []call.AuditEvent
	full   error
}

func (b *book) Admit() error { return b.full }

func (b *book) Record(e call.AuditEvent) { b.events = append(b.events, e) }

// auditCanary is the value of an argument of all calls of these tests.
const auditCanary = "9007199254740993"

// TestAudit: every call gives one event that says what came of it, the same by run_tool as directly but for the door (G-24, G-60).
func TestAudit(t *testing.T) {
	const (
		ok      = `{"content":[]}`
		deny    = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
		approve = resourcev1.PolicyAction_POLICY_ACTION_REQUIRE_APPROVAL
		modern  = wire.Latest
		legacy  = wire.V20251125
	)
	type want struct{ outcome, reason, policy, action, server, connection string }
	ran := want{outcome: call.OutcomeOK, server: "ev", connection: "shared"}
	refused := func(reason string) want {
		return want{outcome: call.OutcomeRefused, reason: reason, server: "ev", connection: "shared"}
	}
	for _, tt := range []struct {
		name    string
		version wire.Version
		tool    string // empty: ev__echo
		reply   string // result; empty: ok
		prepare func(w *world, d *Dispatcher, tool *view.Tool, c *call.Caller)
		rules   []*resourcev1.Policy
		want    want
	}{
		{name: "ok", want: ran},
		{name: "modern", version: modern, want: ran},
		{name: "failed", reply: `{"content":[],"isError":true}`, want: want{outcome: call.OutcomeToolError, server: "ev", connection: "shared"}},
		{name: "error of the server", prepare: func(w *world, _ *Dispatcher, _ *view.Tool, _ *call.Caller) {
			w.reply = call.Reply{Error: []byte(`{"code":-32000,"message":"no"}`)}
		}, reply: "-", want: want{outcome: call.OutcomeToolError, server: "ev", connection: "shared"}},
		{
			name: "question of the server", version: modern, reply: `{"resultType":"input_required","inputRequests":{}}`,
			want: want{outcome: call.OutcomeInputRequired, server: "ev", connection: "shared"},
		},
		{name: "unknown tool", tool: "nothing", want: want{outcome: call.OutcomeRefused, reason: ReasonUnknownTool}},
		{name: "held definition", prepare: func(_ *world, _ *Dispatcher, tool *view.Tool, _ *call.Caller) { tool.Held = true }, want: refused(ReasonToolHeld)},
		{name: "audit queue full", prepare: func(_ *world, d *Dispatcher, _ *view.Tool, _ *call.Caller) {
			d.Audit.(*book).full = fault.New(fault.Unavailable, "AUDIT_QUEUE_FULL", "full")
		}, want: refused("AUDIT_QUEUE_FULL")},
		{
			name: "policy", rules: []*resourcev1.Policy{{Name: "no", Action: deny, When: "args.n > 1"}},
			want: want{outcome: call.OutcomeRefused, reason: ReasonPolicyBlocked, policy: "no", action: "BLOCK", server: "ev", connection: "shared"},
		},
		{
			name: "approval", rules: []*resourcev1.Policy{{Name: "ask", Action: approve, Approvers: &resourcev1.Approvers{Caller: &resourcev1.CallerApprover{}}}},
			want: want{outcome: call.OutcomeRefused, reason: ReasonPolicyBlocked, policy: "ask", action: "REQUIRE_APPROVAL", server: "ev", connection: "shared"},
		},
		{ // without a store of contexts nobody knows them
			name: "untrusted", rules: []*resourcev1.Policy{{Name: "clean", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED}},
			want: want{outcome: call.OutcomeRefused, reason: ReasonPolicyBlocked, policy: "clean", action: "BLOCK_IF_UNTRUSTED", server: "ev", connection: "shared"},
		},
		{
			name: "policy that allows", rules: []*resourcev1.Policy{{Name: "yes", Action: resourcev1.PolicyAction_POLICY_ACTION_ALLOW}},
			want: want{outcome: call.OutcomeOK, policy: "yes", action: "ALLOW", server: "ev", connection: "shared"},
		},
		{name: "rate limit", prepare: func(_ *world, d *Dispatcher, tool *view.Tool, _ *call.Caller) {
			d.RateLimits = once{tool.Name: true}
		}, want: refused("RATE_LIMITED")},
		{name: "credential missing", prepare: func(w *world, _ *Dispatcher, _ *view.Tool, _ *call.Caller) {
			w.missing = fault.New(fault.Precondition, ReasonCredentialMissing, "none")
		}, want: refused(ReasonCredentialMissing)},
		{name: "authserver away", prepare: func(w *world, _ *Dispatcher, _ *view.Tool, _ *call.Caller) {
			w.missing = fault.New(fault.Unavailable, "AUTHSERVER_UNAVAILABLE", "away")
		}, want: refused("AUTHSERVER_UNAVAILABLE")},
		{
			name: "connection deleted", prepare: func(_ *world, _ *Dispatcher, tool *view.Tool, _ *call.Caller) { tool.Connection = "gone" },
			want: want{outcome: call.OutcomeRefused, reason: ReasonConnectionMissing, server: "ev", connection: "gone"},
		},
		{
			name: "nobody's connection", prepare: func(_ *world, _ *Dispatcher, tool *view.Tool, c *call.Caller) {
				tool.Connection, tool.AtCall = "", true
			},
			want: want{outcome: call.OutcomeRefused, reason: ReasonCredentialMissing, server: "ev"},
		},
		{
			name: "server down", prepare: func(w *world, _ *Dispatcher, _ *view.Tool, _ *call.Caller) {
				w.err = fault.New(fault.Unavailable, "UPSTREAM_UNREACHABLE", "down")
			},
			want: want{outcome: call.OutcomeFault, reason: "UPSTREAM_UNREACHABLE", server: "ev", connection: "shared"},
		},
		{
			name: "credential refused", prepare: func(w *world, _ *Dispatcher, _ *view.Tool, _ *call.Caller) {
				w.err = fault.New(fault.Precondition, reasonUnauthorized, "401")
			},
			want: want{outcome: call.OutcomeFault, reason: ReasonAuthFailed, server: "ev", connection: "shared"},
		},
		{
			name: "canceled", prepare: func(w *world, _ *Dispatcher, _ *view.Tool, _ *call.Caller) {
				w.err = fault.New(fault.Canceled, "CANCELED", "")
			},
			want: want{outcome: call.OutcomeFault, reason: "CANCELED", server: "ev", connection: "shared"},
		},
		{
			name: "unreadable result", reply: `{"content":`,
			want: want{outcome: call.OutcomeFault, reason: "JSONRPC_PARSE_ERROR", server: "ev", connection: "shared"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var both [2]call.AuditEvent
			for i, door := range []string{"direct", "run_tool"} {
				w, tool, b := &world{reply: call.Reply{Result: []byte(ok)}}, echo(), &book{}
				if tt.reply != "" && tt.reply != "-" {
					w.reply.Result = []byte(tt.reply)
				}
				d := searching(t, w)
				d.Audit = b
				c := call.Caller{}
				if tt.prepare != nil {
					tt.prepare(w, d, tool, &c)
				}
				c = caller(auditedView(t, tool, door == "run_tool", tt.rules...), legacy)
				if tt.version != "" {
					c.Version = tt.version
				}
				c.Principal.Name, c.RequestID, c.Started = "ada@example.com", "r-1", time.Now().Add(-time.Second)
				name := tt.tool
				if name == "" {
					name = "ev__echo"
				}
				params := fmt.Sprintf(`{"name":%q,"arguments":{"n":%s}}`, name, auditCanary)
				if door == "run_tool" {
					params = fmt.Sprintf(`{"name":"run_tool","arguments":{"tool_name":%q,"arguments":{"n":%s}}}`, name, auditCanary)
				}
				_, _ = d.Call(t.Context(), c, request(t, "tools/call", params), discard)
				if len(b.events) != 1 {
					t.Fatalf("%s: %d events", door, len(b.events))
				}
				e := b.events[0]
				got := want{e.Outcome, e.Reason, e.Policy, e.Action, e.Server, e.Connection}
				if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
					t.Errorf("%s (-want +got):\n%s", door, diff)
				}
				if e.Requested != name || e.Gateway != "eng" || e.GatewayUID != "uid-eng" || e.RequestID != "r-1" || e.Principal.Name != "ada@example.com" ||
					e.Revision != 2 || e.RunTool != (door == "run_tool") || e.InGateway < time.Second || e.RequestBytes == 0 || e.Version != c.Version {
					t.Errorf("%s: %+v", door, e)
				}
				if text := fmt.Sprintf("%+v", e); strings.Contains(text, auditCanary) || strings.Contains(text, "uid-shared/ada") {
					t.Errorf("%s: the event holds arguments or a credential: %s", door, text)
				}
				both[i] = e
			}
			same := cmpopts.IgnoreFields(call.AuditEvent{}, "RunTool", "Time", "InGateway", "OnCredential", "OnUpstream")
			if tt.tool != "" { // the answers differ, and so do the requests: there is no call that the run_tool stands for
				same = cmp.Options{same, cmpopts.IgnoreFields(call.AuditEvent{}, "RequestBytes", "ResponseBytes")}
			}
			if diff := cmp.Diff(both[0], both[1], same); diff != "" {
				t.Errorf("run_tool is not as the direct call (-direct +run_tool):\n%s", diff)
			}
		})
	}
}

// auditedView is snapshot with policies, for a gateway that loads tools when needed or does not.
func auditedView(t *testing.T, tool *view.Tool, whenNeeded bool, policies ...*resourcev1.Policy) *view.Snapshot {
	t.Helper()
	b := view.From(snapshot(tool).View)
	for _, r := range policies {
		p, err := compile.MakePolicy(r)
		if err != nil {
			t.Fatal(err)
		}
		b.PutPolicy(r.GetName(), p)
	}
	b.PutConnection("shared", &view.Connection{
		Name: "shared", UID: "uid-shared", Server: "ev", CredentialVersion: "1", OwnerKind: compile.OwnerTeam, Owner: "eng",
	})
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", LoadToolsWhenNeeded: whenNeeded}, Tools: []*view.Tool{tool}})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 2))
	return h.Load()
}

// TestAuditOfOwnTools: search_tools is recorded by its name, a run_tool that comes to no call by what it asked for.
func TestAuditOfOwnTools(t *testing.T) {
	for _, tt := range []struct {
		name, params string
		want         call.AuditEvent
	}{
		{"search", `{"name":"search_tools","arguments":{"query":"echo"}}`, call.AuditEvent{Upstream: "search_tools", Requested: "search_tools", Outcome: call.OutcomeOK}},
		{
			"arguments that do not fit", `{"name":"run_tool","arguments":{"tool_name":"echo","arguments":{"n":"x"}}}`,
			call.AuditEvent{Server: "ev", Upstream: "echo", Connection: "shared", OwnerKind: compile.OwnerTeam, Owner: "eng", Requested: "echo", RunTool: true, Outcome: call.OutcomeRefused, Reason: "TOOL_ARGUMENTS_INVALID"},
		},
		{
			"bare name", `{"name":"run_tool","arguments":{"tool_name":"echo","arguments":{"n":1}}}`,
			call.AuditEvent{Server: "ev", Upstream: "echo", Connection: "shared", OwnerKind: compile.OwnerTeam, Owner: "eng", Requested: "echo", RunTool: true, Outcome: call.OutcomeOK},
		},
		{
			"no such arguments", `{"name":"run_tool","arguments":{"tool_name":"echo","arguments":{},"tool_args":{}}}`,
			call.AuditEvent{Server: "ev", Upstream: "echo", Connection: "shared", OwnerKind: compile.OwnerTeam, Owner: "eng", Requested: "echo", RunTool: true, Outcome: call.OutcomeRefused, Reason: "*"},
		},
		{"itself", `{"name":"run_tool","arguments":{"tool_name":"run_tool"}}`, call.AuditEvent{Requested: "run_tool", RunTool: true, Outcome: call.OutcomeRefused, Reason: ReasonUnknownTool}},
		{
			"a name that is too long", `{"name":"` + strings.Repeat("é", 300) + `"}`,
			call.AuditEvent{Requested: strings.Repeat("é", 128), Outcome: call.OutcomeRefused, Reason: ReasonUnknownTool},
		},
	} {
		tool := echo()
		tool.Body = plain(`{"name":"echo","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}`)
		w, b := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}, &book{}
		d := searching(t, w)
		d.Audit = b
		_, _ = d.Call(t.Context(), caller(auditedView(t, tool, true), wire.Latest), request(t, "tools/call", tt.params), discard)
		if len(b.events) != 1 {
			t.Fatalf("%s: %d events", tt.name, len(b.events))
		}
		got := b.events[0]
		got = call.AuditEvent{
			Server: got.Server, Upstream: got.Upstream, Connection: got.Connection, OwnerKind: got.OwnerKind, Owner: got.Owner,
			Requested: got.Requested, RunTool: got.RunTool, Outcome: got.Outcome, Reason: got.Reason,
		}
		if tt.want.Reason == "*" && got.Reason != "" {
			got.Reason = "*"
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestAuditOfRefused: what edge refuses is recorded with the tool that it was about; what another node has not answered may have run.
func TestAuditOfRefused(t *testing.T) {
	for reason, outcome := range map[string]string{"INSUFFICIENT_SCOPE": call.OutcomeRefused, "PEER_LOST": call.OutcomeFault} {
		b := &book{}
		d := newDispatcher(t, &world{})
		d.Audit = b
		c := caller(auditedView(t, echo(), false), wire.Latest)
		params := `{"name":"ev__echo","_meta":{"io.modelcontextprotocol/clientInfo":{"name":"cli","version":"2"}}}`
		d.Refused(t.Context(), c, request(t, "tools/call", params), fault.New(fault.Denied, reason, ""))
		d.Refused(t.Context(), c, request(t, "prompts/get", `{"name":"p"}`), fault.New(fault.Denied, reason, ""))
		if len(b.events) != 1 {
			t.Fatalf("%d events", len(b.events))
		}
		e := b.events[0]
		if e.Outcome != outcome || e.Reason != reason || e.Server != "ev" || e.Upstream != "echo" || e.ClientName != "cli" || e.ClientVersion != "2" {
			t.Errorf("%+v", e)
		}
	}
}

// TestAuditOfCallers: where the server sees the caller, the credential is theirs and not that of who installed the connection.
func TestAuditOfCallers(t *testing.T) {
	b := &book{}
	d := newDispatcher(t, &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}})
	d.Audit = b
	v := view.From(auditedView(t, echo(), false).View)
	v.PutServer("ev", &view.Server{Name: "ev", CallerOnly: true})
	h := view.NewHolder()
	h.Publish(v.Build("epoch", 3))
	c := caller(h.Load(), wire.Latest)
	c.Principal = ident.Principal{Kind: ident.KindUser, UID: "ada", Name: "ada@example.com"}
	if _, err := d.Call(t.Context(), c, toolCall(t, "ev__echo"), discard); err != nil {
		t.Fatal(err)
	}
	if e := b.events[0]; e.OwnerKind != compile.OwnerUser || e.Owner != "ada@example.com" {
		t.Errorf("%+v", e)
	}
}

// none takes events and forgets them.
type none struct{}

func (none) Admit() error { return nil }

func (none) Record(call.AuditEvent) {}

// BenchmarkAudit is a call with and without the making of its event.
func BenchmarkAudit(b *testing.B) {
	for name, audit := range map[string]Audit{"off": nil, "on": none{}} {
		b.Run(name, func(b *testing.B) {
			w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
			d := newDispatcher(b, w)
			d.Audit = audit
			c := caller(snapshot(echo()), wire.V20251125)
			raw := []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"arguments":{"n":1},"name":"ev__echo"}}`)
			m := new(wire.Message)
			if err := wire.Scan(raw, m); err != nil {
				b.Fatal(err)
			}
			k := call.Call{Method: "tools/call", Name: "ev__echo", Params: m.Params.Of(raw), Message: m, Body: raw}
			b.ReportAllocs()
			for b.Loop() {
				w.calls, w.subjects = w.calls[:0], w.subjects[:0]
				if _, err := d.Call(b.Context(), c, k, discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
