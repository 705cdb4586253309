// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// contexts knows one context for each session, and remembers what it was asked.
type contexts struct {
	trust call.Trust
	doubt string
	err   error // of Find
	away  error // of Mark
	asked []string
}

func (c *contexts) note(what string, x *call.Context) { c.asked = append(c.asked, what+" "+x.Base) }

func (c *contexts) Find(_ context.Context, caller *call.Caller, sent []byte) (*call.Context, error) {
	x := &call.Context{Base: "of " + caller.Client.Session}
	if sent != nil {
		x.Handle = &call.Handle{Key: string(sent), New: string(sent) == "true"}
		x.Base += " with " + string(sent)
	}
	return x, c.err
}

func (c *contexts) Trust(_ context.Context, x *call.Context) call.Trust {
	c.note("trust", x)
	return c.trust
}

func (c *contexts) Doubt() string { return c.doubt }

func (c *contexts) Used(x *call.Context) { c.note("used", x) }

func (c *contexts) Mark(_ context.Context, x *call.Context, server string) error {
	c.note("mark "+server, x)
	return c.away
}

func (c *contexts) Handle(_ *call.Caller, x *call.Context) string { return `h"` + x.Handle.Key }

const (
	blockIfUntrusted = resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED
	blockAction      = resourcev1.PolicyAction_POLICY_ACTION_BLOCK
)

// G-33: the store of contexts is asked by the calls whose policies have to know, and by no others; what cannot be known refuses.
func TestUntrustedContexts(t *testing.T) {
	type rules = []*resourcev1.Policy
	untrusted, unknown := call.Trust{Untrusted: true, Sources: []string{"web"}}, call.Trust{Untrusted: true, Unknown: true}
	const trust, used = "trust of s", "used of s"
	for _, tc := range []struct {
		name     string
		contexts compile.Contexts
		rules    rules
		trust    call.Trust
		asked    string
		refused  bool
	}{
		{name: "no policy", trust: untrusted},
		{name: "no policy that asks", rules: rules{{Name: "a", Action: blockAction, When: "args.n == 1"}}, trust: untrusted},
		{name: "trusted", rules: rules{{Name: "a", Action: blockIfUntrusted}}, asked: trust},
		{name: "untrusted", rules: rules{{Name: "a", Action: blockIfUntrusted}}, trust: untrusted, asked: trust, refused: true},
		{name: "unknown", rules: rules{{Name: "a", Action: blockIfUntrusted}}, trust: unknown, asked: trust, refused: true},
		{name: "a policy of another tool", rules: rules{{Name: "a", Action: blockIfUntrusted, Tools: []string{"ev__other"}}}, trust: untrusted, asked: used},
		{name: "by a condition", rules: rules{{Name: "a", Action: blockAction, When: "context.untrusted"}}, trust: untrusted, asked: trust, refused: true},
		{name: "by its sources", rules: rules{{Name: "a", Action: blockAction, When: `"web" in context.sources`}}, trust: untrusted, asked: trust, refused: true},
		{name: "by other sources", rules: rules{{Name: "a", Action: blockAction, When: `"mail" in context.sources`}}, trust: untrusted, asked: trust},
		{name: "by sources that nobody knows", rules: rules{{Name: "a", Action: blockAction, When: `"mail" in context.sources`}}, trust: unknown, asked: trust, refused: true},
		{name: "always", contexts: compile.ContextsUntrusted, rules: rules{{Name: "a", Action: blockIfUntrusted}}, refused: true},
		{name: "always, and by its sources", contexts: compile.ContextsUntrusted, rules: rules{{Name: "a", Action: blockIfUntrusted, When: `!("mail" in context.sources)`}}, asked: trust, refused: true},
		{name: "never", contexts: compile.ContextsTrusted, rules: rules{{Name: "a", Action: blockIfUntrusted}, {Name: "b", Action: blockAction, When: `context.untrusted || "web" in context.sources`}}, trust: untrusted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(`{"content":[]}`)}}
			known := &contexts{trust: tc.trust}
			d := newDispatcher(t, w)
			d.Contexts = known
			c := caller(ruled(t, compile.Gateway{Contexts: tc.contexts}, tc.rules...), wire.V20251125)
			c.Client.Session = "s"
			r, err := d.Call(t.Context(), c, toolCall(t, "ev__echo"), discard)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(known.asked, ", "); got != tc.asked || r.IsError != tc.refused || (len(w.calls) == 0) != tc.refused {
				t.Errorf("asked %q; %s", got, r.Result)
			}
			d.Contexts = nil // as nodes without one do
			if r, err = d.Call(t.Context(), c, toolCall(t, "ev__echo"), discard); err != nil || r.IsError != (tc.asked == trust || tc.refused) {
				t.Errorf("without contexts: %v, %s", err, r.Result)
			}
		})
	}
}

