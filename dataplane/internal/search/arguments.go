// SPDX-License-Identifier: Apache-2.0

package search

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Bounds of what clients send (G-20). Texts are counted in characters.
const (
	maxQuery     = 200
	maxLimit     = 20
	defaultLimit = 8
	maxName      = 320 // of a tool or a server
)

// Names of arguments.
const (
	argQuery     = "query"
	argLimit     = "limit"
	argServer    = "server"
	argDetail    = "detail"
	argToolName  = "tool_name"
	argArguments = "arguments"
	argAlias     = "tool_args"
)

// Values of detail.
const (
	detailSignature = "signature"
	detailSchema    = "schema"
)

// query is what search_tools was asked.
type query struct {
	text   string
	limit  int
	server string // empty for all
	schema bool   // detail: whole input schemas in place of signatures
}

func invalid(format string, args ...any) error {
	return fault.New(fault.Invalid, wire.ReasonParams, fmt.Sprintf(format, args...))
}

// members opens the arguments of one of the two tools. raw is nil if there are none.
func members(tool string, raw []byte, known ...string) ([]wire.Field, error) {
	if raw == nil {
		return nil, nil
	}
	fields, err := wire.Fields(nil, raw)
	if err != nil {
		return nil, invalid("the arguments of %s are no object, or name one argument twice", tool)
	}
	for _, f := range fields {
		if name := string(f.Name); !slices.Contains(known, name) {
			return nil, invalid("%s has no argument %s; it has %s", tool, wire.Quote(clip(name)), strings.Join(known, ", "))
		}
	}
	return fields, nil
}

// readQuery reads the arguments of search_tools. The fault is Invalid (-32602).
func readQuery(raw []byte) (q query, err error) {
	fields, err := members(compile.SearchTools, raw, argQuery, argLimit, argServer, argDetail)
	if err != nil {
		return q, err
	}
	var ok bool
	if q.text, ok = wire.DecodeString(wire.Lookup(fields, argQuery).Of(raw)); !ok {
		return q, invalid("query must be a string of 1 to %d characters", maxQuery)
	}
	if n := utf8.RuneCountInString(q.text); n > maxQuery || strings.TrimSpace(q.text) == "" {
		return q, invalid("query must be a string of 1 to %d characters", maxQuery)
	}
	q.limit = defaultLimit
	if m := wire.Lookup(fields, argLimit); m.Present() {
		if q.limit, ok = whole(m.Of(raw)); !ok || q.limit < 1 || q.limit > maxLimit {
			return q, invalid("limit must be an integer from 1 to %d", maxLimit)
		}
	}
	if m := wire.Lookup(fields, argServer); m.Present() {
		if q.server, ok = wire.DecodeString(m.Of(raw)); !ok || q.server == "" || utf8.RuneCountInString(q.server) > maxName {
			return q, invalid("server must be the name of a server, a string of 1 to %d characters", maxName)
		}
	}
	if m := wire.Lookup(fields, argDetail); m.Present() {
		detail, _ := wire.DecodeString(m.Of(raw))
		if detail != detailSignature && detail != detailSchema {
			return q, invalid("detail must be %q or %q", detailSignature, detailSchema)
		}
		q.schema = detail == detailSchema
	}
	return q, nil
}

// whole reads a JSON number that is an integer, however it is written: to JSON Schema 8.0 is one.
func whole(raw []byte) (int, bool) {
	if n, ok := wire.Int(raw); ok {
		return int(n), true
	}
	if len(raw) == 0 || len(raw) > 20 || raw[0] == '"' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != float64(int(f)) {
		return 0, false
	}
	return int(f), true
}

// order is what run_tool was asked.
type order struct {
	name      string
	arguments []byte // raw object, nil if there are none
}

// readOrder reads the arguments of run_tool. The fault is Invalid (-32602).
func readOrder(raw []byte) (o order, err error) {
	fields, err := members(compile.RunTool, raw, argToolName, argArguments, argAlias)
	if err != nil {
		return o, err
	}
	var ok bool
	if o.name, ok = wire.DecodeString(wire.Lookup(fields, argToolName).Of(raw)); !ok || o.name == "" || utf8.RuneCountInString(o.name) > maxName {
		return o, invalid("tool_name must be the name of a tool, a string of 1 to %d characters", maxName)
	}
	given, alias := wire.Lookup(fields, argArguments), wire.Lookup(fields, argAlias)
	if given.Present() && alias.Present() {
		return o, invalid("arguments and tool_args are one argument under two names; give only one of them")
	}
	if alias.Present() {
		given = alias
	}
	if o.arguments = given.Of(raw); o.arguments != nil && !wire.IsObject(o.arguments) {
		return o, invalid("arguments must be an object")
	}
	return o, nil
}

// clip shortens what a client wrote for a text that it gets back.
func clip(s string) string {
	const longest = 100
	if utf8.RuneCountInString(s) <= longest {
		return s
	}
	return string([]rune(s)[:longest]) + "…"
}
