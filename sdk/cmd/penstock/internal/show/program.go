// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Formats of the --output flag.
const (
	FormatTable = "table"
	FormatJSON  = "json"
	FormatYAML  = "yaml"
)

// One writes a message as JSON or YAML, with proto names.
func One(w io.Writer, format string, m proto.Message) error {
	body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return document(w, format, body)
}

// Many writes messages as a JSON array or a YAML list.
func Many[M proto.Message](w io.Writer, format string, all []M) error {
	bodies := make([]json.RawMessage, len(all))
	for i, m := range all {
		body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			return fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().Name(), err)
		}
		bodies[i] = body
	}
	body, err := json.Marshal(bodies)
	if err != nil {
		return fmt.Errorf("write list: %w", err)
	}
	return document(w, format, body)
}

// EachLine writes messages as JSON, one on each line.
func EachLine[M proto.Message](w io.Writer, all []M) error {
	var b bytes.Buffer
	for _, m := range all {
		body, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			return fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().Name(), err)
		}
		if err := json.Compact(&b, body); err != nil { // the library puts blanks in at random
			return err
		}
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// document writes JSON indented, or as YAML with the members in the same order.
func document(w io.Writer, format string, body []byte) error {
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", "  "); err != nil {
		return err
	}
	if format == FormatJSON {
		b.WriteByte('\n')
		_, err := w.Write(b.Bytes())
		return err
	}
	var tree yaml.Node // JSON is YAML, and the tree keeps the order
	if err := yaml.Unmarshal(b.Bytes(), &tree); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	plain(&tree)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&tree); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	return e.Close()
}

// plain takes the braces and quotes of JSON off a tree; the encoder puts quotes back where they are needed.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}
