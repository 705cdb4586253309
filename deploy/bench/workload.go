// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/deploy/bench/subject"
)

const (
	legacyVersion = "2025-11-25"
	modernVersion = "2026-07-28"

	clientInfo = `{"name":"bench","version":"1"}`
	// argumentBytes is the length of the echo tool's one argument.
	argumentBytes = 64
)

// A workload is a kind of request.
type workload struct {
	Name   string
	Title  string
	Modern bool // 2026-07-28, stateless; otherwise a session of 2025-11-25
}

// workloads is every kind of request that is measured.
func workloads() []workload {
	return []workload{
		{Name: "call-legacy", Title: "tools/call, legacy session (2025-11-25)"},
		{Name: "call-modern", Title: "tools/call, stateless (2026-07-28)", Modern: true},
	}
}

func workloadNames() string {
	var names []string
	for _, w := range workloads() {
		names = append(names, w.Name)
	}
	return strings.Join(names, ",")
}

// pickWorkloads returns the workloads of a comma-separated list of names, all for an empty one.
func pickWorkloads(names string) ([]workload, error) {
	if names == "" {
		return workloads(), nil
	}
	var picked []workload
	for name := range strings.SplitSeq(names, ",") {
		before := len(picked)
		for _, w := range workloads() {
			if w.Name == name {
				picked = append(picked, w)
			}
		}
		if len(picked) == before {
			return nil, fmt.Errorf("-workloads: no %q; there are %s", name, workloadNames())
		}
	}
	return picked, nil
}

// appendRequest appends a whole HTTP request to b.
func appendRequest(b []byte, e subject.Endpoint, headers string, body []byte) []byte {
	b = append(b, "POST "...)
	b = append(b, e.Path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, e.Host...)
	b = append(b, "\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"...)
	if e.Token != "" {
		b = append(b, "Authorization: Bearer "...)
		b = append(b, e.Token...)
		b = append(b, "\r\n"...)
	}
	b = append(b, headers...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// callHeaders are the headers of a tools/call that differ between the eras; session is empty in the modern one.
func (w workload) callHeaders(tool, session string) string {
	if w.Modern {
		return "MCP-Protocol-Version: " + modernVersion + "\r\nMcp-Method: tools/call\r\nMcp-Name: " + tool + "\r\n"
	}
	headers := "MCP-Protocol-Version: " + legacyVersion + "\r\n"
	if session != "" {
		headers += "Mcp-Session-Id: " + session + "\r\n"
	}
	return headers
}

// appendCall appends the body of a tools/call with this id and message.
func (w workload) appendCall(b []byte, tool string, id uint64, message []byte) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	b = strconv.AppendUint(b, id, 10)
	b = append(b, `,"method":"tools/call","params":{"name":"`...)
	b = append(b, tool...)
	b = append(b, `","arguments":{"message":"`...)
	b = append(b, message...)
	b = append(b, `"}`...)
	if w.Modern {
		b = append(b, `,"_meta":{"io.modelcontextprotocol/protocolVersion":"`+modernVersion+
			`","io.modelcontextprotocol/clientInfo":`+clientInfo+`,"io.modelcontextprotocol/clientCapabilities":{}}`...)
	}
	return append(b, `}}`...)
}

// appendMessage appends the argument that is unique to one call: its token, filled up to argumentBytes.
func appendMessage(b []byte, worker int, sequence uint64) []byte {
	start := len(b)
	b = append(b, "token-"...)
	b = strconv.AppendInt(b, int64(worker), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, sequence, 10)
	b = append(b, '-')
	for len(b)-start < argumentBytes {
		b = append(b, '.')
	}
	return b
}

// checkWhole parses an answer and compares its id and its text.
func checkWhole(body []byte, id uint64, message []byte) error {
	var answer struct {
		JSONRPC string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Result  struct {
			IsError bool `json:"isError"`
			Content []struct{ Type, Text string }
		}
		Error json.RawMessage
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("parse answer: %w", err)
	}
	switch {
	case answer.Error != nil || answer.Result.IsError:
		return fmt.Errorf("the answer is an error: %s", body)
	case answer.JSONRPC != "2.0" || string(answer.ID) != strconv.FormatUint(id, 10):
		return fmt.Errorf("want id %d: %s", id, body)
	case len(answer.Result.Content) != 1 || answer.Result.Content[0].Text != string(message):
		return fmt.Errorf("want the text %s: %s", message, body)
	}
	return nil
}
