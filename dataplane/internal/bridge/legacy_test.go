// SPDX-License-Identifier: Apache-2.0

package bridge

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/hold"
	"github.com/penstockhq/penstock/dataplane/internal/bridge/verdict"
	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestLegacyAtLegacy is the column legacy → legacy of mcp.md section 4: questions are put to the client of the session,
// and the answers, errors too, go back.
func TestLegacyAtLegacy(t *testing.T) {
	tests := []struct {
		name, method, params string
		version              wire.Version
		answer               call.Answer
		err                  error
		asked, told          string
	}{
		{
			"elicitation, form", "elicitation/create", form, wire.V20250618,
			call.Answer{Result: []byte(accept)},
			nil,
			"elicitation/create " + form, "5 " + accept,
		},
		{
			"elicitation, url", "elicitation/create", `{"mode":"url","elicitationId":"e","url":"https://x/"}`, wire.V20251125,
			call.Answer{Result: []byte(`{"action":"accept"}`)},
			nil,
			`elicitation/create {"mode":"url","elicitationId":"e","url":"https://x/"}`, `5 {"action":"accept"}`,
		},
		{
			"elicitation, url, to a client that knows none", "elicitation/create", `{"mode":"url","url":"https://x/"}`, wire.V20250618,
			call.Answer{},
			nil, "", `5 {"code":-32601,"message":"Method not found"}`,
		},
		{
			"sampling, relayed as it is", "sampling/createMessage", `{"includeContext":"allServers"}`, wire.V20241105,
			call.Answer{Result: []byte(sampled)},
			nil,
			`sampling/createMessage {"includeContext":"allServers"}`, "5 " + sampled,
		},
		{"roots", "roots/list", "", wire.V20251125, call.Answer{Result: []byte(`{"roots":[]}`)}, nil, "roots/list ", `5 {"roots":[]}`},
		{
			"error of the client", "sampling/createMessage", `{}`, wire.V20251125,
			call.Answer{Error: []byte(`{"code":-1,"message":"no"}`)},
			nil,
			"sampling/createMessage {}", `5 {"code":-1,"message":"no"}`,
		},
		{
			"client away: elicitation", "elicitation/create", form, wire.V20251125,
			call.Answer{},
			fault.New(fault.Unavailable, "X", ""),
			"elicitation/create " + form, `5 {"action":"cancel"}`,
		},
		{
			"client away: sampling", "sampling/createMessage", `{}`, wire.V20251125,
			call.Answer{},
			fault.New(fault.Unavailable, "X", ""),
			"sampling/createMessage {}", `5 {"code":-1,"message":"The client did not answer"}`,
		},
		{
			"client away: roots", "roots/list", "", wire.V20251125,
			call.Answer{},
			fault.New(fault.Unavailable, "X", ""),
			"roots/list ", `5 {"code":-32603,"message":"The client did not answer"}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
				s.ask("5", tt.method, tt.params)
				<-s.got
				return ok, "", nil
			}}
			b := newBridge(t, u, hold.Limits{})
			p := &person{answer: func(context.Context, string, []byte) (call.Answer, error) { return tt.answer, tt.err }}
			o := outbound(tt.version, wire.V20251125, tool)
			o.Client.Asker = p
			if tt.version == wire.V20241105 {
				o.Client.Capabilities = []byte(`{"sampling":{},"roots":{}}`)
			}
			reply, err := b.Call(t.Context(), o, new(heard).sink)
			if err != nil || string(reply.Result) != ok {
				t.Fatalf("%s %v", reply.Result, err)
			}
			if got := strings.Join(p.asked, "\n"); got != tt.asked {
				t.Errorf("client was asked %q, want %q", got, tt.asked)
			}
			if got := u.requests()[0].answers(); !slices.Equal(got, []string{tt.told}) {
				t.Errorf("upstream was told %q, want %q", got, tt.told)
			}
		})
	}
}

// M-51: an upstream's cancelled for its own question reaches the client, as the end of Ask's context; so does the end of
// the call.
func TestQuestionTakenBack(t *testing.T) {
	for _, how := range []string{"cancelled", "call ends"} {
		t.Run(how, func(t *testing.T) {
			ended := make(chan error, 1)
			asking := make(chan struct{})
			u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
				s.ask(`"q"`, "elicitation/create", form)
				<-asking
				if how == "cancelled" {
					s.tell("notifications/cancelled", `{"requestId":"other"}`)
					s.tell("notifications/cancelled", `{"requestId":"q"}`)
					<-s.got
				}
				return ok, "", nil
			}}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(wire.V20251125, wire.V20251125, tool)
			o.Client.Asker = &person{answer: func(ctx context.Context, _ string, _ []byte) (call.Answer, error) {
				close(asking)
				<-ctx.Done()
				ended <- ctx.Err()
				return call.Answer{}, fault.From(ctx.Err())
			}}
			var h heard
			if reply, err := b.Call(t.Context(), o, h.sink); err != nil || string(reply.Result) != ok {
				t.Fatalf("%s %v", reply.Result, err)
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the question ended with %v", err)
			}
			if got := h.all(); got != nil {
				t.Errorf("client heard %q", got)
			}
		})
	}
}

// TestNotifications: what a client hears of a call, by its version, capabilities and log level (M-52, M-91; the rows
// progress, logging and list_changed of mcp.md section 4).
func TestNotifications(t *testing.T) {
	say := func(s *sent) {
		s.tell("notifications/progress", `{"progressToken":1,"progress":1}`)
		s.tell("notifications/message", `{"level":"debug","data":"d"}`)
		s.tell("notifications/message", `{"level":"warning","data":"w"}`)
		s.tell("notifications/elicitation/complete", `{"elicitationId":"e"}`)
		s.tell("notifications/tools/list_changed", "")
		s.tell("notifications/resources/updated", `{"uri":"a:1"}`)
		s.tell("notifications/tasks/status", `{"taskId":"x"}`)
		s.tell("notifications/vendor/x", `{"y":1}`)
		s.tell("notifications/cancelled", `{"requestId":99}`)
	}
	tests := []struct {
		name                string
		client, upstream    wire.Version
		capabilities, level string
		want                string
	}{
		{"legacy at legacy", wire.V20251125, wire.V20251125, all, "info", "progress message:w elicitation/complete tasks/status vendor/x"},
		{"legacy at legacy, debug", wire.V20251125, wire.V20251125, all, "debug", "progress message:d message:w elicitation/complete tasks/status vendor/x"},
		{"older client knows no pages and tasks", wire.V20250618, wire.V20251125, all, "error", "progress vendor/x"},
		{"no log level, no messages", wire.V20251125, wire.V20251125, `{}`, "", "progress tasks/status vendor/x"},
		{"legacy at modern", wire.V20251125, wire.V20260728, all, "info", "progress message:w elicitation/complete tasks/status vendor/x"},
		{"modern at legacy", wire.V20260728, wire.V20251125, all, "warning", "progress message:w"},
		{"modern at legacy, nothing declared", wire.V20260728, wire.V20251125, `{}`, "warning", "progress message:w"},
		{"modern at legacy, no log level", wire.V20260728, wire.V20251125, all, "", "progress"},
		{"modern at modern", wire.V20260728, wire.V20260728, all, "debug", "progress message:d message:w vendor/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: tt.upstream, run: func(_ context.Context, s *sent) (string, string, error) {
				say(s)
				return ok, "", nil
			}}
			b := newBridge(t, u, hold.Limits{})
			var changed []string
			b.cfg.Changed = func(server, connection string) { changed = append(changed, server+" "+connection) }
			o := outbound(tt.client, tt.upstream, tool)
			o.Client.Capabilities, o.Client.LogLevel = []byte(tt.capabilities), tt.level
			var h heard
			if _, err := b.Call(t.Context(), o, h.sink); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range h.all() {
				_, name, _ := strings.Cut(m, `"method":"notifications/`)
				name, rest, _ := strings.Cut(name, `"`)
				if name == "message" {
					_, data, _ := strings.Cut(rest, `"data":"`)
					name += ":" + data[:1]
				}
				got = append(got, name)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("heard %q, want %q", got, tt.want)
			}
			if !slices.Equal(changed, []string{"srv con"}) {
				t.Errorf("changed %q", changed)
			}
		})
	}
}

