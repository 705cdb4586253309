// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestRewrite(t *testing.T) {
	const modern = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"node","version":"1.0"},` +
		`"io.modelcontextprotocol/clientCapabilities":{}`
	tests := []struct {
		name         string
		version      wire.Version
		r            Input
		want, header string
	}{
		{"legacy, nothing", wire.V20251125, Input{}, "", ""},
		{"legacy, untouched", wire.V20251125, Input{Params: []byte(`{ "name":"a" ,"arguments":{"n":1e400}}`)}, `{ "name":"a" ,"arguments":{"n":1e400}}`, ""},
		{"legacy, token without params", wire.V20251125, Input{Token: []byte("7")}, `{"_meta":{"progressToken":7}}`, ""},
		{"legacy, token without _meta", wire.V20251125, Input{Params: []byte(`{"name":"a"}`), Token: []byte("7")}, `{"_meta":{"progressToken":7},"name":"a"}`, ""},
		{"legacy, token replaced", wire.V20251125, Input{Params: []byte(`{"_meta":{"a":1,"progressToken":"x"}}`), Token: []byte(`7`)}, `{"_meta":{"a":1,"progressToken":7}}`, ""},
		{"token nobody waits for", wire.V20251125, Input{Params: []byte(`{"_meta":{"progressToken":"x","a":1}}`)}, `{"_meta":{"a":1}}`, ""},
		{"baggage", wire.V20251125, Input{Params: []byte(`{"_meta":{"baggage":"user=ada","a":1}}`)}, `{"_meta":{"a":1}}`, ""},
		{
			"legacy, reserved keys", wire.V20251125,
			Input{Params: []byte(`{"_meta":{"io.modelcontextprotocol/logLevel":"info","io.modelcontextprotocol/related-task":{"taskId":"1"},"io.penstock/x":1}}`)},
			`{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"}}}`, "",
		},
		{"modern, nothing", wire.V20260728, Input{}, `{"_meta":{` + modern + `}}`, ""},
		{"modern, params", wire.V20260728, Input{Method: "tools/call", Params: []byte(`{"name":"a"}`)}, `{"_meta":{` + modern + `},"name":"a"}`, "a"},
		{"modern, empty _meta", wire.V20260728, Input{Params: []byte(`{"_meta":{}}`)}, `{"_meta":{` + modern + `}}`, ""},
		{
			"modern, all of it", wire.V20260728,
			Input{
				Method: "prompts/get", Token: []byte(`7`), Traceparent: "00-1", From: wire.V20251125,
				Params: []byte(`{"name":"ü","_meta":{"io.modelcontextprotocol/logLevel":"info","progressToken":"x","traceparent":"old"}}`),
			},
			`{"name":"ü","_meta":{` + modern + `,"progressToken":7,"traceparent":"00-1"}}`, "=?base64?w7w=?=",
		},
		{
			"modern, log level of a modern client", wire.V20260728,
			Input{Params: []byte(`{"_meta":{"io.modelcontextprotocol/logLevel":"info"}}`), From: wire.V20260728},
			`{"_meta":{` + modern + `,"io.modelcontextprotocol/logLevel":"info"}}`, "",
		},
		{"uri", wire.V20260728, Input{Method: "resources/read", Params: []byte(`{"_meta":{},"uri":"file:///a b"}`)}, `{"_meta":{` + modern + `},"uri":"file:///a b"}`, "file:///a b"},
	}
	var w Rewriter
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.r.To, tt.r.ClientInfo = tt.version, []byte(`{"name":"node","version":"1.0"}`)
			params, name, err := w.Params(&tt.r)
			if err != nil {
				t.Fatal(err)
			}
			if string(params) != tt.want {
				t.Errorf("got  %s\nwant %s", params, tt.want)
			}
			if name != tt.header {
				t.Errorf("Mcp-Name %q, want %q", name, tt.header)
			}
			w.Reset()
		})
	}
	for _, params := range []string{`[]`, `{"a":1,"a":2}`, `{"_meta":1}`, `{`} {
		if _, _, err := w.Params(&Input{Params: []byte(params), To: wire.V20260728}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", params, err)
		}
	}
}

type fields http.Header

func (f fields) Values(name string, values []string) { f[name] = append(f[name], values...) }

// TestHeaders: G-41, G-42.
func TestHeaders(t *testing.T) {
	got := fields{}
	Headers(got, http.Header{
		"Authorization": {"Bearer server"}, "X-Fixed": {"1", "2"}, "Accept": {"text/html"}, "Mcp-Session-Id": {"x"}, "Host": {"x"},
	}, http.Header{
		"X-Correlation-Id": {"c"}, "x-fixed": {"client"}, "Authorization": {"Bearer client"}, "Cookie": {"c"}, "Dpop": {"d"}, "X-Api-Key": {"k"},
		"Proxy-Authorization": {"p"}, "Forwarded": {"f"}, "X-Forwarded-For": {"f"}, "x-forwarded-host": {"f"}, "X-Real-Ip": {"r"}, "mcp-name": {"n"},
		"Content-Type": {"x"}, "Content-Length": {"1"}, "Transfer-Encoding": {"x"}, "Connection": {"close"}, "Te": {"x"}, "Upgrade": {"x"},
		"Traceparent": {"x"}, "Tracestate": {"x"}, "Last-Event-Id": {"1"}, "Accept-Encoding": {"gzip"}, "Expect": {"x"},
	})
	want := fields{"Authorization": {"Bearer server"}, "X-Fixed": {"1", "2"}, "X-Correlation-Id": {"c"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("fields (-want +got):\n%s", d)
	}
}
