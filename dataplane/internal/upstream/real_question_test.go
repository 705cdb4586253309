// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// TestRealServerAsks: mcp-go asks on the session's GET stream. The answers make
// the result, for a client with a session and for a leased one.
func TestRealServerAsks(t *testing.T) {
	s := server.NewMCPServer("asking", "1", server.WithToolCapabilities(true), server.WithElicitation())
	s.EnableSampling()
	s.AddTool(mcp.NewTool("elicit"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r, err := s.RequestElicitation(ctx, mcp.ElicitationRequest{Params: mcp.ElicitationParams{
			Message: "name?", RequestedSchema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`),
		}})
		if err != nil {
			return nil, err
		}
		content, _ := r.Content.(map[string]any)
		name, _ := content["name"].(string)
		return mcp.NewToolResultText(string(r.Action) + " " + name), nil
	})
	s.AddTool(mcp.NewTool("sample"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		r, err := s.RequestSampling(ctx, mcp.CreateMessageRequest{CreateMessageParams: mcp.CreateMessageParams{ //nolint:staticcheck // what the newest version took away is what this tests
			MaxTokens: 5, Messages: []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent("hi")}},
		}})
		if err != nil {
			return nil, err
		}
		return mcp.NewToolResultText(r.Model), nil
	})
	answers := map[string]string{
		"elicitation/create":     `{"action":"accept","content":{"name":"Ada"}}`,
		"sampling/createMessage": `{"role":"assistant","content":{"type":"text","text":"x"},"model":"m-1"}`,
	}
	web := httptest.NewServer(server.NewStreamableHTTPServer(s, server.WithStateful(true)))
	defer web.Close()
	p := newPool(t, nil)
	defer closePool(t, p)
	for _, session := range []string{"", "c"} {
		to := target(web.URL+"/mcp", wire.V20251125)
		to.Session, to.Capabilities = session, []byte(anything)
		for tool, want := range map[string]string{"elicit": "accept Ada", "sample": "m-1"} {
			r, err := p.Call(t.Context(), to, Request{Method: "tools/call", Params: []byte(`{"name":"` + tool + `"}`)}, func(e Event) error {
				if e.Kind == ServerRequest {
					go e.Answer([]byte(answers[e.Method]), nil)
				}
				return nil
			})
			if err != nil || text(t, r) != want {
				t.Errorf("session %q, %s: %s %s %v", session, tool, r.Raw, r.Error, err)
			}
		}
	}
}

// closePool ends the streams; it is deferred after the server, which waits for
// them.
func closePool(t *testing.T, p *Pool) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// TestRealServerTells: list_changed of a real server reaches an attached session
// and a watch, in both eras.
func TestRealServerTells(t *testing.T) {
	s := server.NewMCPServer("telling", "1", server.WithToolCapabilities(true))
	s.AddTool(mcp.NewTool("first"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText(""), nil
	})
	web := httptest.NewServer(server.NewStreamableHTTPServer(s, server.WithStateful(true)))
	defer web.Close()
	p := newPool(t, nil)
	defer closePool(t, p)
	legacy, modern := target(web.URL+"/mcp", wire.V20251125), target(web.URL+"/mcp", wire.V20260728)
	legacy.Session = "c"
	h := newHeard()
	defer p.Attach("c", nil, h.sink)()
	if _, err := p.Call(t.Context(), legacy, Request{Method: "tools/call", Params: []byte(`{"name":"first"}`)}, nil); err != nil {
		t.Fatal(err)
	}
	watchedLegacy, endLegacy := watching(t, p, legacy, Subscription{Tools: true})
	watchedModern, endModern := watching(t, p, modern, Subscription{Tools: true})
	var attached, old, recent bool
	until(t, func() bool { // until all three streams are open
		s.AddTool(mcp.NewTool("more"), nil)
		attached = attached || len(drain(h.all)) > 0
		old = old || len(drain(watchedLegacy)) > 0
		recent = recent || len(drain(watchedModern)) > 0
		return attached && old && recent
	})
	for _, end := range []func() error{endLegacy, endModern} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}

// drain returns what is in c by now.
func drain[T any](c chan T) (out []T) {
	for {
		select {
		case v := <-c:
			out = append(out, v)
		default:
			return out
		}
	}
}
