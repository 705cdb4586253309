// SPDX-License-Identifier: Apache-2.0

// Package mirror compares the headers in which modern clients repeat parts of the body, Mcp-Name and Mcp-Param-*, with
// that body (mcp.md M-24, M-25; MCP 2026-07-28 basic/transports/streamable-http).
//
// edge uses it. It must never know which methods carry which header.
package mirror

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
)

// What can be wrong with a header. The texts go to clients and never repeat a value.
var (
	ErrMissing  = errors.New("the header is missing")
	ErrExtra    = errors.New("the body has no such value")
	ErrRepeated = errors.New("the header is repeated")
	ErrEncoding = errors.New("the header has characters that must be encoded, or is encoded badly")
	ErrDiffers  = errors.New("the values differ")
	// ErrTwice is a fault of the body: what the header says can be compared with either of two values (M-10).
	ErrTwice = errors.New("a key stands twice in one object")
)

// Text returns the text of a JSON string, without a copy where a header repeats it.
func Text(header []string, raw []byte) (string, bool) {
	if len(header) == 1 && wire.EqualString(raw, header[0]) {
		return header[0], true
	}
	return wire.DecodeString(raw)
}

// Value compares a header, as net/http holds it, with a raw JSON value: strings as text, true and false as words,
// numbers as safe integers. The header must be there exactly if the value is, null counting as absent.
func Value(header []string, raw []byte) error {
	absent := raw == nil || string(raw) == "null"
	switch {
	case len(header) > 1:
		return ErrRepeated
	case len(header) == 0 && absent:
		return nil
	case len(header) == 0:
		return ErrMissing
	case absent:
		return ErrExtra
	}
	text, err := decode(header[0])
	if err != nil {
		return err
	}
	same := string(raw) == text // true and false
	switch {
	case wire.IsString(raw):
		same = wire.EqualString(raw, text)
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		same = sameInteger(string(raw), text)
	case raw[0] == '{' || raw[0] == '[':
		same = false
	}
	if !same {
		return ErrDiffers
	}
	return nil
}

const (
	sentinelStart = "=?base64?"
	sentinelEnd   = "?="
)

// decode undoes the encoding of values that are not plain ASCII.
func decode(value string) (string, error) {
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return "", ErrEncoding
		}
	}
	coded, ok := strings.CutPrefix(value, sentinelStart)
	if !ok {
		return value, nil
	}
	if coded, ok = strings.CutSuffix(coded, sentinelEnd); !ok {
		return value, nil
	}
	text, err := base64.StdEncoding.Strict().DecodeString(coded)
	if err != nil || !utf8.Valid(text) {
		return "", ErrEncoding
	}
	return string(text), nil
}

// maxSafe is the largest integer that JavaScript holds exactly.
const maxSafe = 1<<53 - 1

func sameInteger(body, header string) bool {
	a, ok := safeInteger(body)
	b, ok2 := safeInteger(header)
	return ok && ok2 && a == b
}

// safeInteger reads a JSON number that is an integer, however written: 42, 42.0 and 4.2e1 are one.
func safeInteger(s string) (float64, bool) {
	if s == "" || (s[0] != '-' && (s[0] < '0' || s[0] > '9')) || !wire.Valid([]byte(s)) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && f == math.Trunc(f) && math.Abs(f) <= maxSafe
}

// Params compares the Mcp-Param-* headers of a call with its arguments, raw JSON or nil, for the parameters that a tool's
// schema annotates. Headers that no annotation names are left alone.
func Params(h http.Header, annotated []headerschema.Header, arguments []byte) error {
	for i := range annotated {
		a := &annotated[i]
		raw, err := argument(arguments, a.Path)
		if err != nil {
			return err
		}
		if err := Value(h[a.Name], raw); err != nil {
			return fmt.Errorf("%s does not match the arguments: %w", a.Name, err)
		}
	}
	return nil
}

// argument returns the raw value that the path leads to, nil if there is none. An object on the way in which a key stands
// twice is refused.
func argument(raw []byte, path []string) ([]byte, error) {
	for _, name := range path {
		if !wire.IsObject(raw) {
			return nil, nil
		}
		var room [8]wire.Field
		fields, err := wire.Fields(room[:0], raw)
		if err != nil {
			return nil, ErrTwice // all else was refused by the scan of the message
		}
		raw = wire.Lookup(fields, name).Of(raw)
	}
	return raw, nil
}
