// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
)

// rsSession starts a legacy session and returns its id.
func (w *rsWorld) session(token string) string {
	w.t.Helper()
	got := w.do("POST", "/v1/mcp/eng", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+legacyVersion+
		`","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, bearer(token))
	id := got.header.Get("Mcp-Session-Id")
	if id == "" {
		w.t.Fatalf("no session: %d %s", got.status, got.body)
	}
	return id
}

const (
	ping       = `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	subscribed = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{` + reserved + `}}}`
)

// rsStream opens a stream that lasts.
type rsStream struct {
	kind, method, body string
	headers            []string
	inSession          bool
}

// rsStreams are the kinds of streams that last.
func rsStreams() []rsStream {
	return []rsStream{
		{
			kind: "subscriptions/listen", method: "POST", body: subscribed,
			headers: []string{"MCP-Protocol-Version: " + modernVersion, "Mcp-Method: subscriptions/listen"},
		},
		{kind: "legacy GET", method: "GET", headers: []string{"Accept: text/event-stream"}, inSession: true},
		{kind: "HTTP+SSE", method: "GET", headers: []string{"Accept: text/event-stream"}},
	}
}

// lasts opens a stream and returns how long it stays open. change is made some time after it was opened.
func (w *rsWorld) lasts(s rsStream, token string, after time.Duration, change func()) time.Duration {
	w.t.Helper()
	headers := append([]string{bearer(token)}, s.headers...)
	if s.inSession {
		headers = append(headers, "Mcp-Session-Id: "+w.session(token))
	}
	resp := w.open(s.method, "/v1/mcp/eng", s.body, headers...)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("no stream: %s", resp.Status)
	}
	started := time.Now()
	time.AfterFunc(after, change)
	_, _ = io.Copy(io.Discard, resp.Body) // an error ends it as well
	return time.Since(started)
}

// RS-11, RS-12, N139, D-33: streams end when their token does, for whatever reason, within 5 s.
func TestStreamsEndWithTheirToken(t *testing.T) {
	const life = 10 * time.Minute
	ends := []struct {
		name string
		at   time.Duration
		do   func(w *rsWorld)
	}{
		{"expired", life, func(*rsWorld) {}},
		{"token revoked", time.Minute, func(w *rsWorld) { w.revoke(view.RevokedToken, "the-token") }},
		{"grant revoked", time.Minute, func(w *rsWorld) { w.revoke(view.RevokedGrant, "grant") }},
		{"key revoked", time.Minute, func(w *rsWorld) { w.revoke(view.RevokedKey, w.kid) }},
		{"user revoked", time.Minute, func(w *rsWorld) { w.revoke(view.RevokedSubject, "uid-u1") }},
		{"user denied", time.Minute, func(w *rsWorld) { w.node.holder.Deny(9, []view.Key{{Kind: "user", Name: "u1"}}) }},
		{"out of the team (N137)", time.Minute, func(w *rsWorld) { w.node.holder.Deny(9, []view.Key{{Kind: "team_member", Name: "eng/u1"}}) }},
	}
	for _, stream := range rsStreams() {
		for _, end := range ends {
			t.Run(stream.kind+", "+end.name, func(t *testing.T) {
				inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
					token := w.token(map[string]any{"jti": "the-token", "exp": time.Now().Add(life).Unix()})
					if got := w.lasts(stream, token, end.at, func() { end.do(w) }); got < end.at || got > end.at+5*time.Second {
						t.Errorf("ended after %s", got)
					}
				})
			})
		}
		t.Run(stream.kind+", something else revoked", func(t *testing.T) {
			inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
				token := w.token(map[string]any{"exp": time.Now().Add(life).Unix()})
				if got := w.lasts(stream, token, time.Minute, func() { w.revoke(view.RevokedGrant, "another") }); got < life {
					t.Errorf("ended after %s", got)
				}
			})
		})
		t.Run(stream.kind+", node degraded", func(t *testing.T) {
			inRS(t, rsOptions{}, func(w *rsWorld) {
				token := w.token(map[string]any{"exp": time.Now().Add(life).Unix()})
				if got := w.lasts(stream, token, time.Minute, func() { w.stale.Store(int64(61 * time.Second)) }); got < time.Minute || got > time.Minute+15*time.Second {
					t.Errorf("ended after %s", got)
				}
			})
		})
	}
}

// M-21, RS-11: a call goes on though its token expires, and ends when it is revoked, expired or not.
func TestLongCalls(t *testing.T) {
	tests := []struct {
		name    string
		life    time.Duration
		revoke  time.Duration // zero for never
		want    time.Duration
		answers bool
	}{
		{"expired meanwhile", 10 * time.Second, 0, 50 * time.Second, true},
		{"revoked", 10 * time.Minute, 20 * time.Second, 20 * time.Second, false},
		{"expired, then revoked", 10 * time.Second, 30 * time.Second, 30 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
				w.origin.answers(func(in *inbound) {
					in.event(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`)
					select {
					case <-time.After(50 * time.Second):
						in.last(`{"resultType":"complete","content":[{"type":"text","text":"done"}]}`)
					case <-in.r.Context().Done():
					}
				})
				body, headers := modernCall("srv__echo", w.token(map[string]any{"exp": time.Now().Add(tt.life).Unix()}))
				started := time.Now()
				if tt.revoke > 0 {
					time.AfterFunc(tt.revoke, func() { w.revoke(view.RevokedGrant, "grant") })
				}
				resp := w.open("POST", "/v1/mcp/eng", body, headers...)
				defer resp.Body.Close()
				text, _ := io.ReadAll(resp.Body) // a stream that breaks has an error
				took := time.Since(started)
				if took < tt.want || took > tt.want+5*time.Second || strings.Contains(string(text), "done") != tt.answers {
					t.Errorf("took %s: %s", took, text)
				}
			})
		})
	}
}

