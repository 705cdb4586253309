// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// two is a gateway in front of the servers a and b, which both have a prompt "p" and resources: a owns file://, b owns
// repo://x, and both have mem://.
func two() *view.Snapshot {
	b := view.From(nil)
	caps := compile.Capabilities{
		Prompts: true, PromptsChanged: true, Resources: true, ResourcesChanged: true, ResourcesWatched: true, Tools: true,
	}
	for name, authorities := range map[string][]string{"a": {"file://", "mem://"}, "b": {"mem://", "repo://x"}} {
		caps.Completions = name == "a"
		b.PutServer(name, &view.Server{
			Name: name, Capabilities: caps, Authorities: authorities,
			Prompts:   []compile.Listed{{Name: "p", Body: []byte(`{"name":"p","x":9007199254740993}`)}, {Name: "only_" + name, Body: []byte(`{"name":"only_` + name + `"}`)}},
			Templates: []compile.Listed{{Name: "mem://{id}", Body: []byte(`{"uriTemplate":"mem://{id}","name":"t"}`)}},
		})
		b.PutConnection("con-"+name, &view.Connection{Name: "con-" + name, UID: "uid-" + name, Server: name})
	}
	b.PutGateway(&view.Gateway{
		Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", Features: []compile.Feature{
			{Server: "a", Connection: "con-a", Prompts: true, Resources: true},
			{Server: "b", Connection: "con-b", Prompts: true, Resources: true},
		}},
		Tools: []*view.Tool{{
			Exposed: "a__t", Upstream: "t", Name: "a/t", Server: "a", Connection: "con-a",
			Body: plain(`{"name":"t","_meta":{"ui":{"visibility":["app"],"resourceUri":"mem://page"}}}`),
		}},
	})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	return h.Load()
}

func request(t *testing.T, method, params string) call.Call {
	t.Helper()
	raw := []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":%s}`, method, params))
	m := new(wire.Message)
	if err := wire.Scan(raw, m); err != nil {
		t.Fatal(err)
	}
	name, _ := wire.DecodeString(m.P.Name.Of(raw))
	return call.Call{Method: method, Name: name, Params: m.Params.Of(raw), Message: m, Body: raw}
}

func discard([]byte) error { return nil }

