// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// anyText is the text where any will do.
const anyText = "example"

// answer answers a question of a server: a form with its defaults, and with examples where it has none.
func answer(method string, params json.RawMessage) (any, error) {
	switch method {
	case "elicitation/create":
		asked := struct {
			Schema json.RawMessage `json:"requestedSchema"`
		}{}
		if err := json.Unmarshal(params, &asked); err != nil {
			return nil, fmt.Errorf("read the question: %w", err)
		}
		content, err := example(asked.Schema)
		if err != nil {
			return nil, fmt.Errorf("fill in the form: %w", err)
		}
		return map[string]any{"action": "accept", "content": content}, nil
	case "sampling/createMessage":
		return map[string]any{
			"role": "assistant", "content": map[string]any{"type": "text", "text": anyText}, "model": "none", "stopReason": "endTurn",
		}, nil
	case "roots/list":
		return map[string]any{"roots": []any{map[string]any{"uri": "file:///tmp/" + anyText, "name": anyText}}}, nil
	case "ping":
		return map[string]any{}, nil
	}
	return nil, fmt.Errorf("asked for %s", method)
}

// errRemote is that of a schema which is in another document.
var errRemote = errors.New("the schema is elsewhere")

// example makes a value that a schema allows: its default, or the simplest one. Properties of which nothing is known are left out.
func example(schema json.RawMessage) (any, error) {
	root := map[string]any{}
	if err := decode(schema, &root); err != nil {
		return nil, err
	}
	return exampleIn(root, root, 0)
}

// maxDepth of schemas within schemas; a schema may contain itself.
const maxDepth = 16

func exampleIn(root, schema map[string]any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("the schema is too deep")
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, err := resolve(root, ref)
		if err != nil {
			return nil, err
		}
		return exampleIn(root, target, depth+1)
	}
	for _, member := range []string{"default", "const"} {
		if value, ok := schema[member]; ok {
			return value, nil
		}
	}
	if values, ok := schema["enum"].([]any); ok && len(values) > 0 {
		return values[0], nil
	}
	switch schema["type"] {
	case "string":
		return anyText, nil
	case "integer", "number":
		if least, ok := schema["minimum"]; ok {
			return least, nil
		}
		return 1, nil
	case "boolean":
		return true, nil
	case "array":
		return []any{}, nil
	case "object":
		return exampleObject(root, schema, depth)
	}
	return nil, nil //nolint:nilnil // null is a value
}

func exampleObject(root, schema map[string]any, depth int) (any, error) {
	properties, _ := schema["properties"].(map[string]any) // none is an empty object
	value := make(map[string]any, len(properties))
	for name, property := range properties {
		property, ok := property.(map[string]any)
		if !ok {
			continue
		}
		inner, err := exampleIn(root, property, depth+1)
		switch {
		case errors.Is(err, errRemote):
			continue
		case err != nil:
			return nil, err
		}
		value[name] = inner
	}
	return value, nil
}

// resolve follows a reference within the document, RFC 6901.
func resolve(root map[string]any, ref string) (map[string]any, error) {
	pointer, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil, fmt.Errorf("%w: %s", errRemote, ref)
	}
	at := root
	for token := range strings.SplitSeq(pointer, "/") {
		token, err := url.PathUnescape(token)
		if err != nil {
			return nil, err
		}
		if at, ok = at[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)].(map[string]any); !ok {
			return nil, fmt.Errorf("%s leads nowhere", ref)
		}
	}
	return at, nil
}

// mirrored makes the headers that repeat arguments, MCP 2026-07-28 basic/transports/streamable-http.
func mirrored(schema, arguments json.RawMessage) (http.Header, error) {
	s, values, header := map[string]any{}, map[string]any{}, make(http.Header)
	if err := errors.Join(decode(schema, &s), decode(arguments, &values)); err != nil {
		return nil, err
	}
	mirror(s, values, header)
	return header, nil
}

func mirror(schema, values map[string]any, into http.Header) {
	properties, _ := schema["properties"].(map[string]any) // none has no headers
	for name, property := range properties {
		property, ok := property.(map[string]any)
		value, there := values[name]
		if !ok || !there || value == nil {
			continue
		}
		if inner, ok := value.(map[string]any); ok {
			mirror(property, inner, into)
			continue
		}
		if name, ok := property["x-mcp-header"].(string); ok {
			into.Set("Mcp-Param-"+name, encoded(fmt.Sprint(value)))
		}
	}
}

// encoded is a text as a header carries it: itself, or its base64 form if a header would change it or take it for one.
func encoded(text string) string {
	plain := strings.Trim(text, " ") == text && !strings.HasPrefix(text, "=?base64?")
	for _, r := range text {
		plain = plain && r >= ' ' && r <= '~'
	}
	if plain {
		return text
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
}

// decode keeps numbers as they are written.
func decode(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(into)
}
