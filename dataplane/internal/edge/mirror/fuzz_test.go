// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/edge/mirror"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
	"github.com/penstockhq/penstock/dataplane/internal/wire/mirrored"
)

// FuzzText: what a node writes into a header for an upstream is what a node takes from a client: the same text and no
// other, in characters that a header may hold (M-24, M-63).
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "a b", " a", "a\t", "größe", "=?base64?YQ==?=", "=?base64?", "=?BASE64?YQ==?=", "\x00", "\x7f", "a\r\nb", "\u00a0x"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, s, other string) {
		if !utf8.ValidString(s) || !utf8.ValidString(other) {
			return // no JSON string holds it
		}
		text := mirrored.Text(s)
		for i := range len(text) {
			if text[i] < ' ' || text[i] > '~' {
				t.Fatalf("%q is written as %q", s, text)
			}
		}
		if text != strings.Trim(text, " ") {
			t.Fatalf("%q is written as %q, whose outer spaces a peer trims", s, text)
		}
		if err := mirror.Value([]string{text}, wire.Quote(s)); err != nil {
			t.Fatalf("%q, written as %q, is refused: %v", s, text, err)
		}
		if err := mirror.Value([]string{text}, wire.Quote(other)); (err == nil) != (s == other) {
			t.Fatalf("%q, written as %q, for %q: %v", s, text, other, err)
		}
	})
}

// FuzzMirroredParams: the headers that a node makes for an upstream, by any schema and any arguments, are good in the eyes
// of a node, but for numbers that no header can hold exactly (M-25, M-63).
func FuzzMirroredParams(f *testing.F) {
	const schema = `{"properties":{"a":{"type":"string","x-mcp-header":"A"},"o":{"properties":{"n":{"type":"integer","x-mcp-header":"N"}}}}}`
	for _, arguments := range []string{
		`{"a":"größe","o":{"n":4.2e1}}`, `{"a":null,"o":5}`, `{"a":"\u0000","o":{"n":-0.0}}`, `{"a":{},"o":{"n":1e400}}`, `{"a":1,"a":2}`,
	} {
		f.Add([]byte(schema), []byte(arguments))
	}
	f.Add([]byte(`{"properties":{"a":{"type":"boolean","x-mcp-header":"a"},"b":{"type":"string","x-mcp-header":"B c"}}}`), []byte(`{"a":true,"b":""}`))
	f.Fuzz(func(t *testing.T, schema, arguments []byte) {
		if !wire.Valid(schema) || !wire.Valid(arguments) {
			return // both have been scanned before
		}
		schema, arguments = trim(schema), trim(arguments)
		fields := mirrored.Append(nil, schema, arguments)
		if len(fields) > 64 {
			t.Fatalf("%d headers", len(fields))
		}
		h := http.Header{}
		for _, field := range fields {
			if strings.ContainsFunc(field.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
				t.Fatalf("a header is called %q", field.Name)
			}
			h.Add(field.Name, field.Value)
		}
		annotated, err := headerschema.OfSchema(schema)
		if err != nil || len(annotated) > 64 {
			return // not offered (M-64)
		}
		for _, a := range annotated {
			if strings.Count(strings.Join(a.Path, "/"), "/") > 30 {
				return // deeper than either looks is another matter
			}
		}
		err = mirror.Params(h, annotated, arguments)
		if errors.Is(err, mirror.ErrTwice) {
			return // refused whatever the headers are (M-10)
		}
		if errors.Is(err, mirror.ErrDiffers) && !allSafe(annotated, arguments) {
			return
		}
		if errors.Is(err, mirror.ErrMissing) && !allScalar(annotated, arguments) {
			return // an object where a scalar should be has no header
		}
		if err != nil {
			t.Fatalf("schema %s, arguments %s: %v in %v", schema, arguments, err, h)
		}
	})
}

// trim cuts white space off a JSON text: parts of a message have none around them.
func trim(raw []byte) []byte { return []byte(strings.Trim(string(raw), " \t\r\n")) }

// allSafe reports whether every number that has a header is an integer that JavaScript holds exactly.
func allSafe(annotated []headerschema.Header, arguments []byte) bool {
	for i := range annotated {
		if raw := annotated[i].Value(arguments); raw != nil && (raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9') {
			if mirror.Value([]string{string(raw)}, raw) != nil {
				return false
			}
		}
	}
	return true
}

func allScalar(annotated []headerschema.Header, arguments []byte) bool {
	for i := range annotated {
		if raw := annotated[i].Value(arguments); raw != nil && (raw[0] == '{' || raw[0] == '[') {
			return false
		}
	}
	return true
}
