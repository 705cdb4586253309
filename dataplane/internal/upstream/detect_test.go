// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

type handler = func(http.ResponseWriter, *http.Request, message)

// eraServer answers discover, initialize and tools/list by functions.
func eraServer(t testing.TB, discover, initialize, list handler) (url string, seen func() string) {
	t.Helper()
	var mu sync.Mutex
	var methods []string
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := message{Method: r.Method, Header: r.Header.Clone()}
		if r.Method == http.MethodPost {
			if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
				t.Error(err)
			}
		}
		if r.Method != http.MethodDelete {
			mu.Lock()
			methods = append(methods, m.Method)
			mu.Unlock()
		}
		switch m.Method {
		case "server/discover":
			h := r.Header
			if h.Get("Mcp-Protocol-Version") != "2026-07-28" || h.Get("Mcp-Method") != "server/discover" ||
				!strings.Contains(string(m.Params), `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`) || h.Get("Mcp-Session-Id") != "" {
				t.Errorf("probe with %v %s", h, m.Params)
			}
			discover(w, r, m)
		case "initialize":
			initialize(w, r, m)
		case "tools/list", "tools/call":
			list(w, r, m)
		default:
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(web.Close)
	return web.URL, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(methods, " ")
	}
}

func result(json string) handler {
	return func(w http.ResponseWriter, _ *http.Request, m message) { jsonAnswer(w, m, json) }
}

func rpc(status, code int, data string) handler {
	return raw(status, jsonType, fmt.Sprintf(`{"jsonrpc":"2.0","id":$ID,"error":{"code":%d,"message":"m","data":%s}}`, code, data))
}

func silent(_ http.ResponseWriter, r *http.Request, _ message) { <-r.Context().Done() }

const (
	modernInfo = `{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"instructions":"i"}`
	legacyInfo = `{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"l","version":"1"}}`
	oneTool    = `{"tools":[{"name":"a", "x":1}]}`
)

// TestProbe has the rows of M-2.
func TestProbe(t *testing.T) {
	const probed, initialized = "server/discover", " initialize notifications/initialized"
	tests := []struct {
		name                 string
		discover, initialize handler
		want                 wire.Version
		reason, seen         string
	}{
		{"modern", result(modernInfo), silent, wire.V20260728, "", probed + " tools/list"},
		{"discover lists only legacy", result(`{"supportedVersions":["2025-06-18","x"],"capabilities":{}}`), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"-32022 with legacy", rpc(400, -32022, `{"supported":["2025-06-18"],"requested":"2026-07-28"}`), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"-32022 with modern", rpc(400, -32022, `{"supported":["2026-07-28"]}`), silent, wire.V20260728, "", probed + " tools/list"},
		{"-32022 with nothing of ours", rpc(400, -32022, `{"supported":["2031-01-01"]}`), silent, "", ReasonUnreachable, probed},
		{"-32020", rpc(400, -32020, `null`), silent, "", ReasonProtocol, probed + " " + probed},
		{"401", raw(401, "", ""), silent, "", ReasonUnauthorized, probed},
		{"403", raw(403, "", ""), silent, "", ReasonUnauthorized, probed},
		{"429", raw(429, "", ""), silent, "", ReasonUnreachable, probed},
		{"404", raw(404, "", ""), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"500", raw(500, "", ""), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"error in a 200", rpc(200, -32601, `null`), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"page in a 200", raw(200, "text/html", "<html>"), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"400 without session", rpc(400, -32000, `null`), result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"silence", silent, result(legacyInfo), wire.V20250618, "", probed + initialized + " tools/list"},
		{"cut", func(http.ResponseWriter, *http.Request, message) { panic(http.ErrAbortHandler) }, silent, "", ReasonUnreachable, probed},
		{"modern without discover, 404", raw(404, "", ""), rpc(404, -32601, `null`), wire.V20260728, "", probed + " initialize tools/list"},
		{"modern without discover, 400", raw(404, "", ""), rpc(400, -32022, `{}`), wire.V20260728, "", probed + " initialize tools/list"},
		{"no MCP at all", raw(404, "", ""), raw(404, "text/html", ""), "", ReasonUnreachable, probed + " initialize GET"},
		{"initialize 401", raw(404, "", ""), raw(401, "", ""), "", ReasonUnauthorized, probed + " initialize"},
		{"initialize refused", raw(404, "", ""), rpc(200, -32603, `null`), "", ReasonUnreachable, probed + " initialize"},
		{"initialize answers a version nobody knows", raw(404, "", ""), result(`{"protocolVersion":"2031-01-01"}`), "", ReasonProtocol, probed + " initialize"},
		{"initialize answers garbage", raw(404, "", ""), raw(200, jsonType, "{"), "", ReasonProtocol, probed + " initialize"},
		{"initialize is silent", raw(404, "", ""), silent, "", ReasonTimeout, probed + " initialize"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, seen := eraServer(t, tt.discover, tt.initialize, result(oneTool))
			p := newPool(t, func(c *Config) { c.ProbeTimeout = 100 * time.Millisecond })
			info, err := p.Describe(t.Context(), target(url, ""))
			if tt.reason != "" {
				if fault.From(err) == nil || fault.From(err).Reason != tt.reason {
					t.Errorf("%v, want %s", err, tt.reason)
				}
			} else if err != nil || info.Version != tt.want || len(info.Tools) != 1 || string(info.Tools[0]) != `{"name":"a", "x":1}` {
				t.Errorf("%+v %v, want %s", info, err, tt.want)
			}
			if got := seen(); got != tt.seen {
				t.Errorf("sent %s, want %s", got, tt.seen)
			}
		})
	}
}

