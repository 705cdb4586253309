// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	form    = `{"message":"Name?","requestedSchema":{"type":"object","properties":{}}}`
	accept  = `{"action":"accept","content":{"name":"Ada"}}`
	sampled = `{"role":"assistant","model":"m","content":{"type":"text","text":"hi"}}`
	tool    = `{"name":"t","arguments":{"a":1}}`
	ok      = `{"content":[]}`
)

// TestModernAtLegacy is the column modern → legacy of mcp.md section 4 for questions: each question that the upstream
// asks comes as input_required, and each answer goes back (M-76 to M-79).
func TestModernAtLegacy(t *testing.T) {
	tests := []struct {
		name, method, params, capabilities string
		question                           string // as the client sees it
		response                           string
		told                               string // to the upstream
	}{
		{
			"elicitation, form", "elicitation/create", form, all,
			`{"method":"elicitation/create","params":` + form + `}`, accept, "7 " + accept,
		},
		{
			"elicitation, url: elicitationId removed", "elicitation/create", `{"mode":"url","elicitationId":"e1","url":"https://x/","message":"m"}`, all,
			`{"method":"elicitation/create","params":{"mode":"url","url":"https://x/","message":"m"}}`, `{"action":"decline"}`, `7 {"action":"decline"}`,
		},
		{
			"sampling: includeContext removed", "sampling/createMessage", `{"messages":[],"includeContext":"allServers","maxTokens":5}`, all,
			`{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":5}}`, sampled, "7 " + sampled,
		},
		{
			"sampling: includeContext none stays", "sampling/createMessage", `{"includeContext":"none"}`, all,
			`{"method":"sampling/createMessage","params":{"includeContext":"none"}}`, sampled, "7 " + sampled,
		},
		{
			"sampling: includeContext stays for who declared it", "sampling/createMessage", `{"includeContext":"thisServer"}`, `{"sampling":{"context":{}}}`,
			`{"method":"sampling/createMessage","params":{"includeContext":"thisServer"}}`, sampled, "7 " + sampled,
		},
		{"roots", "roots/list", "", all, `{"method":"roots/list"}`, `{"roots":[]}`, `7 {"roots":[]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
					s.ask("7", tt.method, tt.params)
					<-s.got
					return ok, "", nil
				}}
				b := newBridge(t, u, hold.Limits{})
				o := outbound(wire.V20260728, wire.V20251125, tool)
				o.Client.Capabilities = []byte(tt.capabilities)
				started := time.Now()
				reply, err := b.Call(t.Context(), o, new(heard).sink)
				if err != nil {
					t.Fatal(err)
				}
				if got := time.Since(started); got != 50*time.Millisecond {
					t.Errorf("asked after %s, want 50ms", got)
				}
				q := input(t, reply)
				if got := string(q.InputRequests["q1"]); got != tt.question || len(q.InputRequests) != 1 {
					t.Errorf("asked %s, want %s", q.InputRequests, tt.question)
				}
				reply, err = b.Call(t.Context(), retry(o, `{"q1":`+tt.response+`,"unknown":{}}`, q.RequestState), new(heard).sink)
				if err != nil || string(reply.Result) != ok {
					t.Fatalf("retry: %s %s %v", reply.Result, reply.Error, err)
				}
				if got := u.requests(); len(got) != 1 || !slices.Equal(got[0].answers(), []string{tt.told}) {
					t.Errorf("%d requests, upstream was told %q, want %q", len(got), got[0].answers(), tt.told)
				}
			})
		})
	}
}

// Questions that come within 50 ms share one result; missing and malformed answers are asked for again, with a new state.
func TestQuestionsShareAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
			s.ask("1", "elicitation/create", form)
			time.Sleep(30 * time.Millisecond)
			s.ask("2", "sampling/createMessage", `{}`)
			s.ask("3", "roots/list", "")
			for range 3 {
				<-s.got
			}
			return ok, "", nil
		}}
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20260728, "", tool)
		reply, err := b.Call(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		first := input(t, reply)
		if len(first.InputRequests) != 3 {
			t.Fatalf("%d questions, want 3", len(first.InputRequests))
		}
		reply, err = b.Call(t.Context(), retry(o, `{"q1":`+accept+`,"q2":{"role":"assistant"}}`, first.RequestState), nil)
		if err != nil {
			t.Fatal(err)
		}
		second := input(t, reply)
		if _, again := second.InputRequests["q1"]; again || len(second.InputRequests) != 2 || second.RequestState == first.RequestState {
			t.Fatalf("asked again for %v", second.InputRequests)
		}
		reply, err = b.Call(t.Context(), retry(o, `{"q2":`+sampled+`,"q3":{"roots":[]}}`, second.RequestState), nil)
		if err != nil || string(reply.Result) != ok {
			t.Fatalf("%s %v", reply.Result, err)
		}
		if diff := cmp.Diff([]string{"1 " + accept, "2 " + sampled, `3 {"roots":[]}`}, u.requests()[0].answers()); diff != "" {
			t.Error(diff)
		}
	})
}

// While held: the newest progress, 64 log messages and the result are kept; the retry's token and log level count
// (M-79, M-80).
func TestWhatIsKeptWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		held := make(chan struct{})
		u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
			s.tell("notifications/progress", `{"progressToken":"old","progress":1}`)
			s.ask("1", "elicitation/create", form)
			<-held
			s.tell("notifications/progress", `{"progressToken":"old","progress":2}`)
			s.tell("notifications/progress", `{"progressToken":"old","progress":3}`)
			s.tell("notifications/message", `{"level":"info","data":"too mild"}`)
			for i := range 80 {
				s.tell("notifications/message", fmt.Sprintf(`{"level":"error","data":%d}`, i))
			}
			s.tell("notifications/tools/list_changed", "")
			s.tell("notifications/elicitation/complete", `{"elicitationId":"x"}`)
			return ok, "", nil
		}}
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20260728, wire.V20251125, tool)
		o.ProgressToken = []byte(`"old"`)
		var before, after heard
		reply, err := b.Call(t.Context(), o, before.sink)
		if err != nil {
			t.Fatal(err)
		}
		close(held)
		synctest.Wait()
		next := retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState)
		next.ProgressToken, next.Client.LogLevel = []byte(`42`), "warning"
		reply, err = b.Call(t.Context(), next, after.sink)
		if err != nil || string(reply.Result) != ok {
			t.Fatalf("%s %v", reply.Result, err)
		}
		if want := []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"old","progress":1}}`}; !slices.Equal(before.all(), want) {
			t.Errorf("first call heard %q", before.all())
		}
		got := after.all()
		if want := `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":42,"progress":3}}`; len(got) != 64 || got[0] != want {
			t.Fatalf("retry heard %d: %q", len(got), got)
		}
		for _, m := range got[1:] {
			if !strings.Contains(m, `"level":"error"`) {
				t.Errorf("heard %s", m)
			}
		}
	})
}

