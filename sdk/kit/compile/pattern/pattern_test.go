// SPDX-License-Identifier: Apache-2.0

package pattern_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile/pattern"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestCompile: what is wrong with a pattern is told with the column, and none may match an empty text anywhere.
func TestCompile(t *testing.T) {
	const empty = "column 1: the pattern may match an empty text"
	for _, tc := range []struct{ text, want string }{
		{"sk-[A-Za-z0-9]{20,}", ""},
		{"(?i)password: .+", ""},
		{"(?P<a>x)|(?P<b>y)", ""},
		{`\bfoo\b`, ""},
		{"^x$", ""},
		{"a+", ""},
		{"(?s).", ""},
		{"x{2,3}", ""},
		{`[^\x00-\x{10FFFF}]`, ""},
		{"", empty},
		{"a*", empty},
		{"a?", empty},
		{"x{0,3}", empty},
		{"(a*)(b?)", empty},
		{"a|", empty},
		{"a|b*", empty},
		{"(?:a*)+", empty},
		{"(?:a*){2}", empty},
		{`\b`, empty},
		{`\B`, empty},
		{"^", empty},
		{"(?m)^$", empty},
		{`\A\z`, empty},
		{"(", "column 1: missing closing ): \"(\""},
		{"ab(c", "column 1: missing closing ): \"ab(c\""},
		{"äb[c", "column 3: missing closing ]: \"[c\""},
		{"a**", "column 2: invalid nested repetition operator: \"**\""},
		{"x*y(?=z)", "column 4: invalid or unsupported Perl syntax: \"(?=\""},
		{`a\1`, "column 2: invalid escape sequence"},
		{"a{1001}", "column 2: invalid repeat count: \"{1001}\""},
		{"\xff", "column 1: the pattern is not UTF-8"},
	} {
		re, err := pattern.Compile(tc.text)
		if tc.want == "" {
			if err != nil || re == nil {
				t.Errorf("%q: %v", tc.text, err)
			}
			continue
		}
		if f := fault.From(err); err == nil || f.Kind != fault.Invalid || f.Reason != pattern.ReasonPattern || !strings.HasPrefix(f.Public, tc.want) {
			t.Errorf("%q: %v, want %s", tc.text, err, tc.want)
		}
	}
}