// TestWrongEra: when the view is wrong about the era, one probe puts it right,
// for later calls too, and the request runs once (M-3).
func TestWrongEra(t *testing.T) {
	tests := []struct {
		name           string
		pinned         wire.Version
		discover, init handler
		refuse         handler
		modern         bool
		seen           string
	}{
		{
			"modern in the view, legacy in truth", wire.V20260728, raw(404, "", ""), result(legacyInfo), rpc(400, -32000, `null`), false,
			"tools/call server/discover initialize notifications/initialized initialize notifications/initialized tools/call tools/call",
		},
		{
			"legacy in the view, modern in truth", wire.V20251125, result(modernInfo), rpc(404, -32601, `null`), nil, true,
			"initialize server/discover tools/call tools/call",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			url, seen := eraServer(t, tt.discover, tt.init, func(w http.ResponseWriter, r *http.Request, m message) {
				if modern := r.Header.Get("Mcp-Method") != ""; modern != tt.modern {
					tt.refuse(w, r, m)
					return
				}
				jsonAnswer(w, m, `{"ok":true}`)
			})
			p := newPool(t, nil)
			for range 2 {
				r, err := p.Call(t.Context(), target(url, tt.pinned), Request{Method: "tools/call", Params: []byte(`{"name":"a"}`)}, nil)
				if err != nil || string(r.Raw) != `{"ok":true}` {
					t.Errorf("%s %s %v", r.Raw, r.Error, err)
				}
			}
			if got := seen(); got != tt.seen {
				t.Errorf("sent %s\nwant %s", got, tt.seen)
			}
		})
	}
}

// TestNoProbeStorm: a server that answers every call with a bare 400 is not
// probed for each of them.
func TestNoProbeStorm(t *testing.T) {
	url, seen := eraServer(t, result(modernInfo), silent, raw(400, "", ""))
	p := newPool(t, nil)
	for range 5 {
		_, err := p.Call(t.Context(), target(url, wire.V20260728), Request{Method: "tools/call"}, nil)
		if fault.From(err).Reason != ReasonProtocol {
			t.Errorf("%v", err)
		}
	}
	if n := strings.Count(seen(), "server/discover"); n != 1 {
		t.Errorf("%d probes", n)
	}
}

