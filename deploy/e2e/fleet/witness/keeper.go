// SPDX-License-Identifier: Apache-2.0

package witness

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// keeper is an MCP server of 2025-11-25 with sessions, whose streams can all be resumed: notices to a session go on its GET
// stream and nowhere else, what belongs to a call goes on the call's. (mcp-go puts either on whichever is open, and what a
// broken connection of a call took away is gone.)
type keeper struct {
	w *Witness

	mu       sync.Mutex
	sessions map[string]*kept
}

// kept is one session.
type kept struct {
	general *stream

	mu      sync.Mutex
	streams map[string]*stream
}

func (k *kept) add() *stream {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := newStream(fmt.Sprintf("c%d", len(k.streams)))
	k.streams[s.id] = s
	return s
}

func (k *kept) find(id string) *stream {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.streams[id]
}

// rpc is what the keeper reads of a request.
type rpc struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string    `json:"name"`
		Arguments arguments `json:"arguments"`
		Meta      struct {
			ProgressToken json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	} `json:"params"`
}

type arguments struct {
	Token string `json:"token"`
	Delay int    `json:"delay_ms"`
	Steps int    `json:"steps"`
	Every int    `json:"every_ms"`
}

// ServeHTTP implements [http.Handler].
func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		k.post(w, r)
		return
	}
	id := r.Header.Get("Mcp-Session-Id")
	session := k.session(id)
	switch {
	case session == nil:
		http.Error(w, "no such session", http.StatusNotFound)
	case r.Method == http.MethodDelete:
		k.mu.Lock()
		delete(k.sessions, id)
		k.mu.Unlock()
	case r.Method == http.MethodGet:
		k.get(w, r, session)
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (k *keeper) session(id string) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sessions[id]
}

func (k *keeper) get(w http.ResponseWriter, r *http.Request, session *kept) {
	ctx, stop := k.w.bind(r.Context())
	defer stop()
	last := r.Header.Get("Last-Event-ID")
	if last == "" {
		session.general.serve(ctx, w, unread)
		return
	}
	id, after, ok := position(last)
	s := session.general
	if id != s.id {
		s = session.find(id)
	}
	if !ok || s == nil {
		http.Error(w, "no such event", http.StatusBadRequest)
		return
	}
	s.serve(ctx, w, after)
}

func (k *keeper) post(w http.ResponseWriter, r *http.Request) {
	var m rpc
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if m.Method == "initialize" {
		id := rand.Text()
		k.mu.Lock()
		k.sessions[id] = &kept{general: newStream("general"), streams: map[string]*stream{}}
		k.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		answer(w, response(m.ID, map[string]any{
			"protocolVersion": "2025-11-25", "serverInfo": map[string]any{"name": "keeper", "version": "1"},
			"capabilities": map[string]any{"tools": map[string]any{"listChanged": true}, "logging": map[string]any{}},
		}))
		return
	}
	session := k.session(r.Header.Get("Mcp-Session-Id"))
	switch {
	case session == nil:
		http.Error(w, "no such session", http.StatusNotFound)
	case len(m.ID) == 0 || m.Method == "":
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "ping", m.Method == "logging/setLevel":
		answer(w, response(m.ID, map[string]any{}))
	case m.Method == "tools/list":
		answer(w, response(m.ID, map[string]any{"tools": definitions()}))
	case m.Method == "tools/call":
		k.call(w, r, session, &m)
	default:
		answer(w, map[string]any{"jsonrpc": "2.0", "id": m.ID, "error": map[string]any{"code": -32601, "message": "unknown method"}})
	}
}

// streamed is how long a call takes that answers with a stream, which can be resumed.
const streamed = 1000

// call runs a tool. It goes on when the connection breaks.
func (k *keeper) call(w http.ResponseWriter, r *http.Request, session *kept, m *rpc) {
	a := m.Params.Arguments
	k.w.journal.ran(a.Token)
	done := response(m.ID, map[string]any{"content": []any{map[string]any{"type": "text", "text": a.Token}}})
	every := time.Duration(a.Every) * time.Millisecond
	switch {
	case m.Params.Name == Tell:
		answer(w, done)
		k.w.work.Go(func() { k.tell(session, a, every) })
	case m.Params.Name == Steps || a.Delay >= streamed:
		s := session.add()
		k.w.work.Go(func() {
			if m.Params.Name == Steps {
				k.steps(s, m, every)
			} else {
				k.w.pause(time.Duration(a.Delay) * time.Millisecond)
			}
			s.send(done, true)
		})
		ctx, stop := k.w.bind(r.Context())
		defer stop()
		s.serve(ctx, w, 0)
	default:
		k.w.pause(time.Duration(a.Delay) * time.Millisecond)
		answer(w, done)
	}
}

func (k *keeper) steps(s *stream, m *rpc, every time.Duration) {
	for i := range m.Params.Arguments.Steps {
		k.w.pause(every)
		if m.Params.Meta.ProgressToken != nil {
			s.send(notification("notifications/progress", map[string]any{
				"progressToken": m.Params.Meta.ProgressToken, "progress": i + 1, "total": m.Params.Arguments.Steps,
			}), false)
		}
	}
}

// tell sends notices on the session's stream, outside of any call.
func (k *keeper) tell(session *kept, a arguments, every time.Duration) {
	for i := range a.Steps {
		k.w.pause(every)
		if k.w.ctx.Err() != nil {
			return
		}
		k.w.journal.sent(a.Token, i+1)
		session.general.send(notification("notifications/message", map[string]any{
			"level": "info", "logger": "witness", "data": map[string]any{"subject": a.Token, "number": i + 1},
		}), false)
	}
}

// definitions are the keeper's tools.
func definitions() []any {
	tool := func(name, text string, repeatable bool) any {
		number := map[string]any{"type": "number"}
		return map[string]any{
			"name": name, "description": text,
			"inputSchema": map[string]any{"type": "object", "required": []string{"token"}, "properties": map[string]any{
				"token": map[string]any{"type": "string"}, "delay_ms": number, "steps": number, "every_ms": number,
			}},
			"annotations": map[string]any{"readOnlyHint": repeatable, "idempotentHint": repeatable},
		}
	}
	return []any{
		tool(Once, "Runs once for each call.", false), tool(Look, "Changes nothing.", true),
		tool(Steps, "Tells how far it is.", false), tool(Tell, "Tells something later.", false),
	}
}

func response(id json.RawMessage, result any) map[string]any {
	return map[string]any{"jsonrpc": "2.0", "id": id, "result": result}
}

func notification(method string, params any) map[string]any {
	return map[string]any{"jsonrpc": "2.0", "method": method, "params": params}
}

// answer sends a message as the whole answer.
func answer(w http.ResponseWriter, message any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(message) // who is gone does not get it
}

// bind returns the context of a request, which the end of the witness ends too.
func (w *Witness) bind(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}