// An untrusted result is not delivered when it cannot be noted and a policy has to know it.
func TestUntrustedResult(t *testing.T) {
	guarded := []*resourcev1.Policy{{Name: "a", Action: blockIfUntrusted, Tools: []string{"ev__other"}}}
	away := fault.New(fault.Unavailable, "X", "away")
	for _, tc := range []struct {
		name     string
		contexts compile.Contexts
		rules    []*resourcev1.Policy
		away     error
		marked   string
		held     bool
	}{
		{name: "noted", rules: guarded, marked: "mark web of s"},
		{name: "not noted", rules: guarded, away: away, marked: "mark web of s", held: true},
		{name: "noted, for nobody", marked: "mark web of s"},
		{name: "not noted, for nobody", away: away, marked: "mark web of s"},
		{name: "always untrusted", contexts: compile.ContextsUntrusted, rules: guarded, away: away, marked: "mark web of s"},
		{name: "never untrusted", contexts: compile.ContextsTrusted, rules: guarded, away: away},
	} {
		t.Run(tc.name, func(t *testing.T) {
			known := &contexts{away: tc.away}
			d := newDispatcher(t, &world{})
			d.Contexts = known
			c := caller(ruled(t, compile.Gateway{Contexts: tc.contexts}, tc.rules...), wire.V20251125)
			c.Client.Session = "s"
			err := d.untrustedResult(t.Context(), &c, &call.Call{}, "web")
			if got := strings.Join(known.asked, ", "); got != tc.marked || (err != nil) != tc.held {
				t.Errorf("asked %q: %v", got, err)
			}
			if err == nil {
				return
			}
			if f := fault.From(err); f.Kind != fault.Unavailable || f.Reason != ReasonNotMarked || retryable(&target{retryable: true}, f) {
				t.Errorf("got %v", f)
			}
		})
	}
}

// The handle of a context comes and goes in _meta, and no server sees it or makes one.
func TestContextHandles(t *testing.T) {
	for _, tc := range []struct {
		name, meta, result, want string
	}{
		{"asked for", `{"io.penstock/context":true,"k":1}`, `{"content":[]}`, `{"_meta":{"io.penstock/context":"h\"true"},"content":[]}`},
		{"asked for, beside what the server says", `{"io.penstock/context":true}`, `{"content":[],"_meta":{"a":1}}`, `{"content":[],"_meta":{"io.penstock/context":"h\"true","a":1}}`},
		{"asked for, beside what the server makes up", `{"io.penstock/context":true}`, `{"content":[],"_meta":{"io.penstock/context":"x"}}`, `{"content":[],"_meta":{"io.penstock/context":"h\"true"}}`},
		{"not asked for", `{"k":1}`, `{"content":[]}`, `{"content":[]}`},
		{"not asked for, made up", `{"k":1}`, `{"content":[],"_meta":{"io.penstock/context":"x","a":1}}`, `{"content":[],"_meta":{"a":1}}`},
		{"sent", `{"io.penstock/context":"mine"}`, `{"content":[]}`, `{"content":[]}`},
	} {
		for _, v := range []wire.Version{wire.V20251125, wire.V20260728} {
			for _, way := range []string{`{"name":"ev__echo","_meta":%s}`, `{"name":"run_tool","arguments":{"tool_name":"echo"},"_meta":%s}`} {
				w := &world{reply: call.Reply{Result: []byte(tc.result)}}
				d := searching(t, w)
				known := &contexts{}
				d.Contexts = known
				s := ruled(t, compile.Gateway{LoadToolsWhenNeeded: true}, &resourcev1.Policy{Name: "a", Action: blockIfUntrusted})
				r, err := d.Call(t.Context(), caller(s, v), request(t, "tools/call", fmt.Sprintf(way, tc.meta)), discard)
				if err != nil || string(r.Result) != tc.want {
					t.Errorf("%s, %s: %v\ngot  %s\nwant %s", tc.name, v, err, r.Result, tc.want)
				}
				if sent := wire.Get([]byte(tc.meta), "io.penstock/context"); (sent != nil) != strings.Contains(known.asked[0], "with "+string(sent)) {
					t.Errorf("%s: asked %q", tc.name, known.asked)
				}
			}
		}
	}
	for way, want := range map[string]string{
		`{"name":"search_tools","arguments":{"query":"x"}`: `"match_count"`, `{"name":"run_tool","arguments":{"tool_name":"none"}`: "none",
		`{"name":"ev__echo"`: `"POLICY_BLOCKED"`,
	} {
		d := searching(t, &world{})
		d.Contexts = &contexts{trust: call.Trust{Untrusted: true}}
		s := ruled(t, compile.Gateway{LoadToolsWhenNeeded: true}, &resourcev1.Policy{Name: "a", Action: blockIfUntrusted})
		r, err := d.Call(t.Context(), caller(s, wire.V20251125), request(t, "tools/call", way+`,"_meta":{"io.penstock/context":true}}`), discard)
		if got := string(r.Result); err != nil || !strings.Contains(got, want) || !strings.Contains(got, `"_meta":{"io.penstock/context":"h\"true"}`) {
			t.Errorf("%s: %v, %s", way, err, r.Result)
		}
	}
	d := newDispatcher(t, &world{})
	d.Contexts = &contexts{err: fault.New(fault.Invalid, "CONTEXT_HANDLE_INVALID", "no")}
	_, err := d.Call(t.Context(), caller(ruled(t, compile.Gateway{}), wire.V20251125), request(t, "tools/call", `{"name":"ev__echo","_meta":{"io.penstock/context":"x"}}`), discard)
	if fault.From(err).Reason != "CONTEXT_HANDLE_INVALID" {
		t.Errorf("got %v", err)
	}
}
