// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestDescribeRealServer: all lists of a real server, in both eras.
func TestDescribeRealServer(t *testing.T) {
	s := server.NewMCPServer("real", "9.9", server.WithToolCapabilities(true), server.WithPromptCapabilities(true),
		server.WithResourceCapabilities(true, true), server.WithPaginationLimit(1))
	for _, name := range []string{"a", "b"} {
		s.AddTool(mcp.NewTool(name), nil)
		s.AddPrompt(mcp.NewPrompt(name), nil)
		s.AddResource(mcp.NewResource("x://"+name, name), nil)
		s.AddResourceTemplate(mcp.NewResourceTemplate("x://"+name+"/{id}", name), nil)
	}
	web := httptest.NewServer(server.NewStreamableHTTPServer(s, server.WithStateful(true)))
	defer web.Close()
	p := newPool(t, nil)
	for _, v := range []wire.Version{wire.V20260728, wire.V20251125, wire.V20250326} {
		d, err := p.Describe(t.Context(), target(web.URL+"/mcp", v))
		if err != nil || d.Version != v || d.SSE || len(d.Missing) != 0 {
			t.Fatalf("%s: %+v %v", v, d, err)
		}
		for _, l := range []struct {
			list [][]byte
			want string
		}{{d.Tools, `"name":"b"`}, {d.Prompts, `"name":"b"`}, {d.Resources, `"uri":"x://b"`}, {d.Templates, `"uriTemplate":"x://b/{id}"`}} {
			if len(l.list) != 2 || !strings.Contains(string(l.list[1]), l.want) {
				t.Errorf("%s: %q lacks %s", v, l.list, l.want)
			}
		}
	}
}

// TestDescribeParts: each list only if it is declared, and one that fails spoils
// none of the others.
func TestDescribeParts(t *testing.T) {
	tests := []struct {
		name, capabilities string
		fail               map[string]handler
		seen               string
		missing            []string
		reason             string
	}{
		{"all", `{"tools":{},"prompts":{},"resources":{}}`, nil, "tools/list prompts/list resources/list resources/templates/list", nil, ""},
		{"prompts only", `{"prompts":{}}`, nil, "prompts/list", nil, ""},
		{"nothing declared at all", `null`, nil, "tools/list", nil, ""},
		{"failing prompts", `{"tools":{},"prompts":{},"resources":{}}`, map[string]handler{"prompts/list": rpc(200, -32603, "null")}, "tools/list prompts/list resources/list resources/templates/list", []string{"prompts"}, ""},
		{"garbage for resources", `{"tools":{},"resources":{}}`, map[string]handler{"resources/list": raw(200, jsonType, "<")}, "tools/list resources/list resources/templates/list", []string{"resources"}, ""},
		{"no templates", `{"resources":{}}`, map[string]handler{"resources/templates/list": rpc(200, -32601, "null")}, "resources/list resources/templates/list", nil, ""},
		{"failing tools", `{"tools":{},"prompts":{}}`, map[string]handler{"tools/list": rpc(200, -32603, "null")}, "tools/list", nil, ReasonProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var seen []string
			s := newWireServer(t, func(w http.ResponseWriter, r *http.Request, m message) {
				if seen = append(seen, m.Method); tt.fail[m.Method] != nil {
					tt.fail[m.Method](w, r, m)
					return
				}
				jsonAnswer(w, m, `{"tools":[{"name":"t"}],"prompts":[{"name":"p"}],"resources":[{"uri":"r"}],"resourceTemplates":[]}`)
			})
			s.capabilities = tt.capabilities
			d, err := newPool(t, nil).Describe(t.Context(), target(s.url, wire.V20251125))
			if tt.reason != "" && fault.From(err).Reason != tt.reason || tt.reason == "" && err != nil {
				t.Errorf("%v, want %q", err, tt.reason)
			}
			if got := strings.Join(seen, " "); got != tt.seen || !slices.Equal(d.Missing, tt.missing) {
				t.Errorf("asked %s, want %s; missing %q, want %q", got, tt.seen, d.Missing, tt.missing)
			}
			for list, items := range map[string][][]byte{"tools": d.Tools, "prompts": d.Prompts, "resources": d.Resources, "resources/templates": d.Templates} {
				want := strings.Contains(tt.seen, list+"/list") && tt.fail[list+"/list"] == nil
				if (items != nil) != want {
					t.Errorf("%s: %q", list, items)
				}
			}
			if got := s.session("s1").params; !strings.Contains(got, `"capabilities":`+peer.AllCapabilities) {
				t.Errorf("initialize %s", got)
			}
			until(t, func() bool { return len(s.all("DELETE")) == 1 })
		})
	}
}

// TestQuestionsInDiscovery: roots are none, nothing else is answered.
func TestQuestionsInDiscovery(t *testing.T) {
	s := newWireServer(t, raw(200, sseType, "data: "+strings.Replace(elicit, "elicitation/create", "roots/list", 1)+"\n\ndata: "+elicit+
		"\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":$ID,\"result\":{\"tools\":[]}}\n\n"))
	s.capabilities = `{"tools":{}}`
	p := newPool(t, nil)
	if _, err := p.Describe(context.Background(), target(s.url, wire.V20251125)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(s.all("")) == 2 })
	var got []string
	for _, a := range s.all("") {
		got = append(got, string(a.Result)+string(a.Error))
	}
	slices.Sort(got)
	if !strings.Contains(got[0], "-32601") || got[1] != `{"roots":[]}` {
		t.Errorf("%q", got)
	}
}

