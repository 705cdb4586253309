// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/penstockhq/penstock/deploy/e2e/testenv/rawclient"
)

// talk is a conversation of a client, which shows no forms, with a gateway of [ways]. All that it is sent is noted in delivered.
type talk interface {
	// ask returns the JSON-RPC response to a request.
	ask(t *testing.T, method, params string) string
}

// stateless talks 2026-07-28.
type stateless struct {
	*rawclient.Client
	w            *ways
	capabilities string
}

func modernTalk(gateway, capabilities string) func(*testing.T, *ways, string) talk {
	return func(_ *testing.T, w *ways, token string) talk {
		return stateless{client(w.env, w.env.Nodes[0], gateway, token), w, capabilities}
	}
}

func (s stateless) ask(t *testing.T, method, params string) string {
	t.Helper()
	var named struct{ Name, URI, TaskID string }
	if err := json.Unmarshal([]byte(params), &named); err != nil {
		t.Fatalf("params %q: %v", params, err)
	}
	r := rawclient.ModernRequest(method, params, http.Header{"Mcp-Name": {named.Name + named.URI + named.TaskID}})
	r.Body = strings.Replace(r.Body, `"io.modelcontextprotocol/clientCapabilities":{}`, `"io.modelcontextprotocol/clientCapabilities":`+s.capabilities, 1)
	a := s.Send(t, r)
	s.w.delivered.WriteString(a.Body)
	return a.Last()
}

// session talks any version that has sessions over Streamable HTTP.
type session struct {
	*rawclient.Client
	w      *ways
	header http.Header
	before string // of each message,
	behind string
	last   *int // id of a request
}

func legacyTalk(version string) func(*testing.T, *ways, string) talk {
	return func(t *testing.T, w *ways, token string) talk {
		t.Helper()
		return w.session(t, version, token)
	}
}

// batchTalk sends batches of one.
func batchTalk(t *testing.T, w *ways, token string) talk {
	t.Helper()
	s := w.session(t, "2025-03-26", token)
	s.before, s.behind = "[", "]"
	return s
}

// session begins a session, which ends with the test, so that nothing of it stays at servers.
func (w *ways) session(t *testing.T, version, token string) session {
	t.Helper()
	s := session{Client: client(w.env, w.env.Nodes[0], waysPrefixed, token), w: w, header: http.Header{"Mcp-Protocol-Version": {version}}, last: new(int)}
	a := s.send(t, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+version+
		`","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}}`)
	s.header.Set("Mcp-Session-Id", a.Header.Get("Mcp-Session-Id"))
	s.send(t, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	w.ends = append(w.ends, func() { s.Send(t, rawclient.Request{Method: http.MethodDelete, Header: s.header}) })
	return s
}

func (s session) send(t *testing.T, body string) rawclient.Answer {
	t.Helper()
	return s.Send(t, rawclient.Request{Header: s.header, Body: body})
}

func (s session) ask(t *testing.T, method, params string) string {
	t.Helper()
	*s.last++
	a := s.send(t, s.before+`{"jsonrpc":"2.0","id":`+strconv.Itoa(*s.last)+`,"method":"`+method+`","params":`+params+`}`+s.behind)
	s.w.delivered.WriteString(a.Body)
	return a.Last()
}

// streams talks 2024-11-05, by two HTTP requests for each message.
type streams struct {
	*transport.SSE
	w    *ways
	last *int64
}

func sseTalk(t *testing.T, w *ways, token string) talk {
	t.Helper()
	over, err := transport.NewSSE(w.env.Nodes[0].Gateway(waysPrefixed), transport.WithHeaders(map[string]string{"Authorization": "Bearer " + token}))
	if err != nil {
		t.Fatal(err)
	}
	if err := over.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ends = append(w.ends, func() {
		if err := over.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s := streams{over, w, new(int64)}
	s.ask(t, "initialize", `{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"e2e","version":"1"}}`)
	done := mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION, Notification: mcp.Notification{Method: "notifications/initialized"}}
	if err := s.SendNotification(t.Context(), done); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s streams) ask(t *testing.T, method, params string) string {
	t.Helper()
	*s.last++
	answer, err := s.SendRequest(t.Context(), transport.JSONRPCRequest{
		JSONRPC: mcp.JSONRPC_VERSION, ID: mcp.NewRequestId(*s.last), Method: method, Params: json.RawMessage(params),
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	s.w.delivered.Write(raw)
	return string(raw)
}