// After a retry progress goes on with its token, and a retry without one hears none (M-79).
func TestProgressAfterRetry(t *testing.T) {
	for _, token := range []string{"", `"new"`} {
		synctest.Test(t, func(t *testing.T) {
			u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
				s.ask("1", "elicitation/create", form)
				<-s.got
				s.tell("notifications/progress", `{"progressToken":"old","progress":9}`)
				return ok, "", nil
			}}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(wire.V20260728, wire.V20251125, tool)
			o.ProgressToken = []byte(`"old"`)
			reply, err := b.Call(t.Context(), o, nil)
			if err != nil {
				t.Fatal(err)
			}
			next := retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState)
			next.ProgressToken = raw(token)
			var after heard
			if _, err := b.Call(t.Context(), next, after.sink); err != nil {
				t.Fatal(err)
			}
			var want []string
			if token != "" {
				want = []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"new","progress":9}}`}
			}
			if got := after.all(); !slices.Equal(got, want) {
				t.Errorf("heard %q, want %q", got, want)
			}
		})
	}
}

// TestStateRefused: whatever is wrong with a requestState, the answer is -32602 and nothing is sent upstream (EL-7,
// M-75, M-78, M-79); what was valid once says that it has expired.
func TestStateRefused(t *testing.T) {
	tests := []struct {
		name    string
		expired bool
		change  func(b *Bridge, o *call.Outbound)
	}{
		{"tampered: last character", false, func(_ *Bridge, o *call.Outbound) { flip(o, len(o.State)-2) }},
		{"tampered: first byte of the key id", false, func(_ *Bridge, o *call.Outbound) { flip(o, 7) }},
		{"tampered: in the middle", false, func(_ *Bridge, o *call.Outbound) { flip(o, len(o.State)/2) }},
		{"cut", false, func(_ *Bridge, o *call.Outbound) { o.State = wire.Quote(string(o.State[1:40])) }},
		{"invented", false, func(_ *Bridge, o *call.Outbound) { o.State = []byte(`"pst1.AAAA"`) }},
		{"not of a node, at a legacy upstream", false, func(_ *Bridge, o *call.Outbound) { o.State = []byte(`"something"`) }},
		{"another user", false, func(_ *Bridge, o *call.Outbound) { o.Principal.UID = "bob" }},
		{"another client of the user", false, func(_ *Bridge, o *call.Outbound) { o.Principal.ClientID = "client-2" }},
		{"another gateway", false, func(_ *Bridge, o *call.Outbound) {
			o.Gateway = &view.Gateway{Gateway: o.Gateway.Gateway}
			o.Gateway.UID = "gw-2"
		}},
		{"another method", false, func(_ *Bridge, o *call.Outbound) { o.Method = "prompts/get" }},
		{"another tool", false, func(_ *Bridge, o *call.Outbound) { edit(o, `"t"`, `"u"`) }},
		{"other arguments", false, func(_ *Bridge, o *call.Outbound) { edit(o, `{"a":1}`, `{"a":2}`) }},
		{"arguments added", false, func(_ *Bridge, o *call.Outbound) { edit(o, `{"a":1}`, `{"a":1,"b":1}`) }},
		{"another server", false, func(_ *Bridge, o *call.Outbound) {
			s := *o.Server
			s.Name = "other"
			o.Server = &s
		}},
		{"expired", true, func(*Bridge, *call.Outbound) { time.Sleep(10*time.Minute + time.Second) }},
		{"another node", true, func(b *Bridge, _ *call.Outbound) { b.cfg.Node = "node-b" }},
		{"replayed", true, func(b *Bridge, o *call.Outbound) {
			again := *o
			if r, err := b.Call(context.Background(), &again, nil); err != nil || string(r.Result) != ok {
				panic(fmt.Sprintf("first use: %s %v", r.Result, err))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &script{version: wire.V20251125, run: func(ctx context.Context, s *sent) (string, string, error) {
					s.ask("1", "elicitation/create", form)
					select {
					case <-s.got:
						return ok, "", nil
					case <-ctx.Done():
						return "", "", ctx.Err()
					}
				}}
				b := newBridge(t, u, hold.Limits{})
				o := outbound(wire.V20260728, wire.V20251125, tool)
				reply, err := b.Call(t.Context(), o, nil)
				if err != nil {
					t.Fatal(err)
				}
				next := retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState)
				tt.change(b, next)
				told := len(u.requests()[0].answers())
				reply, err = b.Call(t.Context(), next, nil)
				if tt.expired {
					if want := `{"code":-32602,"message":"requestState has expired","data":{"reason":"request_state_expired"}}`; err != nil || string(reply.Error) != want {
						t.Errorf("got %s %v, want %s", reply.Error, err, want)
					}
				} else if f := fault.From(err); f == nil || f.Kind != fault.Invalid || f.Reason != ReasonState {
					t.Errorf("got %s %s %v, want %s", reply.Result, reply.Error, err, ReasonState)
				}
				if got := u.requests(); len(got) != 1 || len(got[0].answers()) != told {
					t.Errorf("the upstream heard of it: %d requests, %q", len(got), got[0].answers())
				}
			})
		})
	}
}

// A retry may write its params in another order and with other white space, and has _meta of its own.
func TestStateKnowsTheSameRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
			s.ask("1", "elicitation/create", form)
			<-s.got
			return ok, "", nil
		}}
		b := newBridge(t, u, hold.Limits{})
		o := outbound(wire.V20260728, wire.V20251125, `{"_meta":{"x":1},"name":"t","arguments":{"a":[1, 2],"s":" x "}}`)
		reply, err := b.Call(t.Context(), o, nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Params = []byte(`{"arguments": {"a": [1,2], "s":" x "},  "name":"t","_meta":{"x":2}}`)
		reply, err = b.Call(t.Context(), retry(o, `{"q1":`+accept+`}`, input(t, reply).RequestState), nil)
		if err != nil || string(reply.Result) != ok {
			t.Errorf("%s %s %v", reply.Result, reply.Error, err)
		}
	})
}

func flip(o *call.Outbound, i int) {
	o.State = slices.Clone(o.State)
	if o.State[i] == 'A' {
		o.State[i] = 'B'
	} else {
		o.State[i] = 'A'
	}
}

func edit(o *call.Outbound, from, to string) {
	o.Params = []byte(strings.Replace(string(o.Params), from, to, 1))
}