// TestProbeCorrected: a modern server that demands capabilities is asked once
// more, with them (M-2 step 1).
func TestProbeCorrected(t *testing.T) {
	asked := 0
	url, seen := eraServer(t, func(w http.ResponseWriter, r *http.Request, m message) {
		if asked++; strings.Contains(string(m.Params), `"io.modelcontextprotocol/clientCapabilities":{"x":{}}`) {
			jsonAnswer(w, m, modernInfo)
			return
		}
		rpc(400, -32021, `{"requiredCapabilities":{"x":{}}}`)(w, r, m)
	}, silent, result(`{"ok":true}`))
	r, err := newPool(t, nil).Call(t.Context(), target(url, ""), Request{Method: "tools/call"}, nil)
	if err != nil || r.Version != wire.V20260728 || seen() != "server/discover server/discover tools/call" {
		t.Errorf("%v, sent %s", err, seen())
	}
}

// TestHeadersOfModernCalls: M-56, M-63, and the log level.
func TestHeadersOfModernCalls(t *testing.T) {
	s := newScripted(t, raw(200, jsonType, good))
	p := newPool(t, nil)
	r := Request{
		Method: "tools/call", Params: []byte(`{"name":"t","arguments":{"region":"eu","n":4.2e1,"b":true,"deep":{"x":"ü"},"none":null,"o":{}}}`),
		Schema: []byte(`{"properties":{"region":{"x-mcp-header":"Region"},"n":{"x-mcp-header":"N"},"b":{"x-mcp-header":"B"},"none":{"x-mcp-header":"None"},` +
			`"absent":{"x-mcp-header":"Absent"},"o":{"x-mcp-header":"O"},"deep":{"properties":{"x":{"x-mcp-header":"Deep"}}},"bad":{"x-mcp-header":"a b"}}}`),
		Traceparent: "00-" + strings.Repeat("a", 32) + "-00f067aa0ba902b7-01", Tracestate: "v=1", LogLevel: "warning",
		Passthrough: http.Header{"Mcp-Param-Region": {"forged"}, "Tracestate": {"forged"}},
	}
	for _, v := range []wire.Version{wire.V20260728, wire.V20251125} {
		if _, err := p.Call(t.Context(), target(s.url, v), r, nil); err != nil {
			t.Fatal(err)
		}
		m := s.all()[len(s.all())-1]
		want := map[string]string{
			"Mcp-Param-Region": "eu", "Mcp-Param-N": "42", "Mcp-Param-B": "true", "Mcp-Param-Deep": "=?base64?w7w=?=",
			"Mcp-Param-None": "", "Mcp-Param-Absent": "", "Mcp-Param-O": "", "Mcp-Name": "t", "Tracestate": "v=1",
		}
		for name, value := range want {
			if v.Era() == wire.Legacy && strings.HasPrefix(name, "Mcp-") {
				value = ""
			}
			if got := strings.Join(m.Header.Values(name), "|"); got != value {
				t.Errorf("%s: %s is %q, want %q", v, name, got, value)
			}
		}
		for _, part := range []string{`"tracestate":"v=1"`, `"io.modelcontextprotocol/logLevel":"warning"`} {
			if strings.Contains(string(m.Params), part) != (v.Era() == wire.Modern) {
				t.Errorf("%s: %s", v, m.Params)
			}
		}
	}
}

// TestHeaderMismatch: -32020 is an answer, for dispatch to rediscover (M-47);
// -32022 is put right by a probe (M-3).
func TestHeaderMismatch(t *testing.T) {
	url, seen := eraServer(t, result(modernInfo), silent, rpc(400, -32020, `null`))
	r, err := newPool(t, nil).Call(t.Context(), target(url, wire.V20260728), Request{Method: "tools/call"}, nil)
	if err != nil || !strings.Contains(string(r.Error), "-32020") || r.Version != wire.V20260728 || seen() != "tools/call" {
		t.Errorf("%s %v, sent %s", r.Error, err, seen())
	}
	url, seen = eraServer(t, rpc(400, -32022, `{"supported":["2025-06-18"]}`), result(legacyInfo), func(w http.ResponseWriter, r *http.Request, m message) {
		if r.Header.Get("Mcp-Method") != "" {
			rpc(400, -32022, `{"supported":["2025-06-18"]}`)(w, r, m)
			return
		}
		jsonAnswer(w, m, `{"ok":true}`)
	})
	r, err = newPool(t, nil).Call(t.Context(), target(url, wire.V20260728), Request{Method: "tools/call"}, nil)
	want := "tools/call server/discover initialize notifications/initialized initialize notifications/initialized tools/call"
	if err != nil || r.Version != wire.V20250618 || seen() != want {
		t.Errorf("%s %v, sent %s", r.Error, err, seen())
	}
}