// RS-11, N140: a session id authenticates nobody, and belongs to one principal, client and gateway.
func TestSessionsAreNoCredentials(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		w.publish(func(b *view.Builder) {
			b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng", Members: map[string]struct{}{"u1": {}, "u2": {}}})
		})
		mine := w.token(map[string]any{"gid": "mine"})
		id := w.session(mine)
		stream := w.open("GET", "/v1/mcp/eng", "", "Accept: text/event-stream", bearer(mine))
		defer stream.Body.Close()
		first := make([]byte, 1024)
		n, err := stream.Body.Read(first)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(first[:n]), "data: ")
		messages, _, _ := strings.Cut(rest, "\n")
		post := func(token, id string) rsReply {
			headers := []string{"Mcp-Session-Id: " + id}
			if token != "" {
				headers = append(headers, bearer(token))
			}
			return w.do("POST", "/v1/mcp/eng", ping, headers...)
		}
		other := map[string]any{"client_id": "https://other.example/c.json"}
		foreign := map[string]any{"sub": "uid-u2"}
		for name, tt := range map[string]struct {
			token, id string
			want      int
		}{
			"its own": {mine, id, 200}, "renewed": {w.token(map[string]any{"gid": "mine"}), id, 200}, "no token": {"", id, 401}, "another user": {w.token(foreign), id, 404},
			"another client": {w.token(other), id, 404}, "tampered": {mine, id[:len(id)-2] + "xx", 404}, "no session": {mine, "x", 404},
		} {
			if got := post(tt.token, tt.id); got.status != tt.want {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
		for name, tt := range map[string]struct {
			headers []string
			want    int
		}{"its own": {[]string{bearer(mine)}, 202}, "no token": {nil, 401}, "another user": {[]string{bearer(w.token(foreign))}, 404}, "another client": {[]string{bearer(w.token(other))}, 404}} {
			if got := w.do("POST", messages, ping, tt.headers...); got.status != tt.want {
				t.Errorf("%s at /messages: %d %s", name, got.status, got.body)
			}
		}
		w.revoke(view.RevokedGrant, "mine")
		if got := post(mine, id); got.status != 401 || got.challenge() != rsInvalid {
			t.Errorf("revoked: %d %s", got.status, got.challenge())
		}
		if got := post(w.token(map[string]any{"gid": "new"}), id); got.status != 200 {
			t.Errorf("logged in again: %d %s", got.status, got.body)
		}
	})
}

