// SPDX-License-Identifier: Apache-2.0

// Package mirrored writes the headers in which a modern client repeats parts of
// its request: Mcp-Name and Mcp-Param-* (mcp.md M-24, M-25, M-63; MCP 2026-07-28
// basic/transports/streamable-http, Value Encoding).
//
// Called by upstream/rewrite. It must never know which methods carry which
// header, nor how headers are checked (edge/mirror).
package mirrored

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Field is one header field.
type Field struct{ Name, Value string }

const (
	prefix     = "Mcp-Param-"
	annotation = "x-mcp-header"
	// maxFields bounds what one call repeats, maxDepth how deep annotations
	// are looked for.
	maxFields = 64
	maxDepth  = 64
)

// Append appends to dst a field for each value in arguments that schema, an
// input schema, marks with x-mcp-header. Both are raw JSON; arguments may be
// nil. Values that are absent, null or no scalar have no field, and neither have
// annotations that name no header.
func Append(dst []Field, schema, arguments []byte) []Field {
	if !wire.IsObject(arguments) || !bytes.Contains(schema, []byte(annotation)) {
		return dst
	}
	return properties(dst, member(schema, "properties"), arguments, maxDepth)
}

// properties goes down the chain of properties keys, the only way on which
// annotations count (M-64).
func properties(dst []Field, schemas, values []byte, depth int) []Field {
	if depth == 0 || !wire.IsObject(schemas) || !wire.IsObject(values) {
		return dst
	}
	fields, err := wire.Fields(nil, schemas)
	if err != nil {
		return dst
	}
	present, err := wire.Fields(nil, values)
	if err != nil {
		return dst
	}
	for i := range fields {
		schema := fields[i].Of(schemas)
		value := wire.Lookup(present, string(fields[i].Name)).Of(values)
		if value == nil || len(dst) == maxFields {
			continue
		}
		if name, ok := wire.DecodeString(member(schema, annotation)); ok && token(name) {
			if text, ok := scalar(value); ok {
				dst = append(dst, Field{prefix + name, Text(text)})
			}
		}
		dst = properties(dst, member(schema, "properties"), value, depth-1)
	}
	return dst
}

// scalar returns the text of a string, a boolean or a number.
func scalar(raw []byte) (string, bool) {
	switch {
	case wire.IsString(raw):
		return wire.DecodeString(raw)
	case string(raw) == "true" || string(raw) == "false":
		return string(raw), true
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return number(string(raw)), true
	}
	return "", false
}

// maxSafe is the largest integer that JavaScript holds exactly.
const maxSafe = 1<<53 - 1

// number writes an integer without fraction and exponent, however it stands in
// the body; other numbers stay as they are.
func number(s string) string {
	if !strings.ContainsAny(s, ".eE") {
		return s
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > maxSafe {
		return s
	}
	return strconv.FormatInt(int64(f), 10)
}

const (
	base64Start = "=?base64?"
	base64End   = "?="
)

// Text returns s as it may stand in a header: itself if it is printable ASCII
// without outer white space and not like the encoded form, else encoded.
func Text(s string) string {
	plain := !strings.HasPrefix(s, base64Start) && s == strings.TrimSpace(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return base64Start + base64.StdEncoding.EncodeToString([]byte(s)) + base64End
}

// token reports whether s may end a field name (RFC 9110 §5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c-'0' <= 9 || c|0x20-'a' <= 25
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// member returns the raw value of a member, nil if there is none or raw is no
// object.
func member(raw []byte, name string) []byte {
	if !wire.IsObject(raw) {
		return nil
	}
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return nil
	}
	return wire.Lookup(fields, name).Of(raw)
}
