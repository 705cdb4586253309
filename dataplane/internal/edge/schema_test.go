// SPDX-License-Identifier: Apache-2.0

package edge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
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

// eventForm is what an event of an answer looks like: a message, with an id in sessions, or the priming event of newer
// ones (M-39).
var eventForm = regexp.MustCompile(`^(?:event: message\n(id: \S+\n)?data: (.+)|(id: \S+\n)retry: 1000\ndata: )$`)

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
			found := eventForm.FindStringSubmatch(event)
			if found == nil || (version == modern && found[1] != "") {
				t.Errorf("%s: event %q", name, event)
				continue
			}
			if found[2] != "" {
				messages = append(messages, []byte(found[2]))
			}
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
	case strings.Contains(sent, `"_meta":{"io.modelcontextprotocol/protocolVersion"`):
		return modern
	case m.Method == "initialize":
		s.session = newest
		if slices.Contains([]string{"2024-11-05", "2025-03-26", "2025-06-18"}, m.Params.ProtocolVersion) {
			s.session = m.Params.ProtocolVersion
		}
	case r.Header.Get("Mcp-Protocol-Version") == modern:
		return modern
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
		what = errorOf(version, m["error"])
	case m["method"] != nil:
		what = "ServerNotification"
	case m["result"] != nil:
		s.validate(t, name, version, what, raw)
		what, part = resultOf(version, sent, m["result"]), m["result"]
	}
	s.validate(t, name, version, what, part)
}

// resultOf names the definition of the result of the method that was called.
func resultOf(version, sent string, result json.RawMessage) string {
	var kind struct{ ResultType string }
	if _ = json.Unmarshal(result, &kind); kind.ResultType == "input_required" {
		return "InputRequiredResult"
	}
	for method, what := range map[string]string{
		"initialize": "InitializeResult", "server/discover": "DiscoverResult", "tools/list": "ListToolsResult", "tools/call": "CallToolResult",
		"prompts/list": "ListPromptsResult", "prompts/get": "GetPromptResult", "resources/list": "ListResourcesResult",
		"resources/templates/list": "ListResourceTemplatesResult", "resources/read": "ReadResourceResult",
		"completion/complete": "CompleteResult", "subscriptions/listen": "SubscriptionsListenResult",
	} {
		if kind.ResultType != "task" && strings.Count(sent, `"method":"`) == 1 && strings.Contains(sent, `"method":"`+method+`"`) {
			return what
		}
	}
	if version == modern {
		return "Result"
	}
	return "ServerResult"
}

// errorOf names the definition of an error that has one of its own.
func errorOf(version string, object json.RawMessage) string {
	var e struct{ Code int }
	if _ = json.Unmarshal(object, &e); version == modern {
		switch e.Code {
		case -32020:
			return "HeaderMismatchError"
		case -32021:
			return "MissingRequiredClientCapabilityError"
		case -32022:
			return "UnsupportedProtocolVersionError"
		}
	}
	return "JSONRPCMessage"
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
