// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// MCPVersion is what the upstream speaks.
const MCPVersion = "2025-11-25"

// pageSize is how many tools one page of tools/list has.
const pageSize = 250

// Upstream is the MCP servers of a catalogue, one below each path /N. It lists tools in pages and answers every call.
type Upstream struct {
	Catalogue

	edited atomic.Int64 // this many tools of the first server, from the first on, are edited
}

// Edit changes the description of one more tool of the first server, and returns its number.
func (u *Upstream) Edit() int { return int(u.edited.Add(1) - 1) }

// Definitions returns all tools of a server as they are now.
func (u *Upstream) Definitions(server int) [][]byte {
	first, end := u.ToolsOf(server)
	list := make([][]byte, 0, end-first)
	for n := first; n < end; n++ {
		list = append(list, u.definition(n))
	}
	return list
}

// definition is what a tool is now.
func (u *Upstream) definition(n int) []byte {
	if text := u.Tool(n); int64(n) >= u.edited.Load() {
		return text
	}
	return bytes.Replace(u.Tool(n), []byte(`"description":"`), []byte(`"description":"Edited. `), 1)
}

// ServeHTTP implements http.Handler.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || server < 0 || server >= u.Servers {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Cursor string }
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if m.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,`, m.ID)
	switch m.Method {
	case "initialize":
		_, _ = io.WriteString(w, `"result":{"protocolVersion":"`+MCPVersion+`","capabilities":{"tools":{}},"serverInfo":{"name":"scale","version":"1"}}`)
	case "tools/list":
		u.list(w, server, m.Params.Cursor)
	case "tools/call":
		_, _ = io.WriteString(w, `"result":{"content":[{"type":"text","text":"done"}]}`)
	case "ping":
		_, _ = io.WriteString(w, `"result":{}`)
	default:
		_, _ = io.WriteString(w, `"error":{"code":-32601,"message":"Method not found"}`)
	}
	_, _ = io.WriteString(w, "}")
}

// list writes one page; the cursor is the number of the next tool.
func (u *Upstream) list(w io.Writer, server int, cursor string) {
	first, end := u.ToolsOf(server)
	if n, err := strconv.Atoi(cursor); err == nil && n > first && n < end {
		first = n
	}
	last := min(first+pageSize, end)
	_, _ = io.WriteString(w, `"result":{"tools":[`)
	for n := first; n < last; n++ {
		if n > first {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = w.Write(u.definition(n))
	}
	_, _ = io.WriteString(w, "]")
	if last < end {
		fmt.Fprintf(w, `,"nextCursor":"%d"`, last)
	}
	_, _ = io.WriteString(w, "}")
}
