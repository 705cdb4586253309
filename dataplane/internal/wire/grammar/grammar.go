// SPDX-License-Identifier: Apache-2.0

// Package grammar walks JSON text by the grammar of RFC 8259, strictly, without
// allocating and without building values.
//
// Called by wire only. It must never know JSON-RPC.
package grammar

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// MaxDepth is the deepest nesting of arrays and objects that is accepted
// (mcp.md §2.1, ours).
const MaxDepth = 256

// Problem is what is wrong with a text.
type Problem uint8

const (
	// Fine means nothing; it is the zero value.
	Fine Problem = iota
	// BadSyntax breaks the grammar.
	BadSyntax
	// BadUTF8 is a string or key that is not UTF-8.
	BadUTF8
	// ByteOrderMark stands before the text.
	ByteOrderMark
	// TooDeep is nested deeper than MaxDepth.
	TooDeep
	// DuplicateKey stands twice in an object whose keys are compared.
	DuplicateKey
)

// Scanner walks Text from offset I on. Its methods report whether they could go
// on; after false, Bad and At say what is wrong and where. It is a value for the
// stack of one function, and it stops at the first problem.
type Scanner struct {
	Text []byte
	I    int
	Bad  Problem
	At   int
}

// Fail notes a problem and returns false.
func (s *Scanner) Fail(p Problem, at int) bool {
	s.Bad, s.At = p, at
	return false
}

// Space skips insignificant white space.
func (s *Scanner) Space() {
	b, i := s.Text, s.I
	for i < len(b) && b[i] <= ' ' {
		if c := b[i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			break
		}
		i++
	}
	s.I = i
}

// Peek skips white space and returns the next byte, 0 at the end.
func (s *Scanner) Peek() byte {
	if s.I < len(s.Text) {
		if c := s.Text[s.I]; c > ' ' {
			return c
		}
	}
	s.Space()
	if s.I < len(s.Text) {
		return s.Text[s.I]
	}
	return 0
}

// Value walks one value of any type; depth counts the containers around it.
func (s *Scanner) Value(depth int) bool {
	switch c := s.Peek(); c {
	case '"':
		_, ok := s.Str()
		return ok
	case '{':
		return s.object(depth + 1)
	case '[':
		return s.array(depth + 1)
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *Scanner) object(depth int) bool {
	if depth > MaxDepth {
		return s.Fail(TooDeep, s.I)
	}
	s.I++
	if s.Peek() == '}' {
		s.I++
		return true
	}
	for {
		if s.Peek() != '"' {
			return s.Fail(BadSyntax, s.I)
		}
		if _, ok := s.Str(); !ok {
			return false
		}
		if !s.Colon() || !s.Value(depth) {
			return false
		}
		switch s.Peek() {
		case ',':
			s.I++
		case '}':
			s.I++
			return true
		default:
			return s.Fail(BadSyntax, s.I)
		}
	}
}

func (s *Scanner) array(depth int) bool {
	if depth > MaxDepth {
		return s.Fail(TooDeep, s.I)
	}
	s.I++
	if s.Peek() == ']' {
		s.I++
		return true
	}
	for {
		if !s.Value(depth) {
			return false
		}
		switch s.Peek() {
		case ',':
			s.I++
		case ']':
			s.I++
			return true
		default:
			return s.Fail(BadSyntax, s.I)
		}
	}
}

// Colon walks the colon behind a key.
func (s *Scanner) Colon() bool {
	if s.Peek() != ':' {
		return s.Fail(BadSyntax, s.I)
	}
	s.I++
	return true
}

func (s *Scanner) literal(want string) bool {
	if len(s.Text)-s.I < len(want) || string(s.Text[s.I:s.I+len(want)]) != want {
		return s.Fail(BadSyntax, s.I)
	}
	s.I += len(want)
	return true
}

// number walks -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *Scanner) number() bool {
	b, i := s.Text, s.I
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	i = Digits(b, i)
	if i == start || (b[start] == '0' && i > start+1) {
		return s.Fail(BadSyntax, s.I)
	}
	if i < len(b) && b[i] == '.' {
		start = i + 1
		if i = Digits(b, start); i == start {
			return s.Fail(BadSyntax, i)
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = Digits(b, start); i == start {
			return s.Fail(BadSyntax, i)
		}
	}
	s.I = i
	return true
}

// Digits returns the offset of the first byte of b from i on that is no digit.
func Digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks the bytes of w that need a closer look inside a string:
// control characters, the quote, the backslash, and all that is not ASCII. The
// lowest mark is exact; marks above it may be false because of borrows.
func special(w uint64) uint64 {
	quote := w ^ ones*'"'
	slash := w ^ ones*'\\'
	return ((w - ones*0x20) | (quote - ones) | (slash - ones) | w) & highs
}

// Str walks a string whose opening quote is at s.I and reports whether it
// contains escapes.
func (s *Scanner) Str() (escaped, ok bool) {
	b, i := s.Text, s.I+1
	for {
		for i+8 <= len(b) {
			if mask := special(binary.LittleEndian.Uint64(b[i:])); mask != 0 {
				i += bits.TrailingZeros64(mask) >> 3
				break
			}
			i += 8
		}
		if i >= len(b) {
			return escaped, s.Fail(BadSyntax, i)
		}
		switch c := b[i]; {
		case c == '"':
			s.I = i + 1
			return escaped, true
		case c == '\\':
			escaped = true
			n := escapeLen(b[i:])
			if n == 0 {
				return escaped, s.Fail(BadSyntax, i)
			}
			i += n
		case c < 0x20:
			return escaped, s.Fail(BadSyntax, i)
		case c < utf8.RuneSelf:
			i++
		default:
			_, n := utf8.DecodeRune(b[i:])
			if n == 1 {
				return escaped, s.Fail(BadUTF8, i)
			}
			i += n
		}
	}
}

// escapeLen returns the length of the escape at the start of b, 0 if it is
// none. A lone surrogate such as \ud83d is within the grammar and passes:
// JSON.stringify writes it for a string cut in the middle of a character.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if _, ok := Hex(c); !ok {
				return 0
			}
		}
		return 6
	}
	return 0
}

// Hex returns the value of a hexadecimal digit and whether c is one.
func Hex(c byte) (rune, bool) {
	switch {
	case c-'0' <= 9:
		return rune(c - '0'), true
	case c-'a' <= 5:
		return rune(c-'a') + 10, true
	case c-'A' <= 5:
		return rune(c-'A') + 10, true
	}
	return 0, false
}
