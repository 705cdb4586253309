// SPDX-License-Identifier: Apache-2.0

package result_test

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/result"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const me = `{"name":"g","version":"1"}`

func request(name string) *result.Request {
	g := &view.Gateway{Gateway: compile.Gateway{Passthrough: true}, Capabilities: compile.Capabilities{Prompts: true, Resources: true, Completions: true}}
	return &result.Request{Method: name, Row: method.Find(name, wire.Latest, g), Capabilities: []byte(`{"elicitation":{}}`)}
}

// TestRead: which results may not reach a client (M-26, M-30). What is accepted, and how it is changed, is in the
// transcripts of edge.
func TestRead(t *testing.T) {
	const asks = `{"resultType":"input_required","requestState":"s"}`
	for _, tt := range []struct {
		name, method, raw string
		wrong             bool
	}{
		{"complete", "tools/call", `{"resultType":"complete"}`, false},
		{"without a type", "completion/complete", `{}`, false},
		{"tools may ask", "tools/call", asks, false},
		{"prompts may ask", "prompts/get", asks, false},
		{"resources may ask", "resources/read", asks, false},
		{"completions may not ask", "completion/complete", asks, true},
		{"other methods may ask, as far as is known here", "example/own", asks, false},
		{"no task of a prompt", "prompts/get", `{"resultType":"task"}`, true},
		{"types of other extensions", "example/own", `{"resultType":"example"}`, false},
		{"a question that is no object", "tools/call", `{"resultType":"input_required","inputRequests":{"q":5}}`, true},
		{"a question without a method", "tools/call", `{"resultType":"input_required","inputRequests":{"q":{}}}`, true},
		{"one of two questions may not be asked", "tools/call", `{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create"},"r":{"method":"roots/list"}}}`, true},
		{"no questions", "tools/call", `{"resultType":"input_required","inputRequests":{}}`, false},
		{"no object", "tools/call", `[]`, true},
		{"a member twice", "tools/call", `{"content":[],"content":[]}`, true},
		{"_meta is no object", "tools/call", `{"_meta":5}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r result.Reading
			err := r.Read(request(tt.method), []byte(tt.raw))
			if (err != nil) != tt.wrong || (err != nil && fault.From(err).Reason != result.ReasonUpstream) {
				t.Errorf("error %v, want one: %t", err, tt.wrong)
			}
		})
	}
}

// FuzzAppend: what is read can be appended, as one object that has what modern results have, and whose other members are
// byte for byte those of the upstream.
func FuzzAppend(f *testing.F) {
	for _, s := range []string{
		`{}`, `{ "content" : [ 1.50 ] }`, `{"_meta":{},"ttlMs":5}`, `{"_meta":{"io.modelcontextprotocol/serverInfo":5,"x":1},"resultType":"complete"}`,
		`{"cacheScope":"public","ttlMs":1e3,"contents":[],"x":12345678901234567890}`, `{"a\u0062":1,"":{}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, name := range []string{method.CallTool, method.Read} {
			q := request(name)
			var r result.Reading
			if r.Read(q, []byte(raw)) != nil {
				return
			}
			got := members(t, r.Append(nil, []byte(raw), q, []byte(me)))
			want := members(t, []byte(raw))
			if string(got["resultType"]) == "" || string(members(t, got["_meta"])[wire.MetaServerInfo]) != me {
				t.Fatalf("%s became %s", raw, got)
			}
			if ttl := string(got["ttlMs"]); name == method.Read && string(got["resultType"]) == `"complete"` &&
				(string(got["cacheScope"]) != `"private"` || ttl == "" || len(ttl) > len("300000")) {
				t.Fatalf("%s may be kept for %s, %s", raw, ttl, got["cacheScope"])
			}
			for _, key := range []string{"resultType", "_meta", "ttlMs", "cacheScope"} {
				delete(got, key)
				delete(want, key)
			}
			if !maps.EqualFunc(got, want, func(a, b json.RawMessage) bool { return string(a) == string(b) }) {
				t.Fatalf("%s became %s", raw, got)
			}
		}
	})
}

func members(t *testing.T, raw []byte) map[string]json.RawMessage {
	t.Helper()
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	out := make(map[string]json.RawMessage, len(fields))
	for _, f := range fields {
		out[string(f.Name)] = slices.Clone(f.Of(raw))
	}
	return out
}

func TestAppendHead(t *testing.T) {
	got := string(result.AppendHead(nil, 1500*time.Millisecond, []byte(me), []byte(`"a":1,"b":2`))) + `"tools":[]}`
	want := `{"resultType":"complete","ttlMs":1500,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":` + me + `,"a":1,"b":2},"tools":[]}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestReuse: nothing of one result stays for the next.
func TestReuse(t *testing.T) {
	var r result.Reading
	q := request(method.Read)
	if err := r.Read(q, []byte(`{"contents":[],"ttlMs":5000,"_meta":{"x":1}}`)); err != nil {
		t.Fatal(err)
	}
	first := string(r.Append(nil, []byte(`{"contents":[],"ttlMs":5000,"_meta":{"x":1}}`), q, []byte(me)))
	r.Reset()
	if err := r.Read(q, []byte(`{"contents":[]}`)); err != nil {
		t.Fatal(err)
	}
	second := string(r.Append(nil, []byte(`{"contents":[]}`), q, []byte(me)))
	want := `{"_meta":{"io.modelcontextprotocol/serverInfo":` + me + `},"resultType":"complete","ttlMs":0,"cacheScope":"private","contents":[]}`
	if second != want {
		t.Errorf("after %s: %s, want %s", first, second, want)
	}
}
