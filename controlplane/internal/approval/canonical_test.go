// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestCanonical: the examples of RFC 8785, and what its numbers leave out.
func TestCanonical(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", ` { } `, `{}`},
		{
			"RFC 8785, section 3.2.2", `{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001], "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}`,
			`{"literals":[null,true,false],"numbers":[33333333333333329e-8,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		},
		{
			"RFC 8785, section 3.2.3", `{"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One", "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}`,
			"{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		},
		{"spellings of a number", `{"a":[1,1.0,10e-1,0.1e1,100E-2]}`, `{"a":[1,1,1,1,1]}`},
		{"zero", `{"a":[0,-0,0.0,0e5,-0e-99999999999999999999]}`, `{"a":[0,0,0,0,0]}`},
		{
			"the bounds of plain numbers", `{"a":[1e21,999999999999999900000,1e-6,1e-7,-1.5e300,5e-324,1.7976931348623157e308]}`,
			`{"a":[1e+21,999999999999999900000,0.000001,1e-7,-1.5e+300,5e-324,1.7976931348623157e+308]}`,
		},
		{"integers that a double does not hold", `{"a":[9007199254740992,9007199254740993,-9007199254740993]}`, `{"a":[9007199254740992,9007199254740993e0,-9007199254740993e0]}`},
		{"beyond doubles", `{"a":[1e400,2e-400]}`, `{"a":[1e400,2e-400]}`},
		{"order of members, at every depth", `{"b":{"d":1,"c":[{"z":1,"y":2}]},"a":1}`, `{"a":1,"b":{"c":[{"y":2,"z":1}],"d":1}}`},
	} {
		got, err := canonicalize([]byte(tc.in))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: got %s, %v; want %s", tc.name, got, err, tc.want)
		}
	}
}

// TestSumRefuses: what readers may understand differently has no hash, and what is said of it quotes nothing.
func TestSumRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"a list":                 `[]`,
		"a text":                 `"secret"`,
		"no JSON":                `{"a":`,
		"two values":             `{} {}`,
		"white space":            ` `,
		"a name twice":           `{"a":{"x":"secret","x":1}}`,
		"a name twice, escaped":  `{"a":1,"\u0061":2}`,
		"invalid UTF-8":          "{\"a\":\"\xff\"}",
		"a number beyond all":    `{"a":1e99999999999}`,
		"too deep":               `{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
		"a number that is none":  `{"a":01}`,
		"something follows":      `{}x`,
		"a byte order mark":      "\ufeff{}",
		"a control in a string":  "{\"a\":\"\n\"}",
		"a comma too many":       `{"a":1,}`,
		"a name without a value": `{"a"}`,
	} {
		_, err := Sum([]byte(in))
		if f := fault.From(err); f == nil || f.Kind != fault.Invalid || f.Reason != ReasonArguments || strings.Contains(f.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	none, err := Sum(nil)
	empty, _ := Sum([]byte("{}"))
	if err != nil || none != empty {
		t.Errorf("no arguments: %x, %v", none, err)
	}
}
