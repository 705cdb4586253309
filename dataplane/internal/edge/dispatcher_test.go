// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// dispatcher lists what the view has and runs tools by their name. It remembers the calls.
type dispatcher struct {
	mu      sync.Mutex
	seen    []call.Caller
	started chan struct{} // one value for each tool wait that began
	release chan struct{} // closed or fed to let them end
	ended   chan error    // cause of their context, nil if released

	watched chan call.Subscription // one value for each Watch that began
	told    chan string            // messages of upstreams, for a Watch to deliver
	left    chan struct{}          // one value for each Watch that ended

	talk
}

func newDispatcher() *dispatcher {
	return &dispatcher{
		started: make(chan struct{}, 512), release: make(chan struct{}), ended: make(chan error, 512),
		watched: make(chan call.Subscription, 512), told: make(chan string), left: make(chan struct{}, 512),
	}
}

func (d *dispatcher) last(t *testing.T) call.Caller {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.seen) == 0 {
		t.Fatal("nothing was dispatched")
	}
	return d.seen[len(d.seen)-1]
}

func (d *dispatcher) saw(c call.Caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, c)
}

// List implements edge.Dispatcher.
func (d *dispatcher) List(_ context.Context, c call.Caller, method string, cursor *string) (call.Page, error) {
	d.saw(c)
	if cursor != nil && *cursor != "next" {
		return call.Page{}, fault.New(fault.Invalid, "CURSOR_INVALID", "The cursor is not valid.")
	}
	switch method {
	case "prompts/list":
		return call.Page{Result: []byte(`{"prompts":[{"name":"greet"}]}`)}, nil
	case "resources/list":
		return call.Page{
			Result: []byte(`{"resources":[{"name":"a","uri":"test://a"}]}`), Meta: []byte(`"io.penstock/partial":["srv"]`),
		}, nil
	case "resources/templates/list":
		return call.Page{Result: []byte(`{"resourceTemplates":[]}`)}, nil
	}
	b := []byte(`{"tools":[`)
	for i, t := range c.Snapshot.Tools(c.Gateway) {
		if i == 2 { // enough for a test
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, t.Body.Bytes()...)
	}
	if cursor == nil {
		return call.Page{Result: append(b, `],"nextCursor":"next"}`...)}, nil
	}
	return call.Page{Result: append(b, `]}`...)}, nil
}

const progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":`

// Call implements edge.Dispatcher.
func (d *dispatcher) Call(ctx context.Context, c call.Caller, t call.Call, sink func([]byte) error) (call.Reply, error) {
	d.saw(c)
	if t.Method != "tools/call" {
		return other(c, t)
	}
	if c.Snapshot.Tool(c.Gateway, t.Name) == nil {
		return call.Reply{}, fault.New(fault.NotFound, "TOOL_NOT_FOUND", "Unknown tool")
	}
	text := func(s string) call.Reply {
		return call.Reply{Result: append(wire.AppendString([]byte(`{"content":[{"type":"text","text":`), s), `}]}`...)}
	}
	if result, ok := special()[t.Name]; ok {
		return result, nil
	}
	switch t.Name {
	case "client":
		return text(fmt.Sprintf("%s %q %q", c.Client.Capabilities, c.Client.LogLevel, c.Client.Session)), nil
	case "needs-forms":
		return call.Reply{}, fault.New(fault.MissingCapability, "CLIENT_CAPABILITY_MISSING", "The server asks with forms.").At("elicitation", `{"form":{}}`)
	case "fail":
		return call.Reply{Result: []byte(`{"content":[{"type":"text","text":"no"}],"isError":true}`), IsError: true}, nil
	case "progress":
		for _, done := range []string{"1", "2"} {
			if t.ProgressToken != nil {
				_ = sink([]byte(progress + string(t.ProgressToken) + `,"progress":` + done + `,` + "\n" + `"total":2}}`))
			}
		}
		return text("done"), nil
	case "raw-error":
		return call.Reply{Error: []byte(`{"code":-32042,"message":"open the link","data":{"elicitations":[]}}`)}, nil
	case "meta":
		return call.Reply{Result: []byte(`{ "_meta" : {"x.example/big":12345678901234567890, ` +
			`"io.modelcontextprotocol/serverInfo":{"name":"upstream","version":"9"}}, "resultType":"complete", "content":[], "extra":1.0 }`)}, nil
	case "wait":
		return d.wait(ctx)
	case "wait-flood":
		if r, err := d.wait(ctx); err != nil {
			return r, err
		}
		return call.Reply{}, fault.New(fault.Exhausted, "FLOOD", "Too many calls.").After(time.Second)
	case "question":
		return d.question(ctx, c)
	case "steps":
		return d.steps(ctx, t, sink)
	case "panic":
		panic("tool panics")
	case "nothing":
		return call.Reply{}, nil
	case "canceled":
		return call.Reply{}, fault.New(fault.Canceled, "CANCELED", "An upstream canceled.")
	case "down":
		return call.Reply{}, fault.New(fault.Unavailable, "UPSTREAM_UNAVAILABLE", "The server srv cannot be reached.")
	case "slow":
		return call.Reply{}, context.DeadlineExceeded
	case "bug":
		return call.Reply{}, errors.New("secret detail")
	case "flood":
		return call.Reply{}, fault.New(fault.Exhausted, "FLOOD", "Too many calls.").After(1500 * time.Millisecond)
	case "denied":
		return call.Reply{}, fault.New(fault.Denied, "INSUFFICIENT_SCOPE", "The token lacks a scope.")
	}
	return text(string(t.Message.P.Arguments.Of(t.Body))), nil
}

