// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"slices"
	"strings"
	"testing"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	logOf      = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"sk-1"}}`
	progressOf = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"sk-1","progress":1,"message":"sk-1"}}`
)

// TestMessagesOfResults: what a server says and asks in the middle of a call meets the policies of its result, and a context is marked
// before the first of it.
func TestMessagesOfResults(t *testing.T) {
	for _, tc := range []struct {
		name         string
		rules        []*resourcev1.ResultPolicy
		heard, asked []string
		counted      string // when the first message arrives
		answered     bool
	}{
		{name: "none", heard: []string{logOf, progressOf}, asked: []string{`{"message":"sk-1"}`}, answered: true},
		{
			name: "untrusted", rules: []*resourcev1.ResultPolicy{{Name: "p", Mark: markUntrusted}},
			heard: []string{logOf, progressOf}, asked: []string{`{"message":"sk-1"}`}, counted: " marked_untrusted=1, p untrusted=1", answered: true,
		},
		{
			name: "redact", rules: []*resourcev1.ResultPolicy{{Name: "p", Mark: markRedact}}, counted: "p redact=1", answered: true,
			heard: []string{
				strings.ReplaceAll(logOf, "sk-1", "[redacted]"), strings.ReplaceAll(progressOf, `"message":"sk-1"`, `"message":"[redacted]"`),
			}, asked: []string{`{"message":"[redacted]"}`},
		},
		{name: "block", rules: []*resourcev1.ResultPolicy{{Name: "p", Mark: markBlock}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
			d, c := newDispatcher(t, w), caller(screened(t, tc.rules...), wire.V20251125)
			reader := sdkmetric.NewManualReader()
			var err error
			if d.decided, err = newDecided(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("")); err != nil {
				t.Fatal(err)
			}
			var heard, asked []string
			c.Client.Asker = answering(func(params []byte) []byte { asked = append(asked, string(params)); return []byte(`{"a":"sk-1"}`) })
			w.during = func(o *call.Outbound, sink func([]byte) error) {
				if err := sink([]byte(logOf)); err != nil {
					t.Error(err)
				}
				_ = sink([]byte(progressOf))
				_ = sink([]byte(`{"broken`))
				answer, err := o.Client.Asker.Ask(t.Context(), call.Question{Method: "elicitation/create", Params: []byte(`{"message":"sk-1"}`)})
				if (err == nil) != tc.answered || err == nil && string(answer.Result) != `{"a":"sk-1"}` {
					t.Errorf("answered %s, %v", answer.Result, err)
				}
			}
			if _, err := d.Call(t.Context(), c, request(t, "tools/call", `{"name":"old__plain"}`), func(m []byte) error {
				if heard == nil {
					if n := counted(t, reader); n != tc.counted {
						t.Errorf("counted %q, want %q", n, tc.counted)
					}
				}
				heard = append(heard, string(m))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if len(heard) > 2 {
				heard = heard[:2] // what cannot be read passes where nothing looks at it
			}
			if !slices.Equal(heard, tc.heard) || !slices.Equal(asked, tc.asked) {
				t.Errorf("heard %q, asked %q", heard, asked)
			}
		})
	}
}

// TestMessagesOfSessions: what a server says and asks outside of calls may be about any tool of it: it meets the policies of them all.
func TestMessagesOfSessions(t *testing.T) {
	const updated = `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///sk-1"}}`
	redacted := strings.ReplaceAll(logOf, "sk-1", "[redacted]")
	for _, tc := range []struct {
		name  string
		rule  *resourcev1.ResultPolicy
		heard []string
		asked string // empty if the question is refused
	}{
		{"of another server", &resourcev1.ResultPolicy{Mark: markBlock, Servers: []string{"new"}}, []string{logOf, updated}, `{"message":"sk-1"}`},
		{"shadow", &resourcev1.ResultPolicy{Mark: markBlock, Mode: shadowMode}, []string{logOf, updated}, `{"message":"sk-1"}`},
		{"untrusted", &resourcev1.ResultPolicy{Mark: markUntrusted, Tools: []string{"old__task"}}, []string{logOf, updated}, `{"message":"sk-1"}`},
		{"redact one tool", &resourcev1.ResultPolicy{Mark: markRedact, Tools: []string{"old__task"}}, []string{redacted, updated}, `{"message":"[redacted]"}`},
		{"redact by arguments", &resourcev1.ResultPolicy{Mark: markRedact, When: "args.n == 1"}, []string{redacted, updated}, `{"message":"[redacted]"}`},
		{"block one tool", &resourcev1.ResultPolicy{Mark: markBlock, Tools: []string{"old__task"}}, []string{updated}, ""},
		{"block by arguments", &resourcev1.ResultPolicy{Mark: markBlock, When: "args.n == 1"}, []string{updated}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.rule.Name = "p"
			w := &world{}
			d, c := newDispatcher(t, w), caller(screened(t, tc.rule), wire.V20251125)
			c.Client.Session = "s"
			asked := ""
			c.Client.Asker = answering(func(params []byte) []byte { asked = string(params); return []byte(`{}`) })
			var heard []string
			defer d.Attach(c, func(m []byte) { heard = append(heard, string(m)) })()
			w.attach("con-old", []byte(logOf))
			w.attach("con-old", []byte(updated))
			ask := func(connection string) error {
				q := call.Question{Method: "elicitation/create", Params: []byte(`{"message":"sk-1"}`), Connection: connection}
				_, err := w.client.Asker.Ask(t.Context(), q)
				return err //nolint:wrapcheck // looked at below
			}
			if err := ask("con-old"); (err == nil) != (tc.asked != "") {
				t.Errorf("the question: %v", err)
			}
			if !slices.Equal(heard, tc.heard) || asked != tc.asked {
				t.Errorf("heard %q, asked %s", heard, asked)
			}
			if err := ask("con-gone"); fault.From(err).Reason != ReasonServerMissing {
				t.Errorf("a server that is gone may ask: %v", err)
			}
		})
	}
}

// TestMessagesOfTasks: what a subscription tells of a task, its result too, meets the same policies.
func TestMessagesOfTasks(t *testing.T) {
	const message = `{"jsonrpc":"2.0","method":"notifications/tasks","params":{"taskId":"t-1","status":"completed","result":{"content":[{"type":"text","text":"sk-1"}]}}}`
	for _, tc := range []struct {
		rule *resourcev1.ResultPolicy
		want string
	}{
		{&resourcev1.ResultPolicy{Name: "p", Mark: markRedact, Tools: []string{"new__task"}}, strings.ReplaceAll(message, "sk-1", "[redacted]")},
		{&resourcev1.ResultPolicy{Name: "p", Mark: markBlock, Tools: []string{"new__task"}}, ""},
		{&resourcev1.ResultPolicy{Name: "p", Mark: markBlock, Tools: []string{"old__task"}}, message},
	} {
		d, c := newDispatcher(t, &world{}), caller(screened(t, tc.rule), wire.V20260728)
		e := d.ear(&c, c.Snapshot.Server("new"), "con-new")
		e.listener = &listener{gateway: c.Gateway}
		want := strings.ReplaceAll(tc.want, `"t-1"`, `"`+taskIDOf(d, c, "new", "t-1")+`"`)
		if got := string(e.hear([]byte(message))); got != want {
			t.Errorf("%v: heard %s, want %s", tc.rule, got, want)
		}
	}
}

// BenchmarkScreen is what result policies cost a call: nothing, where a gateway has none.
func BenchmarkScreen(b *testing.B) {
	result := []byte(`{"content":[{"type":"text","text":"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 100) + `"}]}`)
	for _, bc := range []struct {
		name  string
		rules []*resourcev1.ResultPolicy
	}{
		{"no policy", nil},
		{"untrusted", []*resourcev1.ResultPolicy{{Name: "p", Mark: markUntrusted}}},
		{"redact 4 KiB, no match", []*resourcev1.ResultPolicy{{Name: "p", Mark: markRedact}}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			d, c := newDispatcher(b, &world{}), caller(screened(b, bc.rules...), wire.V20251125)
			k := call.Call{Method: "tools/call", Message: new(wire.Message)}
			tool := c.Gateway.Tools[0]
			on := target{what: "tool", server: tool.Server, tool: tool}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.screen(b.Context(), &c, &k, &on).reply(&on, k.Method, call.Reply{Result: result}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
