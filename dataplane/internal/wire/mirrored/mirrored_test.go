// SPDX-License-Identifier: Apache-2.0

package mirrored

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"get_weather": "get_weather", "": "", "a b": "a b", " a": "=?base64?IGE=?=", "a\n": "=?base64?YQo=?=",
		"ü": "=?base64?w7w=?=", "=?base64?x?=": "=?base64?PT9iYXNlNjQ/eD89?=", "a\x7f": "=?base64?YX8=?=",
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestAppend: M-25, M-63.
func TestAppend(t *testing.T) {
	marked := func(name string) string { return `{"properties":{"a":{"x-mcp-header":` + name + `}}}` }
	many := `{"properties":{`
	values := `{`
	for i := range 100 {
		many += fmt.Sprintf(`"p%d":{"x-mcp-header":"H%d"},`, i, i)
		values += fmt.Sprintf(`"p%d":%d,`, i, i)
	}
	many, values = strings.TrimSuffix(many, ",")+"}}", strings.TrimSuffix(values, ",")+"}"
	deep := strings.Repeat(`{"properties":{"a":`, 100) + `{"x-mcp-header":"X"}` + strings.Repeat("}}", 100)
	tests := []struct {
		name, schema, arguments string
		want                    []Field
	}{
		{"text", marked(`"X"`), `{"a":"v"}`, []Field{{"Mcp-Param-X", "v"}}},
		{"escapes", marked(`"X"`), `{"a":"\u00fc"}`, []Field{{"Mcp-Param-X", "=?base64?w7w=?="}}},
		{"empty text", marked(`"X"`), `{"a":""}`, []Field{{"Mcp-Param-X", ""}}},
		{"false", marked(`"X"`), `{"a":false}`, []Field{{"Mcp-Param-X", "false"}}},
		{"integers", marked(`"X"`), `{"a":-9007199254740993}`, []Field{{"Mcp-Param-X", "-9007199254740993"}}},
		{"integers with an exponent", marked(`"X"`), `{"a":1.5e1}`, []Field{{"Mcp-Param-X", "15"}}},
		{"fractions stay", marked(`"X"`), `{"a":1.5}`, []Field{{"Mcp-Param-X", "1.5"}}},
		{"null", marked(`"X"`), `{"a":null}`, nil},
		{"absent", marked(`"X"`), `{}`, nil},
		{"object", marked(`"X"`), `{"a":{}}`, nil},
		{"array", marked(`"X"`), `{"a":[1]}`, nil},
		{"no arguments", marked(`"X"`), ``, nil},
		{"a name that is no token", marked(`"X: y\r\n"`), `{"a":1}`, nil},
		{"an empty name", marked(`""`), `{"a":1}`, nil},
		{"a name that is no text", marked(`5`), `{"a":1}`, nil},
		{"inside", `{"properties":{"o":` + marked(`"X"`) + `}}`, `{"o":{"a":1}}`, []Field{{"Mcp-Param-X", "1"}}},
		{"only by properties", `{"allOf":[` + marked(`"X"`) + `]}`, `{"a":1}`, nil},
		{"no schema", `[]`, `{"a":1}`, nil},
		{"broken schema", `{"properties":{"a":"x-mcp-header"}}`, `{"a":1}`, nil},
		{"too deep", deep, strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Append(nil, []byte(tt.schema), []byte(tt.arguments))); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
	if got := Append(nil, []byte(many), []byte(values)); len(got) != maxFields {
		t.Errorf("%d fields of 100", len(got))
	}
}