// M-53, M-63, M-67: who answers a request, and the only bytes that change on the way there.
func TestRouting(t *testing.T) {
	tests := []struct{ name, method, params, server, want string }{
		{"prompt of two servers", "prompts/get", `{"arguments":{"n":9007199254740993}, "name":"b__p"}`, "b", `{"arguments":{"n":9007199254740993}, "name":"p"}`},
		{"resource by its authority", "resources/read", `{ "uri":"repo://x/1" }`, "b", `{ "uri":"repo://x/1" }`},
		{"resource by its server's name", "resources/read", `{"uri":"pst:a:mem://1","_meta":{"k":1}}`, "a", `{"uri":"mem://1","_meta":{"k":1}}`},
		{"subscription", "resources/subscribe", `{"uri":"pst:b:mem://1"}`, "b", `{"uri":"mem://1"}`},
		{"completion of a prompt", "completion/complete", `{"ref":{"type":"ref/prompt","name":"a__only_a"},"argument":{},"context":{}}`, "a", `{"ref":{"type":"ref/prompt","name":"only_a"},"argument":{},"context":{}}`},
		{"completion of a template", "completion/complete", `{"ref":{"type":"ref/resource","uri":"pst:a:mem://{id}"},"argument":{}}`, "a", `{"ref":{"type":"ref/resource","uri":"mem://{id}"},"argument":{}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(`{"n":9007199254740993}`)}}
			reply, err := newDispatcher(t, w).Call(t.Context(), caller(two(), wire.V20251125), request(t, tt.method, tt.params), discard)
			if err != nil || string(reply.Result) != `{"n":9007199254740993}` {
				t.Fatalf("%s %v", reply.Result, err)
			}
			if o := w.calls[0]; o.Server.Name != tt.server || string(o.Params) != tt.want || o.Connection.Name != "con-"+tt.server {
				t.Errorf("went to %s over %s with %s, want %s with %s", o.Server.Name, o.Connection.Name, o.Params, tt.server, tt.want)
			}
		})
	}
}

// RS-21, M-46, M-47, M-67: what is not there for the caller, and what the upstream says is not there.
func TestNotThere(t *testing.T) {
	tests := []struct {
		name, method, params string
		err                  string // of the upstream
		kind                 fault.Kind
		reason               string
	}{
		{"prompt", "prompts/get", `{"name":"p"}`, "", fault.NotFound, ReasonUnknownPrompt},
		{"resource without owner", "resources/read", `{"uri":"gone://1"}`, "", fault.NotFound, ReasonUnknownResource},
		{"resource of several owners", "resources/read", `{"uri":"mem://1"}`, "", fault.NotFound, ReasonUnknownResource},
		{"resource of a server that is not there", "resources/subscribe", `{"uri":"pst:c:mem://1"}`, "", fault.NotFound, ReasonUnknownResource},
		{"reference to a prompt", "completion/complete", `{"ref":{"type":"ref/prompt","name":"nope"}}`, "", fault.NotFound, ReasonUnknownPrompt},
		{"reference to a resource", "completion/complete", `{"ref":{"type":"ref/resource","uri":"nope"}}`, "", fault.Invalid, ReasonUnknownReference},
		{"method of several servers", "x/y", `{}`, "", fault.NotFound, ReasonUnknownMethod},
		{"legacy upstream", "resources/read", `{"uri":"pst:a:mem://1"}`, `{"code":-32002,"message":"no"}`, fault.NotFound, ReasonUnknownResource},
		{"modern upstream", "resources/read", `{"uri":"pst:a:mem://1"}`, `{"code":-32602,"message":"no","data":{"uri":"mem://1"}}`, fault.NotFound, ReasonUnknownResource},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{}
			if tt.err != "" {
				w.reply.Error = []byte(tt.err)
			}
			_, err := newDispatcher(t, w).Call(t.Context(), caller(two(), wire.V20251125), request(t, tt.method, tt.params), discard)
			if f := fault.From(err); err == nil || f.Kind != tt.kind || f.Reason != tt.reason {
				t.Errorf("got %v, want %s", err, tt.reason)
			}
			if tt.err == "" && len(w.calls) > 0 {
				t.Error("an upstream was asked")
			}
		})
	}
}

// M-53: a server without completions has none to offer.
func TestCompletionWithoutServer(t *testing.T) {
	w := &world{}
	reply, err := newDispatcher(t, w).Call(t.Context(), caller(two(), wire.V20251125),
		request(t, "completion/complete", `{"ref":{"type":"ref/prompt","name":"b__only_b"},"argument":{}}`), discard)
	if err != nil || string(reply.Result) != `{"completion":{"values":[]}}` || len(w.calls) > 0 {
		t.Errorf("%s %v, %d calls", reply.Result, err, len(w.calls))
	}
}

// What an upstream says passes as bridge gives it; only a resource that is not there is told in the client's words, where
// they differ from the server's.
func TestUpstreamErrors(t *testing.T) {
	const big = `{"code":-32602,"message":"bad","data":{"uri":"mem://2","big":9007199254740993}}`
	for _, tt := range []struct{ name, params, raw string }{
		{"ordinary", `{"uri":"pst:a:mem://1"}`, big},
		{"not there, by the same name", `{"uri":"repo://x/1"}`, `{"code":-32002,"message":"no","data":{"uri":"repo://x/1"}}`},
	} {
		w := &world{reply: call.Reply{Error: []byte(tt.raw)}}
		reply, err := newDispatcher(t, w).Call(t.Context(), caller(two(), wire.V20260728), request(t, "resources/read", tt.params), discard)
		if diff := cmp.Diff(tt.raw, string(reply.Error)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// M-46: what a method other than tools/call comes to when its upstream cannot be asked.
func TestFaultsOfOtherMethods(t *testing.T) {
	for _, kind := range []fault.Kind{fault.Unavailable, fault.Timeout, fault.Exhausted, fault.Precondition} {
		w := &world{err: fault.New(kind, "WHY", "why")}
		_, err := newDispatcher(t, w).Call(t.Context(), caller(two(), wire.V20251125), request(t, "prompts/get", `{"name":"b__p"}`), discard)
		want := kind
		if kind == fault.Precondition {
			want = fault.Unavailable
		}
		if f := fault.From(err); f.Kind != want || f.Reason != "WHY" || f.Public != "why" {
			t.Errorf("%v: got %v", kind, err)
		}
	}
}

// M-66: URIs in results are what leads back to their server; everything else stays.
func TestURIsOfResults(t *testing.T) {
	tests := []struct{ name, method, params, result, want string }{
		{
			"contents", "resources/read", `{"uri":"pst:a:mem://1"}`,
			`{"contents":[{"text":"t","uri":"mem://1"},{"uri":"file:///x"},{"uri":"repo://x/1"}],"uri":"mem://1"}`,
			`{"contents":[{"text":"t","uri":"pst:a:mem://1"},{"uri":"file:///x"},{"uri":"pst:a:repo://x/1"}],"uri":"mem://1"}`,
		},
		{
			"tool", "tools/call", `{"name":"a__t"}`,
			`{"content":[{"type":"resource_link","uri":"mem://1","name":"n"},{"type":"resource","resource":{"uri":"mem://2","text":""}},{"type":"text","text":"mem://3"},{"type":"resource_link","uri":"https://example.com/"}]}`,
			`{"content":[{"type":"resource_link","uri":"pst:a:mem://1","name":"n"},{"type":"resource","resource":{"uri":"pst:a:mem://2","text":""}},{"type":"text","text":"mem://3"},{"type":"resource_link","uri":"https://example.com/"}]}`,
		},
		{
			"prompt", "prompts/get", `{"name":"b__p"}`, `{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"mem://2"}}}]}`,
			`{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"pst:b:mem://2"}}}]}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &world{reply: call.Reply{Result: []byte(tt.result)}}
			reply, err := newDispatcher(t, w).Call(t.Context(), caller(two(), wire.V20251125), request(t, tt.method, tt.params), discard)
			if diff := cmp.Diff(tt.want, string(reply.Result)); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// M-68: lists of the view have the names and URIs that clients know, and every other byte of the server.