// TestModernErrorsPass: errors that a modern upstream defines are answers.
func TestModernErrorsPass(t *testing.T) {
	for status, code := range map[int]int{404: -32601, 400: -32602} {
		url, seen := eraServer(t, result(modernInfo), silent, rpc(status, code, `null`))
		p := newPool(t, nil)
		r, err := p.Call(t.Context(), target(url, wire.V20260728), Request{Method: "tools/call"}, nil)
		if err != nil || era.Code(r.Error) != int64(code) || seen() != "tools/call" {
			t.Errorf("%d: %s %v, sent %s", code, r.Error, err, seen())
		}
	}
}

// TestPages: M-70.
func TestPages(t *testing.T) {
	var asked atomic.Int32
	page := func(cursor string) string {
		switch cursor {
		case "":
			return `{"tools":[{"name":"1"}],"nextCursor":""}`
		case `""`:
			return `{"tools":[{"name":"2"}],"nextCursor":"é\n"}`
		case `"é\n"`:
			return `{"tools":[{"name":"3"}],"nextCursor":null}`
		}
		return `{"tools":5}`
	}
	cursorOf := func(m message) string {
		var params struct{ Cursor json.RawMessage }
		_ = json.Unmarshal(m.Params, &params)
		return string(params.Cursor)
	}
	tests := []struct {
		name, reason string
		list         handler
		tools, asked int
	}{
		{"empty string is a cursor, null is none", "", func(w http.ResponseWriter, _ *http.Request, m message) {
			jsonAnswer(w, m, page(cursorOf(m)))
		}, 3, 3},
		{"same cursor again", "", result(`{"tools":[{}],"nextCursor":"x"}`), 2, 2},
		{"for ever", "", func(w http.ResponseWriter, _ *http.Request, m message) {
			jsonAnswer(w, m, fmt.Sprintf(`{"tools":[{}],"nextCursor":"%d"}`, asked.Load()))
		}, 100, 100},
		{"no list", ReasonProtocol, result(`{}`), 0, 1},
		{"list that is no array", ReasonProtocol, result(`{"tools":{}}`), 0, 1},
		{"tool that is no object", ReasonProtocol, result(`{"tools":[1]}`), 0, 1},
		{"two lists", ReasonProtocol, result(`{"tools":[],"tools":[{}]}`), 0, 1},
		{"error", ReasonProtocol, rpc(200, -32603, `null`), 0, 1},
		{"401", ReasonUnauthorized, raw(401, "", ""), 0, 1},
		{"broken", ReasonUnreachable, broken(jsonType, "{"), 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asked.Store(0)
			url, _ := eraServer(t, result(modernInfo), silent, func(w http.ResponseWriter, r *http.Request, m message) {
				asked.Add(1)
				tt.list(w, r, m)
			})
			info, err := newPool(t, nil).Describe(t.Context(), target(url, wire.V20260728))
			if tt.reason != "" && fault.From(err).Reason != tt.reason || tt.reason == "" && err != nil {
				t.Errorf("%v, want %q", err, tt.reason)
			}
			if len(info.Tools) != tt.tools || int(asked.Load()) != tt.asked {
				t.Errorf("%d tools in %d pages, want %d in %d", len(info.Tools), asked.Load(), tt.tools, tt.asked)
			}
		})
	}
	t.Run("no tools declared", func(t *testing.T) {
		url, seen := eraServer(t, result(`{"supportedVersions":["2026-07-28"],"capabilities":{"logging":{}}}`), silent, silent)
		info, err := newPool(t, nil).Describe(t.Context(), target(url, ""))
		if err != nil || info.Tools != nil || string(info.Capabilities) != `{"logging":{}}` || seen() != "server/discover" {
			t.Errorf("%q %s %v, sent %s", info.Tools, info.Capabilities, err, seen())
		}
	})
}