func (d *dispatcher) wait(ctx context.Context) (call.Reply, error) {
	d.started <- struct{}{}
	select {
	case <-d.release:
		d.ended <- nil
		return call.Reply{Result: []byte(`{"content":[]}`)}, nil
	case <-ctx.Done():
		d.ended <- context.Cause(ctx)
		return call.Reply{}, ctx.Err()
	}
}

// special are the results of tools that answer one thing.
func special() map[string]call.Reply {
	out := map[string]call.Reply{
		"needs":     {Error: []byte(`{"code":-32021,"message":"needs roots","data":{"requiredCapabilities":{"roots":{}}}}`)},
		"no-method": {Error: []byte(`{"code":-32601,"message":"Method not found"}`)},
	}
	for name, result := range map[string]string{
		"ask-form":     `{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"m","requestedSchema":{"type":"object","properties":{}}}}},"requestState":"s"}`,
		"ask-link":     `{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create","params":{"mode":"url","message":"m","url":"https://example.com"}}}}`,
		"ask-sampling": `{"resultType":"input_required","inputRequests":{"q":{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":5}}}}`,
		"ask-roots":    `{"inputRequests":{"q":{"method":"roots/list"}},"resultType":"input_required"}`,
		"ask-other":    `{"resultType":"input_required","inputRequests":{"q":{"method":"other/ask"}}}`,
		"ask-list":     `{"resultType":"input_required","inputRequests":[]}`,
		"ask-state":    `{"resultType":"input_required","requestState":"s","_meta":{"x":1}}`,
		"ask-nothing":  `{"resultType":"input_required"}`,
		"task":         `{"resultType":"task","taskId":"t","status":"working"}`,
		"odd":          `{"resultType":"odd","content":[]}`,
		"odd-kind":     `{"resultType":5,"content":[]}`,
		"cached":       `{"content":[],"ttlMs":5,"cacheScope":"public"}`,
	} {
		out[name] = call.Reply{Result: []byte(result)}
	}
	return out
}

// other answers the methods besides tools/call.
func other(c call.Caller, t call.Call) (call.Reply, error) {
	uri, _ := wire.DecodeString(t.Message.P.URI.Of(t.Body))
	task, _ := wire.DecodeString(t.Message.P.TaskID.Of(t.Body))
	switch what := t.Method + " " + t.Name + uri + task; what {
	case "prompts/get greet":
		return call.Reply{Result: []byte(`{"messages":[]}`)}, nil
	case "prompts/get ask", "resources/read test://ask":
		return special()["ask-form"], nil
	case "resources/read test://a", "resources/read test://ä":
		return call.Reply{Result: []byte(`{"contents":[{"uri":"test://a","text":""}],"ttlMs":700000,"cacheScope":"public"}`)}, nil
	case "resources/read test://short":
		return call.Reply{Result: []byte(`{"ttlMs":2500,"contents":[]}`)}, nil
	case "resources/read test://old":
		return call.Reply{Result: []byte(`{"contents":[]}`)}, nil
	case "resources/read test://odd":
		return call.Reply{Result: []byte(`{"contents":[],"ttlMs":-1.5,"cacheScope":7}`)}, nil
	case "resources/read test://down":
		return call.Reply{}, fault.New(fault.Unavailable, "UPSTREAM_UNAVAILABLE", "The server all cannot be reached.")
	case "resources/read test://slow":
		return call.Reply{}, fault.New(fault.Timeout, "UPSTREAM_TIMEOUT", "The server all did not answer in time.")
	case "completion/complete ":
		return complete(t)
	case "resources/subscribe test://a", "resources/unsubscribe test://a":
		return call.Reply{Result: []byte(`{}`)}, nil
	case "tasks/get t", "tasks/update t", "tasks/cancel t":
		if c.Version == modern {
			return call.Reply{Result: []byte(`{"taskId":"t","status":"working"}`)}, nil
		}
		return call.Reply{Result: []byte(`{"taskId":"t","status":"working","createdAt":"2026-01-01T00:00:00Z","lastUpdatedAt":"2026-01-01T00:00:00Z","ttl":null}`)}, nil
	case "tasks/result t":
		return call.Reply{Result: []byte(`{"content":[]}`)}, nil
	case "example/own ":
		return call.Reply{Result: []byte(`{"resultType":"example","x":1}`)}, nil
	}
	return call.Reply{}, fault.New(fault.NotFound, "NOT_FOUND", "Unknown name")
}

// Subscribe implements edge.Dispatcher: it honours what the gateway declares, and resources called test://.
func (d *dispatcher) Subscribe(c call.Caller, want call.Subscription) (call.Subscription, error) {
	d.saw(c)
	has := c.Gateway.Capabilities
	out := call.Subscription{
		Tools: want.Tools, Prompts: want.Prompts && has.Prompts, Resources: want.Resources && has.Resources, TaskIDs: want.TaskIDs,
	}
	for _, uri := range want.URIs {
		if has.ResourcesWatched && strings.HasPrefix(uri, "test://") {
			out.URIs = append(out.URIs, uri)
		}
		if uri == "test://panic" {
			panic("the filter panics")
		}
	}
	return out, nil
}

// Watch implements edge.Dispatcher.
func (d *dispatcher) Watch(ctx context.Context, _ call.Caller, honoured call.Subscription, deliver func([]byte)) {
	taken := honoured.Established
	honoured.Established = nil
	d.watched <- honoured
	if taken != nil {
		taken()
	}
	for {
		select {
		case m := <-d.told:
			if m == "panic" {
				panic("the watch panics")
			}
			deliver([]byte(m))
		case <-ctx.Done():
			d.left <- struct{}{}
			return
		}
	}
}
