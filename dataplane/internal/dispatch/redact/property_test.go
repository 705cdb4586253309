// SPDX-License-Identifier: Apache-2.0

package redact_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/dataplane/internal/dispatch/redact"
)

// value draws a JSON value whose texts are of few letters, so that they match often, also across signs.
func value(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		text := rapid.StringMatching(`[abc\]" é\\]{0,12}`)
		kinds := 4
		if depth == 0 {
			kinds = 2
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return rapid.IntRange(0, 9).Draw(t, "number")
		case 1:
			return text.Draw(t, "text")
		case 2:
			return rapid.SliceOfN(value(depth-1), 0, 3).Draw(t, "list")
		default:
			name := rapid.OneOf(text, rapid.SampledFrom([]string{"content", "structuredContent", "_meta", "text", "data", "resource", "annotations", "x"}))
			return rapid.MapOfN(name, value(depth-1), 0, 3).Draw(t, "object")
		}
	})
}

// texts calls fn for every string value, and reports what it went through.
func texts(v any, fn func(string)) {
	switch v := v.(type) {
	case string:
		fn(v)
	case []any:
		for _, e := range v {
			texts(e, fn)
		}
	case map[string]any:
		for _, e := range v {
			texts(e, fn)
		}
	}
}

// size counts the values, which redaction leaves as many as there were.
func size(v any) int {
	n := 1
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += size(e)
		}
	case map[string]any:
		for _, e := range v {
			n += size(e)
		}
	}
	return n
}

// TestNothingIsLeft: whatever a server answers, no string value of what is delivered matches but in the signs themselves, it is JSON of
// the same shape, and where nothing matched it is the same bytes.
func TestNothingIsLeft(t *testing.T) {
	all := []string{"ab", "a+", `b|\bc`, "^b", "c$", `[ab]c`, "é", `\]b`, `(?i)A.?B`, `"`}
	rapid.Check(t, func(t *rapid.T) {
		raw, err := json.Marshal(rapid.MapOfN(rapid.SampledFrom([]string{"content", "structuredContent", "_meta", "contents", "abc", "isError"}), value(3), 0, 4).Draw(t, "result"))
		if err != nil {
			t.Fatal(err)
		}
		var used []*regexp.Regexp
		for _, text := range rapid.SliceOfNDistinct(rapid.SampledFrom(all), 1, 4, rapid.ID[string]).Draw(t, "patterns") {
			used = append(used, regexp.MustCompile(text))
		}
		got, err := redact.New(used, clock).Result(raw, false)
		if err != nil {
			t.Fatal(err)
		}
		var before, after any
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		if size(before) != size(after) {
			t.Fatalf("%s has another shape than %s", got, raw)
		}
		matched := false
		texts(before, func(s string) {
			for _, p := range used {
				matched = matched || p.MatchString(s)
			}
		})
		texts(after, func(s string) {
			for _, p := range used {
				for _, at := range p.FindAllStringIndex(s, -1) {
					if left := left(s, at); left != "" {
						t.Fatalf("%v leaves %q in %q of %s", p, left, s, raw)
					}
				}
			}
		})
		if !matched && !strings.Contains(string(got), "[redacted]") && string(got) != string(raw) {
			t.Fatalf("%s became %s", raw, got)
		}
	})
}

// left returns what a match holds besides signs.
func left(s string, at []int) string {
	var out []byte
	for i := at[0]; i < at[1]; i++ {
		if !inSign(s, i) {
			out = append(out, s[i])
		}
	}
	return string(out)
}

func inSign(s string, i int) bool {
	const sign = "[redacted]"
	for from := max(i-len(sign)+1, 0); from <= i; from++ {
		if strings.HasPrefix(s[from:], sign) {
			return true
		}
	}
	return false
}
