// SPDX-License-Identifier: Apache-2.0

package grammar

import (
	"strings"
	"testing"
)

// TestValue: where a walk ends, or what it finds wrong and at which byte.
func TestValue(t *testing.T) {
	tests := []struct {
		text string
		end  int
		bad  Problem
		at   int
	}{
		{`null,`, 4, Fine, 0},
		{` true`, 5, Fine, 0},
		{`-0.5e+7]`, 7, Fine, 0},
		{`0123`, 0, BadSyntax, 0},
		{`1.`, 0, BadSyntax, 2},
		{`1e`, 0, BadSyntax, 2},
		{`-`, 0, BadSyntax, 0},
		{`"abcdefgh\u00e9ü"x`, 18, Fine, 0},
		{`"abcdefgh` + "\xc3" + `"`, 0, BadUTF8, 9},
		{`"abcdefghijk`, 0, BadSyntax, 12},
		{`"a\q"`, 0, BadSyntax, 2},
		{`{"a":[1,{}] , "a":2}`, 20, Fine, 0},
		{`{"a" 1}`, 0, BadSyntax, 5},
		{`{a:1}`, 0, BadSyntax, 1},
		{`[1 2]`, 0, BadSyntax, 3},
		{`[1,]`, 0, BadSyntax, 3},
		{`nul`, 0, BadSyntax, 0},
		{strings.Repeat("[", 257), 0, TooDeep, 256},
		{strings.Repeat(`{"a":`, 257), 0, TooDeep, 256 * 5},
	}
	for _, tt := range tests {
		s := Scanner{Text: []byte(tt.text)}
		ok := s.Value(0)
		if ok != (tt.bad == Fine) || s.Bad != tt.bad || s.At != tt.at || ok && s.I != tt.end {
			t.Errorf("%.30q: %v at %d, end %d; want %v at %d, end %d", tt.text, s.Bad, s.At, s.I, tt.bad, tt.at, tt.end)
		}
	}
}

// TestSpecial: every byte at every place of a word is seen, and no other.
func TestSpecial(t *testing.T) {
	for c := range 256 {
		want := c < 0x20 || c == '"' || c == '\\' || c >= 0x80
		for at := range 8 {
			word := uint64(0x6161616161616161)&^(0xff<<(8*at)) | uint64(c)<<(8*at)
			if got := special(word) != 0; got != want {
				t.Errorf("byte %#x at %d: %v", c, at, got)
			}
		}
	}
}
