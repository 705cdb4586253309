// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// guarded is a real MCP server that an authorization server protects: it takes that server's access tokens, names it in its metadata
// (RFC 9728), and remembers as whom it was called.
type guarded struct {
	URL string
	// open lets requests in without a token: an administrator looks at the tools of a server before anybody has a grant for it.
	open atomic.Bool

	t  *testing.T
	as *identityProvider
	to *upstream

	mu    sync.Mutex // guards what follows
	calls []guardedCall
	ended []string // tokens that count no more
}

// guardedCall is a call of a tool as the server saw it.
type guardedCall struct{ subject, token, message string }

func newGuarded(t *testing.T, as *identityProvider) *guarded {
	t.Helper()
	g := &guarded{t: t, as: as, to: newUpstream(t, "")}
	g.open.Store(true)
	web := httptest.NewServer(g)
	t.Cleanup(func() {
		web.CloseClientConnections() // a node may listen for messages still
		web.Close()
	})
	g.URL = web.URL + "/mcp"
	return g
}

// ServeHTTP implements [http.Handler].
func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	metadata := "http://" + r.Host + "/.well-known/oauth-protected-resource/mcp"
	if r.URL.Path == "/.well-known/oauth-protected-resource/mcp" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"resource": g.URL, "authorization_servers": []string{g.as.issuer()}})
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the node is gone
	}
	token := r.Header.Get("Authorization")
	subject := ""
	if !g.open.Load() {
		if subject = g.subjectOf(r, token); subject == "" {
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="`+metadata+`"`)
			http.Error(w, "not good: "+token, http.StatusUnauthorized) // careless servers tell whoever asks what they sent
			return
		}
	}
	var m struct {
		Method string
		Params struct{ Arguments struct{ Message string } }
	}
	if json.Unmarshal(body, &m) == nil && m.Method == "tools/call" {
		g.mu.Lock()
		g.calls = append(g.calls, guardedCall{subject, token, m.Params.Arguments.Message})
		g.mu.Unlock()
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.to.handler.ServeHTTP(w, r)
}

// subjectOf asks the authorization server whose token it is; empty if it is nobody's, or has ended.
func (g *guarded) subjectOf(r *http.Request, authorization string) string {
	g.mu.Lock()
	ended := slices.Contains(g.ended, authorization)
	g.mu.Unlock()
	if authorization == "" || ended {
		return ""
	}
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, g.as.issuer()+"/userinfo", http.NoBody)
	if err != nil {
		return ""
	}
	ask.Header.Set("Authorization", authorization)
	answer, err := http.DefaultClient.Do(ask)
	if err != nil {
		return ""
	}
	defer func() { _ = answer.Body.Close() }() // read to the end, or given up
	var info struct{ Sub string }
	if json.NewDecoder(answer.Body).Decode(&info) != nil || answer.StatusCode != http.StatusOK {
		return ""
	}
	return info.Sub
}

// end has an access token count no more, as if its time were over.
func (g *guarded) end(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = append(g.ended, token)
}

// last returns the call that a message came with, and wants that it came once, as somebody.
func (g *guarded) last(message, subject string) guardedCall {
	g.t.Helper()
	var found []guardedCall
	for _, c := range g.seen() {
		if c.message == message {
			found = append(found, c)
		}
	}
	if len(found) != 1 || found[0].subject != subject {
		g.t.Fatalf("%q came %d times, want once as %s", message, len(found), subject)
	}
	return found[0]
}

// seen returns all calls.
func (g *guarded) seen() []guardedCall {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.calls)
}
