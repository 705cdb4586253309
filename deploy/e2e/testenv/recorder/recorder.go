// SPDX-License-Identifier: Apache-2.0

// Package recorder is an MCP server over Streamable HTTP, made with mcp-go, that remembers each HTTP request it got, runs a
// call for as long as the test likes, and can be made to misbehave.
//
// End-to-end tests put it behind gateways. It must never import a server of Penstock.
package recorder

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Server is a recording MCP server. It is safe for concurrent use.
type Server struct {
	// URL is the MCP endpoint.
	URL string

	mcp  http.Handler
	stop func()

	mu       sync.Mutex
	requests []Request
	holds    map[string]*hold
	instead  http.Handler // answers tools/call, if set
}

// Request is one HTTP request.
type Request struct {
	Method string // HTTP
	Header http.Header
	Body   []byte
	RPC    string // JSON-RPC method; empty if the body is none
	Tool   string // of tools/call
}

// hold is one call of the tool hold.
type hold struct {
	once                        sync.Once
	started, released, canceled chan struct{}
}

// Start starts a server, which stops with the test. Its tools: echo answers with its message; fail fails; hold waits until
// [Server.Release] or its cancellation; steps reports progress as often as its argument count says.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{holds: make(map[string]*hold)}
	m := server.NewMCPServer("recorder", "1", server.WithToolCapabilities(false))
	s.addTools(m)
	s.mcp = server.NewStreamableHTTPServer(m, server.WithEndpointPath("/mcp"), server.WithStateful(true))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + l.Addr().String() + "/mcp"
	h := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = h.Serve(l) // it ends with ErrServerClosed
	}()
	s.stop = sync.OnceFunc(func() {
		s.releaseAll()
		_ = h.Close() // connections of a gateway that keeps them are cut
		<-served
	})
	t.Cleanup(s.stop)
	return s
}

// Stop ends the server: nobody listens at URL any more.
func (s *Server) Stop() { s.stop() }

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var message struct {
		Method string
		Params struct{ Name string }
	}
	_ = json.Unmarshal(body, &message) // what is no message is recorded without a method
	one := Request{Method: r.Method, Header: r.Header.Clone(), Body: body, RPC: message.Method}
	if message.Method == "tools/call" {
		one.Tool = message.Params.Name
	}
	s.mu.Lock()
	s.requests = append(s.requests, one)
	instead := s.instead
	s.mu.Unlock()
	if instead != nil && one.RPC == "tools/call" {
		instead.ServeHTTP(w, r)
		return
	}
	s.mcp.ServeHTTP(w, r)
}

// Misbehave has h answer calls of tools; nil is the end of it. The body of a request it gets can still be read.
func (s *Server) Misbehave(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.instead = h
}

// Requests returns what came since the start or [Server.Forget].
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Calls returns the requests that called a tool.
func (s *Server) Calls() []Request {
	var calls []Request
	for _, r := range s.Requests() {
		if r.RPC == "tools/call" {
			calls = append(calls, r)
		}
	}
	return calls
}

// Forget forgets what came.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// Started returns a channel that is closed when the tool hold runs with the key.
func (s *Server) Started(key string) <-chan struct{} { return s.hold(key).started }

// Canceled returns a channel that is closed when the tool hold with the key was canceled.
func (s *Server) Canceled(key string) <-chan struct{} { return s.hold(key).canceled }

// Release ends the tool hold with the key, before or while it runs.
func (s *Server) Release(key string) {
	h := s.hold(key)
	h.once.Do(func() { close(h.released) })
}

func (s *Server) releaseAll() {
	s.mu.Lock()
	var keys []string
	for key := range s.holds {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	for _, key := range keys {
		s.Release(key)
	}
}

func (s *Server) hold(key string) *hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.holds[key]
	if h == nil {
		h = &hold{started: make(chan struct{}), released: make(chan struct{}), canceled: make(chan struct{})}
		s.holds[key] = h
	}
	return h
}

func (s *Server) addTools(m *server.MCPServer) {
	m.AddTool(mcp.NewTool("echo", mcp.WithDescription("Answers with its message."),
		mcp.WithString("message", mcp.Required())), echo)
	m.AddTool(mcp.NewTool("fail", mcp.WithDescription("Fails.")), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultError("failed on purpose"), nil
	})
	m.AddTool(mcp.NewTool("hold", mcp.WithDescription("Waits."), mcp.WithString("key", mcp.Required())), s.runHold)
	m.AddTool(mcp.NewTool("steps", mcp.WithDescription("Reports progress."), mcp.WithNumber("count", mcp.Required())), steps)
}

func echo(_ context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultText(r.GetString("message", "")), nil
}

// runHold runs each key once.
func (s *Server) runHold(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	h := s.hold(r.GetString("key", ""))
	close(h.started)
	select {
	case <-h.released:
		return mcp.NewToolResultText("released"), nil
	case <-ctx.Done():
		close(h.canceled)
		return nil, ctx.Err()
	}
}

func steps(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	count := r.GetInt("count", 0)
	if r.Params.Meta != nil && r.Params.Meta.ProgressToken != nil {
		for i := range count {
			err := server.ServerFromContext(ctx).SendNotificationToClient(ctx, "notifications/progress", map[string]any{
				"progressToken": r.Params.Meta.ProgressToken, "progress": i + 1, "total": count,
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return mcp.NewToolResultText("done"), nil
}