func TestListsOfTheView(t *testing.T) {
	tests := []struct{ method, want string }{
		{"tools/list", `{"tools":[{"name":"a__t","_meta":{"ui":{"visibility":["app"],"resourceUri":"pst:a:mem://page"}}}]}`},
		{"prompts/list", `{"prompts":[{"name":"a__only_a"},{"name":"a__p","x":9007199254740993},{"name":"b__only_b"},{"name":"b__p","x":9007199254740993}]}`},
		{"resources/templates/list", `{"resourceTemplates":[{"uriTemplate":"pst:a:mem://{id}","name":"t"},{"uriTemplate":"pst:b:mem://{id}","name":"t"}]}`},
	}
	for _, tt := range tests {
		page, err := newDispatcher(t, &world{}).List(t.Context(), caller(two(), wire.V20251125), tt.method, nil)
		if diff := cmp.Diff(tt.want, string(page.Result)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.method, err, diff)
		}
	}
}

// M-64: a tool that cannot be called with headers is not shown to those who would have to send them.
func TestBadHeaderSchemas(t *testing.T) {
	const bad = `{"name":"x","inputSchema":{"type":"object","properties":{"a":{"type":"string","x-mcp-header":"not a token"}}}}`
	s := snapshot(echo(), &view.Tool{Exposed: "bad", Name: "ev/bad", Server: "ev", Body: plain(bad)})
	for version, want := range map[wire.Version]bool{wire.V20251125: true, wire.V20260728: false} {
		page, err := newDispatcher(t, &world{}).List(t.Context(), caller(s, version), "tools/list", nil)
		if got := strings.Contains(string(page.Result), `"bad"`); err != nil || got != want {
			t.Errorf("%s: shown %t, want %t: %v", version, got, want, err)
		}
	}
}

// M-69, M-70, M-72: resources are asked for at all servers at once; one that fails is named, the others go on.
func TestResources(t *testing.T) {
	w := &world{by: map[string]call.Reply{
		"a resources/list": {Result: []byte(`{"resources":[{"uri":"mem://1","name":"one"},{"uri":"file:///2"}],"nextCursor":""}`)},
		"b resources/list": {Result: []byte(`{"resources":[ {"uri":"repo://x/3"} ],"nextCursor":null}`)},
	}}
	d, c := newDispatcher(t, w), caller(two(), wire.V20251125)
	page, err := d.List(t.Context(), c, "resources/list", nil)
	if err != nil {
		t.Fatal(err)
	}
	var first struct{ NextCursor *string }
	if err := json.Unmarshal(page.Result, &first); err != nil || first.NextCursor == nil {
		t.Fatalf("%v in %s", err, page.Result)
	}
	want := `{"resources":[{"uri":"pst:a:mem://1","name":"one"},{"uri":"file:///2"},{"uri":"repo://x/3"}],"nextCursor":`
	if !strings.HasPrefix(string(page.Result), want) || page.Meta != nil {
		t.Errorf("got %s, meta %s", page.Result, page.Meta)
	}
	w.calls = nil
	w.by["a resources/list"] = call.Reply{Result: []byte(`{"resources":[]}`)}
	page, err = d.List(t.Context(), c, "resources/list", first.NextCursor)
	if err != nil || string(page.Result) != `{"resources":[]}` {
		t.Errorf("second page %s %v", page.Result, err)
	}
	if len(w.calls) != 1 || w.calls[0].Server.Name != "a" || string(w.calls[0].Params) != `{"cursor":""}` {
		t.Errorf("second page asked %v", w.calls)
	}
	w.by["a resources/list"] = call.Reply{Error: []byte(`{"code":1,"message":"broken"}`)}
	page, err = d.List(t.Context(), c, "resources/list", nil)
	if err != nil || string(page.Result) != `{"resources":[{"uri":"repo://x/3"}]}` || string(page.Meta) != `"io.penstock/partial":["a"]` {
		t.Errorf("with a broken server: %s, meta %s, %v", page.Result, page.Meta, err)
	}
}