const demandForm = `{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":` + form +
	`},"b":{"method":"roots/list"}},"requestState":"s \u0031"}`

// TestLegacyAtModern is 4.2: questions in a result are put to the client, and the call is sent again with the answers and
// the exact state (M-82, M-83).
func TestLegacyAtModern(t *testing.T) {
	u := &script{version: wire.V20260728}
	u.run = func(context.Context, *sent) (string, string, error) {
		switch len(u.requests()) {
		case 1:
			return demandForm, "", nil
		case 2:
			return `{"resultType":"input_required","inputRequests":{"c":{"method":"sampling/createMessage","params":{}}}}`, "", nil
		}
		return ok, "", nil
	}
	b := newBridge(t, u, hold.Limits{})
	together := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Add(2)
	go func() { waiting.Wait(); close(together) }()
	o := outbound(wire.V20251125, wire.V20260728, tool)
	o.Client.Asker = &person{answer: func(_ context.Context, method string, _ []byte) (call.Answer, error) {
		switch method {
		case "elicitation/create":
			waiting.Done()
			<-together // both are asked at the same time
			return call.Answer{Result: []byte(accept)}, nil
		case "roots/list":
			waiting.Done()
			<-together
			return call.Answer{Result: []byte(`{"roots":[]}`)}, nil
		}
		return call.Answer{Result: []byte(sampled)}, nil
	}}
	reply, err := b.Call(t.Context(), o, new(heard).sink)
	if err != nil || string(reply.Result) != ok {
		t.Fatalf("%s %v", reply.Result, err)
	}
	var got []string
	for _, s := range u.requests() {
		got = append(got, string(s.Params))
	}
	want := []string{
		tool,
		`{"inputResponses":{"a":` + accept + `,"b":{"roots":[]}},"requestState":"s \u0031","name":"t","arguments":{"a":1}}`,
		`{"inputResponses":{"c":` + sampled + `},"name":"t","arguments":{"a":1}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestLegacyAtModernRefused: what ends such a call (M-84, M-30, the rows of section 4).
func TestLegacyAtModernRefused(t *testing.T) {
	const sample = `{"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage","params":{}}}}`
	const page = `{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://x/1","message":"Pay"}}}}`
	away := fault.New(fault.Unavailable, "CLIENT_AWAY", "away")
	none := call.Answer{}
	tests := []struct {
		name, method, capabilities, result string
		version                            wire.Version
		answer                             call.Answer
		err                                error

		kind   fault.Kind // of the fault, for tools/call
		reason string
		public string
		object string // error object instead
	}{
		{"sampling refused", "tools/call", all, sample, wire.V20251125, call.Answer{Error: []byte(`{"code":-1,"message":"no"}`)}, nil, fault.Precondition, ReasonUnanswered, "", ""},
		{"sampling, client away", "tools/call", all, sample, wire.V20251125, none, away, fault.Precondition, ReasonUnanswered, "", ""},
		{"sampling, malformed answer", "tools/call", all, sample, wire.V20251125, call.Answer{Result: []byte(`{"role":1}`)}, nil, fault.Precondition, ReasonUnanswered, "", ""},
		{
			"sampling refused, of a prompt", "prompts/get", all, sample, wire.V20251125, none, away, 0, "", "",
			`{"code":-32603,"message":"The client did not answer what the server asked."}`,
		},
		{"page, client of an older version", "tools/call", all, page, wire.V20250618, none, nil, fault.Precondition, verdict.ReasonPage, "Pay: https://x/1", ""},
		{"page, not declared", "tools/call", `{"elicitation":{}}`, page, wire.V20251125, none, nil, fault.Precondition, verdict.ReasonPage, "Pay: https://x/1", ""},
		{"kind not declared", "tools/call", `{"elicitation":{}}`, sample, wire.V20251125, none, nil, fault.Unavailable, ReasonAsked, "", ""},
		{"method that may not ask", "completion/complete", all, sample, wire.V20251125, none, nil, fault.Unavailable, ReasonAsked, "", ""},
		{"nothing asked, no state", "tools/call", all, `{"resultType":"input_required"}`, wire.V20251125, none, nil, fault.Unavailable, ReasonAsked, "", ""},
		{"questions of another form", "tools/call", all, `{"resultType":"input_required","inputRequests":[]}`, wire.V20251125, none, nil, fault.Unavailable, ReasonAsked, "", ""},
		{"unknown question", "tools/call", all, `{"resultType":"input_required","inputRequests":{"a":{"method":"x/y"}}}`, wire.V20251125, none, nil, fault.Unavailable, ReasonAsked, "", ""},
		{
			"state of more than 32 KiB", "tools/call", all, `{"resultType":"input_required","requestState":"` + strings.Repeat("s", 32<<10) + `"}`,
			wire.V20251125, none, nil, fault.Unavailable, ReasonAsked, "", "",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := &script{version: wire.V20260728, run: func(context.Context, *sent) (string, string, error) { return tt.result, "", nil }}
			b := newBridge(t, u, hold.Limits{})
			o := outbound(tt.version, wire.V20260728, tool)
			o.Method, o.Client.Capabilities = tt.method, []byte(tt.capabilities)
			o.Client.Asker = &person{answer: func(context.Context, string, []byte) (call.Answer, error) { return tt.answer, tt.err }}
			reply, err := b.Call(t.Context(), o, new(heard).sink)
			if tt.object != "" {
				if err != nil || string(reply.Error) != tt.object {
					t.Errorf("got %s %v, want %s", reply.Error, err, tt.object)
				}
			} else if f := fault.From(err); f == nil || f.Kind != tt.kind || f.Reason != tt.reason || tt.public != "" && f.Public != tt.public {
				t.Errorf("got %s %s %v", reply.Result, reply.Error, err)
			}
			if n := len(u.requests()); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// An elicitation that has no answer is one that was cancelled, and the call goes on (M-84); so is one that nobody answers
// for ten minutes (M-83). A page gets an id from the node.
func TestElicitationWithoutAnswer(t *testing.T) {
	tests := []struct {
		name   string
		answer func(ctx context.Context, method string, params []byte) (call.Answer, error)
		took   time.Duration
	}{
		{"error", func(context.Context, string, []byte) (call.Answer, error) {
			return call.Answer{Error: []byte(`{"code":-32603,"message":"broken"}`)}, nil
		}, 0},
		{"malformed", says(`{"action":"maybe"}`), 0},
		{"10 min", func(ctx context.Context, _ string, _ []byte) (call.Answer, error) {
			<-ctx.Done()
			return call.Answer{}, fault.From(ctx.Err())
		}, 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := &script{version: wire.V20260728}
				u.run = func(context.Context, *sent) (string, string, error) {
					if len(u.requests()) == 1 {
						return `{"resultType":"input_required","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"url","url":"https://x/"}}}}`, "", nil
					}
					return ok, "", nil
				}
				b := newBridge(t, u, hold.Limits{})
				o := outbound(wire.V20251125, wire.V20260728, tool)
				p := &person{answer: tt.answer}
				o.Client.Asker = p
				started := time.Now()
				if reply, err := b.Call(t.Context(), o, nil); err != nil || string(reply.Result) != ok {
					t.Fatalf("%s %v", reply.Result, err)
				}
				if took := time.Since(started); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if got := string(u.requests()[1].Params); !strings.Contains(got, `"inputResponses":{"a":{"action":"cancel"}}`) {
					t.Errorf("sent %s", got)
				}
				if got := p.asked[0]; !strings.Contains(got, `"elicitationId":"`) || !strings.Contains(got, `"url":"https://x/"`) {
					t.Errorf("asked %s", got)
				}
			})
		})
	}
}

