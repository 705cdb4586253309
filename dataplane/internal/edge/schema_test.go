// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemas checks every message that the edge sends against the published schema of the version it is sent in.
type schemas struct {
	compiler *jsonschema.Compiler
	session  string // version negotiated last
}

const (
	modern = "2026-07-28"
	newest = "2025-11-25" // of the legacy versions
)

func (s *schemas) check(t *testing.T, name string, r *http.Request, sent string, resp *http.Response, answer []byte) {
	t.Helper()
	if len(answer) == 0 {
		return
	}
	version := s.version(r, sent)
	var messages [][]byte
	switch kind := resp.Header.Get("Content-Type"); kind {
	case "text/event-stream":
		for _, event := range strings.Split(strings.TrimSuffix(string(answer), "\n\n"), "\n\n") {
			lines := strings.Split(event, "\n")
			data, ok := strings.CutPrefix(lines[len(lines)-1], "data: ")
			if len(lines) != 2 || lines[0] != "event: message" || !ok {
				t.Errorf("%s: event %q", name, event)
				continue
			}
			messages = append(messages, []byte(data))
		}
	case "application/json":
		if bytes.HasPrefix(answer, []byte(`{"error":"`)) {
			return // answered before the body was read: no JSON-RPC
		}
		messages = append(messages, answer)
	default:
		t.Errorf("%s: Content-Type %q", name, kind)
	}
	for _, m := range messages {
		s.message(t, name, version, sent, m)
	}
}

// version returns what the client speaks with this request.
func (s *schemas) version(r *http.Request, sent string) string {
	var m struct {
		Method string
		Params struct{ ProtocolVersion string }
	}
	_ = json.Unmarshal([]byte(sent), &m)
	switch {
	case strings.Contains(sent, `"_meta":{"io.modelcontextprotocol/protocolVersion"`), r.Header.Get("Mcp-Protocol-Version") == modern:
		return modern
	case m.Method == "initialize":
		s.session = newest
		if strings.HasPrefix(m.Params.ProtocolVersion, "202") && m.Params.ProtocolVersion < newest {
			s.session = m.Params.ProtocolVersion
		}
	}
	if s.session == "" {
		return newest
	}
	return s.session
}

func (s *schemas) message(t *testing.T, name, version, sent string, raw []byte) {
	t.Helper()
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Errorf("%s: %s is no message: %v", name, raw, err)
		return
	}
	what, part := "JSONRPCMessage", raw
	switch {
	case m["error"] != nil && m["id"] == nil && version < newest:
		version = newest // the older schemas have no form for an answer to an unreadable request
	case m["error"] != nil:
	case m["method"] != nil:
		what = "ServerNotification"
	case m["result"] != nil:
		s.validate(t, name, version, what, raw)
		what, part = resultOf(version, sent), m["result"]
	}
	s.validate(t, name, version, what, part)
}

// resultOf names the definition of the result of the method that was called.
func resultOf(version, sent string) string {
	for method, what := range map[string]string{
		"initialize": "InitializeResult", "server/discover": "DiscoverResult", "tools/list": "ListToolsResult", "tools/call": "CallToolResult",
	} {
		if strings.Count(sent, `"method":"`) == 1 && strings.Contains(sent, `"method":"`+method+`"`) {
			return what
		}
	}
	if version == modern {
		return "Result"
	}
	return "ServerResult"
}

func (s *schemas) validate(t *testing.T, name, version, what string, raw []byte) {
	t.Helper()
	if s.compiler == nil {
		s.compiler = jsonschema.NewCompiler()
	}
	url, definitions := "file:///"+version+".json", "#/$defs/"
	if version < newest {
		definitions = "#/definitions/"
	}
	schema, err := s.compiler.Compile(url + definitions + what)
	if err != nil {
		text, err := os.ReadFile("testdata/schema/" + version + ".json")
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.compiler.AddResource(url, doc); err != nil {
			t.Fatal(err)
		}
		if schema, err = s.compiler.Compile(url + definitions + what); err != nil {
			t.Fatal(err)
		}
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s: not a %s of %s: %v\n%s", name, what, version, err, raw)
	}
}
