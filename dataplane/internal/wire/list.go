// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"github.com/penstockhq/penstock/dataplane/internal/wire/grammar"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// MaxBatch is the largest number of messages in one batch (mcp.md §2.1, ours).
const MaxBatch = 64

// IsBatch reports whether the first token of b opens an array.
func IsBatch(b []byte) bool {
	i := nextToken(b, 0)
	return i < len(b) && b[i] == '['
}

// SplitBatch checks b, an array of messages, and appends the range of each
// message to dst. The messages themselves are left to [Scan]. Errors are those
// of Scan; an empty batch and one of more than MaxBatch messages are refused
// with [ReasonRequest] (M-43).
func SplitBatch(dst []Span, b []byte) ([]Span, error) {
	first := len(dst)
	dst, err := Elements(dst, b)
	if err != nil {
		return dst, err
	}
	switch n := len(dst) - first; {
	case n == 0:
		return dst, fault.New(fault.Invalid, ReasonRequest, "the batch is empty")
	case n > MaxBatch:
		return dst, fault.Newf(fault.Invalid, ReasonRequest, "the batch has more than %d messages", MaxBatch)
	}
	return dst, nil
}

// Elements checks b, one JSON array, and appends the range of each element to
// dst. It returns a fault of Kind Invalid if b is no array or not JSON.
func Elements(dst []Span, b []byte) ([]Span, error) {
	w := walk{Scanner: grammar.Scanner{Text: b}}
	if !w.start() {
		return dst, w.broken()
	}
	if w.Peek() != '[' {
		return dst, fault.New(fault.Invalid, ReasonRequest, "not an array")
	}
	w.I++
	if w.Peek() == ']' {
		w.I++
		w.end()
		return dst, w.broken()
	}
	for {
		w.Peek()
		from := w.I
		if !w.Value(1) {
			return dst, w.broken()
		}
		dst = append(dst, Span{from, w.I})
		switch w.Peek() {
		case ',':
			w.I++
		case ']':
			w.I++
			w.end()
			return dst, w.broken()
		default:
			w.Fail(grammar.BadSyntax, w.I)
			return dst, w.broken()
		}
	}
}

// Get returns the raw value that a path of member names leads to in object; nil
// if one of the names is missing, or what should have it is no object.
func Get(object []byte, path ...string) []byte {
	for _, name := range path {
		if !IsObject(object) {
			return nil
		}
		var room [12]Field
		fields, err := Fields(room[:0], object)
		if err != nil {
			return nil
		}
		object = Lookup(fields, name).Of(object)
	}
	return object
}

// Field is one member of an object with its decoded key, which aliases the
// text unless the key has escapes.
type Field struct {
	Member
	Name []byte
}

// Fields checks b, one JSON object, and appends its members in order to dst.
// A key that stands twice is refused (M-10). It returns a fault of Kind Invalid
// if b is no object, not JSON or has such a key.
func Fields(dst []Field, b []byte) ([]Field, error) { return fields(dst, b, false) }

// Members is [Fields] for an object in which a key may stand twice: all of its
// members are appended.
func Members(dst []Field, b []byte) ([]Field, error) { return fields(dst, b, true) }

func fields(dst []Field, b []byte, twice bool) ([]Field, error) {
	w := walk{Scanner: grammar.Scanner{Text: b}}
	if !w.start() {
		return dst, w.broken()
	}
	if w.Peek() != '{' {
		return dst, fault.New(fault.Invalid, ReasonRequest, "not an object")
	}
	w.I++
	if w.Peek() == '}' {
		w.I++
		w.end()
		return dst, w.broken()
	}
	var seen seenKeys
	for {
		at, key, ok := w.key()
		if !ok || !w.Colon() {
			return dst, w.broken()
		}
		w.Peek()
		from := w.I
		if !w.Value(1) {
			return dst, w.broken()
		}
		if !twice {
			w.remember(&seen, key)
		}
		dst = append(dst, Field{Member{at, Span{from, w.I}}, key})
		switch w.Peek() {
		case ',':
			w.I++
		case '}':
			w.I++
			if w.end() && w.dup {
				w.Fail(grammar.DuplicateKey, at)
			}
			return dst, w.broken()
		default:
			w.Fail(grammar.BadSyntax, w.I)
			return dst, w.broken()
		}
	}
}

// Lookup returns the member called name, absent if there is none.
func Lookup(fields []Field, name string) Member {
	for i := range fields {
		if string(fields[i].Name) == name {
			return fields[i].Member
		}
	}
	return Member{}
}

// Valid reports whether b is one JSON value by the rules of [Scan], of any
// type.
func Valid(b []byte) bool {
	w := walk{Scanner: grammar.Scanner{Text: b}}
	return w.start() && w.Value(0) && w.end()
}