// RS-12, RS-14, D-63: what a node that hears no control plane, or has the wrong time, still serves.
func TestDegradedNode(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		name           string
		limit, silent  time.Duration
		skewed         bool
		access, static int
		fresh          int // at a gateway with max_stale of 5 min
		reason         string
	}{
		{"heard", day, 0, false, 200, 200, 200, ""},
		{"degraded", day, 2 * time.Minute, false, 200, 200, 200, ""},
		{"past max_stale", day, 6 * time.Minute, false, 200, 200, 503, "CONFIG_STALE"},
		{"past revocation_max_stale", day, 25 * time.Hour, false, 200, 503, 503, "REVOCATIONS_STALE"},
		{"revocation_max_stale 0, not degraded", 0, time.Minute, false, 200, 200, 200, ""},
		{"revocation_max_stale 0, degraded", 0, 61 * time.Second, false, 503, 503, 503, "REVOCATIONS_STALE"},
		{"wrong clock", day, 0, true, 503, 503, 503, "CLOCK_SKEW"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inRS(t, rsOptions{maxStale: tt.limit}, func(w *rsWorld) {
				w.stale.Store(int64(tt.silent))
				w.skewed.Store(tt.skewed)
				reasons := ""
				for what, one := range map[string]struct {
					got  rsReply
					want int
				}{
					"access token": {w.call("eng", "srv__echo", w.token(nil)), tt.access}, "static token": {w.call("eng", "srv__echo", w.static["u1"]), tt.static},
					"max_stale": {w.call("fresh", "srv__echo", w.token(map[string]any{"aud": rsOrigin + "/v1/mcp/fresh"})), tt.fresh},
				} {
					if one.got.status != one.want {
						t.Errorf("%s: %d %s", what, one.got.status, one.got.body)
					}
					if one.want == 503 {
						reasons += one.got.body
						if one.got.header.Get("Retry-After") == "" || !strings.Contains(one.got.body, `"error":"temporarily_unavailable"`) || one.got.challenge() != "" {
							t.Errorf("%s: %v %s", what, one.got.header, one.got.body)
						}
					}
				}
				if !strings.Contains(reasons, tt.reason) {
					t.Errorf("reasons in %s", reasons)
				}
				if got := w.call("eng", "srv__echo", "nonsense"); !tt.skewed && got.status != 401 {
					t.Errorf("no token at all: %d", got.status)
				}
			})
		})
	}
}

// RS-5: the scope is missed where the message came, with a status, whichever transport answers it elsewhere.
func TestScopesOfLegacyTransports(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		token := w.token(nil)
		call := func(id int, tool string) string {
			return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"srv__%s","arguments":{}}}`, id, tool)
		}
		refused := func(name string, got rsReply) {
			if got.status != 403 || !strings.Contains(got.challenge(), `scope="mcp mcp:write", error="insufficient_scope"`) || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: %d %s %v", name, got.status, got.challenge(), got.header)
			}
		}
		refused("session", w.do("POST", "/v1/mcp/eng", call(1, "write"), "Mcp-Session-Id: "+w.session(token), bearer(token)))
		old := w.do("POST", "/v1/mcp/eng", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, bearer(token))
		refused("batch", w.do("POST", "/v1/mcp/eng", "["+call(1, "echo")+","+call(2, "write")+"]", "Mcp-Session-Id: "+old.header.Get("Mcp-Session-Id"), bearer(token)))
		stream := w.open("GET", "/v1/mcp/eng", "", "Accept: text/event-stream", bearer(token))
		defer stream.Body.Close()
		first := make([]byte, 1024)
		n, err := stream.Body.Read(first)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(first[:n]), "data: ")
		messages, _, _ := strings.Cut(rest, "\n")
		if got := w.do("POST", messages, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`, bearer(token)); got.status != 202 {
			t.Fatalf("initialize: %d %s", got.status, got.body)
		}
		refused("HTTP+SSE", w.do("POST", messages, call(1, "write"), bearer(token)))
		none := w.token(map[string]any{"scope": "x"})
		for name, headers := range map[string][]string{"GET": {"Accept: text/event-stream", bearer(none)}, "GET in a session": {"Accept: text/event-stream", bearer(none), "Mcp-Session-Id: " + w.session(token)}} {
			if got := w.do("GET", "/v1/mcp/eng", "", headers...); got.status != 403 {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	})
}

// RS-6, N137: a token is as good as ever, but its user left the team 6 s ago: both eras, and the session of before.
func TestLeftTheTeam(t *testing.T) {
	inRS(t, rsOptions{maxStale: 24 * time.Hour}, func(w *rsWorld) {
		token := w.token(nil)
		body, headers := modernCall("srv__echo", token)
		session := []string{bearer(token), "Mcp-Session-Id: " + w.session(token)}
		if got := w.do("POST", "/v1/mcp/eng", body, headers...); got.status != http.StatusOK {
			t.Fatalf("in the team: %d %s", got.status, got.body)
		}
		w.node.holder.Deny(9, []view.Key{{Kind: "team_member", Name: "eng/u1"}})
		time.Sleep(6 * time.Second)
		const want = `{"error":"gateway_access_denied","error_description":"You may not use this gateway"}`
		for name, got := range map[string]rsReply{
			"modern": w.do("POST", "/v1/mcp/eng", body, headers...), "legacy": w.do("POST", "/v1/mcp/eng", ping, session...),
		} {
			if got.status != http.StatusForbidden || got.challenge() != "Bearer" || got.body != want {
				t.Errorf("%s: %d %s %s", name, got.status, got.challenge(), got.body)
			}
		}
	})
}