// A state without questions is sent again at once, slower each time, and no more than 16 times (M-83).
func TestStateWithoutQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &script{version: wire.V20260728}
		u.run = func(context.Context, *sent) (string, string, error) {
			return `{"resultType":"input_required","requestState":"busy"}`, "", nil
		}
		b := newBridge(t, u, hold.Limits{})
		started := time.Now()
		_, err := b.Call(t.Context(), outbound(wire.V20251125, wire.V20260728, tool), nil)
		if f := fault.From(err); f == nil || f.Kind != fault.Unavailable || f.Reason != ReasonRounds {
			t.Errorf("got %v", err)
		}
		// 100 ms doubled five times, then 5 s ten times.
		if took, want := time.Since(started), 6300*time.Millisecond+10*5*time.Second; took != want || len(u.requests()) != 17 {
			t.Errorf("took %s for %d requests, want %s", took, len(u.requests()), want)
		}
	})
}

// A client that cancels its call while it is asked ends the wait, and nothing more is sent upstream (M-84).
func TestClientCancelsWhileAsked(t *testing.T) {
	u := &script{version: wire.V20260728, run: func(context.Context, *sent) (string, string, error) { return demandForm, "", nil }}
	b := newBridge(t, u, hold.Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	o := outbound(wire.V20251125, wire.V20260728, tool)
	o.Client.Asker = &person{answer: func(ctx context.Context, _ string, _ []byte) (call.Answer, error) {
		cancel()
		<-ctx.Done()
		return call.Answer{}, fault.From(ctx.Err())
	}}
	if _, err := b.Call(ctx, o, nil); fault.KindOf(err) != fault.Canceled || len(u.requests()) != 1 {
		t.Errorf("%v, %d requests", err, len(u.requests()))
	}
}

// telling is a client that tells of its progress while it is asked.
type telling struct{}

// Ask implements call.Asker.
func (telling) Ask(_ context.Context, q call.Question) (call.Answer, error) {
	q.Progress([]byte(`{"progressToken":1,"progress":1}`))
	return call.Answer{Result: []byte(accept)}, nil
}

// M-50: a legacy client's progress with a question reaches the upstream that asked.
func TestProgressOfQuestions(t *testing.T) {
	told := make(chan string, 1)
	u := &script{version: wire.V20251125, run: func(_ context.Context, s *sent) (string, string, error) {
		answered := make(chan struct{})
		_ = s.sink(call.Event{
			Method: "elicitation/create", ID: []byte("5"), Params: []byte(form), Answer: func(call.Answer) { close(answered) },
			Progress: func(params []byte) { told <- string(params) },
		})
		<-answered
		return `{}`, "", nil
	}}
	o := outbound(wire.V20251125, wire.V20251125, `{"name":"t"}`)
	o.Client.Asker = telling{}
	if _, err := newBridge(t, u, hold.Limits{}).Call(t.Context(), o, new(heard).sink); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != `{"progressToken":1,"progress":1}` {
		t.Errorf("told %s", got)
	}
}