// M-29: only what can be watched is honoured.
func TestSubscribe(t *testing.T) {
	got, err := newDispatcher(t, &world{}).Subscribe(caller(two(), wire.V20260728), call.Subscription{
		Tools: true, Prompts: true, Resources: true, URIs: []string{"repo://x/1", "mem://1", "pst:a:mem://1", "gone://1"},
	})
	if err != nil || !got.Tools || !got.Prompts || !got.Resources || !slices.Equal(got.URIs, []string{"repo://x/1", "pst:a:mem://1"}) {
		t.Errorf("got %+v %v", got, err)
	}
	got, err = newDispatcher(t, &world{}).Subscribe(caller(snapshot(echo()), wire.V20260728), call.Subscription{Tools: true, Prompts: true, Resources: true})
	if err != nil || !got.Tools || got.Prompts || got.Resources {
		t.Errorf("without features: got %+v %v", got, err)
	}
}

// M-71: servers are watched once however many listen, changes of lists lead to a discovery, updates to the client.
func TestWatch(t *testing.T) {
	w := &world{}
	d, c := newDispatcher(t, w), caller(two(), wire.V20260728)
	heard := make(chan string, 16)
	listen := func(s call.Subscription) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.Watch(ctx, c, s, func(m []byte) { heard <- string(m) })
		}()
		return func() { cancel(); <-ended }
	}
	established := make(chan string, 1)
	stop := listen(call.Subscription{
		Resources: true, URIs: []string{"pst:a:mem://1"}, Established: func() { established <- "" },
	})
	await(t, established)
	for range 3 { // the lists of a and b, and the resource
		await(t, w.watches)
	}
	w.mu.Lock()
	if slices.Sort(w.changed); !slices.Equal(w.changed, []string{"a/con-a", "b/con-b"}) {
		t.Errorf("discovered %v when the watches began", w.changed)
	}
	w.changed = nil
	w.mu.Unlock()
	second := listen(call.Subscription{Prompts: true, URIs: []string{"repo://x/1"}})
	if got := await(t, w.watches); got != "b[repo://x/1]" {
		t.Errorf("the second listener watches %s", got)
	}
	second()
	if got := await(t, w.watches); got != "-b[repo://x/1]" {
		t.Errorf("the second listener ended %s", got)
	}
	w.watch["a[mem://1]"]([]byte(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"mem://1"}}`))
	if got := await(t, heard); !strings.Contains(got, `"pst:a:mem://1"`) {
		t.Errorf("heard %s", got)
	}
	for range 3 {
		w.watch["b[]"]([]byte(`{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}`))
	}
	w.watch["a[]"]([]byte(`{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}`))
	if got := await(t, heard); !strings.Contains(got, noticeResources) {
		t.Errorf("heard %s", got)
	}
	stop()
	if len(heard) > 0 {
		t.Errorf("heard %s: several changes are told once, prompts with the view", <-heard)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if want := []string{"b/con-b", "b/con-b", "b/con-b", "a/con-a"}; !slices.Equal(w.changed, want) {
		t.Errorf("discovered %v, want %v", w.changed, want)
	}
}

// M-91: what the servers of a session tell outside of calls.
func TestAttach(t *testing.T) {
	w := &world{}
	d, c := newDispatcher(t, w), caller(two(), wire.V20251125)
	c.Client.Session = "s"
	heard := make(chan string, 16)
	detach := d.Attach(c, func(m []byte) { heard <- string(m) })
	for range 2 {
		await(t, w.watches)
	}
	w.attach("con-b", []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info"}}`))
	w.attach("con-b", []byte(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`))
	w.attach("con-b", []byte(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"mem://1"}}`))
	if got := await(t, heard); !strings.Contains(got, "notifications/message") {
		t.Errorf("heard %s", got)
	}
	if got := await(t, heard); !strings.Contains(got, `"pst:b:mem://1"`) {
		t.Errorf("heard %s", got)
	}
	detach()
	if slices.Sort(w.changed); !slices.Equal(w.changed, []string{"a/con-a", "b/con-b", "b/con-b"}) {
		t.Errorf("discovered %v, want each when its watch began, and b once more", w.changed)
	}
	d.EndSession("s")
	if !slices.Equal(w.ended, []string{"s"}) {
		t.Errorf("ended %v", w.ended)
	}
}

func await(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case s := <-from:
		return s
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		return ""
	}
}
