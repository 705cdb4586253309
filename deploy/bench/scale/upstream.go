// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// mcpVersion is what the upstream speaks.
const mcpVersion = "2025-11-25"

// pageSize is how many tools one page of tools/list has.
const pageSize = 250

// upstream is the MCP servers of a catalogue, one below each path /N. It lists tools in pages and answers every call.
type upstream struct{ catalogue }

// ServeHTTP implements http.Handler.
func (u upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	server, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
	if err != nil || server < 0 || server >= u.servers {
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
		_, _ = io.WriteString(w, `"result":{"protocolVersion":"`+mcpVersion+`","capabilities":{"tools":{}},"serverInfo":{"name":"scale","version":"1"}}`)
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
func (u upstream) list(w io.Writer, server int, cursor string) {
	first, end := u.toolsOf(server)
	if n, err := strconv.Atoi(cursor); err == nil && n > first && n < end {
		first = n
	}
	last := min(first+pageSize, end)
	_, _ = io.WriteString(w, `"result":{"tools":[`)
	for n := first; n < last; n++ {
		if n > first {
			_, _ = io.WriteString(w, ",")
		}
		_, _ = w.Write(u.tool(n))
	}
	_, _ = io.WriteString(w, "]")
	if last < end {
		fmt.Fprintf(w, `,"nextCursor":"%d"`, last)
	}
	_, _ = io.WriteString(w, "}")
}
