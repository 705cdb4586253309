// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// maxBody is the largest request that the servers here read, in bytes.
const maxBody = 4 << 20

// echoTool is the upstream's one tool as JSON text.
const echoTool = `{"name":"echo","description":"Answers with the message.",` +
	`"inputSchema":{"type":"object","properties":{"message":{"type":"string"}},"required":["message"]}}`

// echo is the upstream: an MCP server over Streamable HTTP, of both eras, with one tool, that does as little as it can. Sessions are
// handed out and not kept: any id is taken.
func echo(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
	case http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		w.Header().Set("Allow", "POST, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	var request echoRequest
	if err := json.Unmarshal(body, &request); err != nil {
		answer(w, http.StatusBadRequest, `{"jsonrpc":"2.0","error":{"code":-32700,"message":"no JSON"}}`)
		return
	}
	if len(request.ID) == 0 {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	status, member := request.answer(w.Header())
	answer(w, status, `{"jsonrpc":"2.0","id":`+string(request.ID)+`,`+member+`}`)
}

// echoRequest is what echo reads of a request.
type echoRequest struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name            string          `json:"name"`
		ProtocolVersion string          `json:"protocolVersion"`
		Meta            json.RawMessage `json:"_meta"`
		Arguments       struct {
			Message json.RawMessage `json:"message"`
		} `json:"arguments"`
	} `json:"params"`
}

// answer returns the status and the result or error member, and sets the session header.
func (r echoRequest) answer(header http.Header) (int, string) {
	complete, cached, unknown := "", "", http.StatusOK
	if strings.Contains(string(r.Params.Meta), modernVersion) {
		complete, cached, unknown = `"resultType":"complete",`, `,"ttlMs":60000,"cacheScope":"private"`, http.StatusNotFound
	}
	switch {
	case r.Method == "initialize" && complete == "":
		header.Set("Mcp-Session-Id", rand.Text())
		return http.StatusOK, `"result":{"protocolVersion":"` + legacyVersion + `","capabilities":{"tools":{}},"serverInfo":{"name":"echo","version":"1"}}`
	case r.Method == "server/discover" && complete != "":
		return http.StatusOK, `"result":{` + complete + `"supportedVersions":["` + modernVersion + `"],"capabilities":{"tools":{}},` +
			`"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"echo","version":"1"}}` + cached + `}`
	case r.Method == "ping" && complete == "":
		return http.StatusOK, `"result":{}`
	case r.Method == "tools/list":
		return http.StatusOK, `"result":{` + complete + `"tools":[` + echoTool + `]` + cached + `}`
	case r.Method == "tools/call" && r.Params.Name == "echo" && len(r.Params.Arguments.Message) > 0:
		return http.StatusOK, `"result":{` + complete + `"content":[{"type":"text","text":` + string(r.Params.Arguments.Message) + `}]}`
	case r.Method == "tools/call":
		return http.StatusOK, `"error":{"code":-32602,"message":"unknown tool, or no message"}`
	}
	return unknown, `"error":{"code":-32601,"message":"unknown method"}`
}

// answer writes JSON.
func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
