// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/edge/mirror"
)

func TestValue(t *testing.T) {
	coded := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	for _, tt := range []struct {
		name   string
		header []string
		raw    string
		want   error
	}{
		{"both absent", nil, "", nil},
		{"null is absent", nil, "null", nil},
		{"null and a header", []string{"null"}, "null", mirror.ErrExtra},
		{"missing", nil, `"a"`, mirror.ErrMissing},
		{"extra", []string{"a"}, "", mirror.ErrExtra},
		{"repeated", []string{"a", "a"}, `"a"`, mirror.ErrRepeated},
		{"repeated and absent", []string{"a", "a"}, "", mirror.ErrRepeated},
		{"string", []string{"a b"}, `"a b"`, nil},
		{"escapes in the body", []string{"a/b"}, `"\u0061\/b"`, nil},
		{"case", []string{"A"}, `"a"`, mirror.ErrDiffers},
		{"empty string", []string{""}, `""`, nil},
		{"string that looks like a number", []string{"42.0"}, `"42"`, mirror.ErrDiffers},
		{"base64", []string{coded("größe")}, `"größe"`, nil},
		{"base64 of line breaks", []string{coded("a\nb")}, `"a\nb"`, nil},
		{"base64 of what looks like base64", []string{coded("=?base64?x?=")}, `"=?base64?x?="`, nil},
		{"what looks like base64, bare", []string{"=?base64?x?="}, `"=?base64?x?="`, mirror.ErrEncoding},
		{"only the start", []string{"=?base64?x"}, `"=?base64?x"`, nil},
		{"prefix in another case", []string{"=?BASE64?YQ==?="}, `"a"`, mirror.ErrDiffers},
		{"bad base64", []string{"=?base64?YQ?="}, `"a"`, mirror.ErrEncoding},
		{"spare bits", []string{"=?base64?YR==?="}, `"a"`, mirror.ErrEncoding},
		{"no UTF-8", []string{coded("\xff")}, `"\ufffd"`, mirror.ErrEncoding},
		{"tab", []string{"a\tb"}, `"a\tb"`, mirror.ErrEncoding},
		{"delete", []string{"a\x7f"}, "\"a\x7f\"", mirror.ErrEncoding},
		{"not ASCII", []string{"ö"}, `"ö"`, mirror.ErrEncoding},
		{"true", []string{"true"}, "true", nil},
		{"false", []string{"true"}, "false", mirror.ErrDiffers},
		{"word in another case", []string{"True"}, "true", mirror.ErrDiffers},
		{"integer", []string{"-7"}, "-7", nil},
		{"integer with a fraction of zero", []string{"42.0"}, "42", nil},
		{"integer with an exponent", []string{"42"}, "4.2e1", nil},
		{"another integer", []string{"42"}, "43", mirror.ErrDiffers},
		{"fraction", []string{"1.5"}, "1.5", mirror.ErrDiffers},
		{"largest", []string{"9007199254740991"}, "9007199254740991", nil},
		{"beyond", []string{"9007199254740992"}, "9007199254740992", mirror.ErrDiffers},
		{"huge", []string{"1e400"}, "1e400", mirror.ErrDiffers},
		{"leading zero", []string{"042"}, "42", mirror.ErrDiffers},
		{"hexadecimal", []string{"0x2a"}, "42", mirror.ErrDiffers},
		{"underscore", []string{"4_2"}, "42", mirror.ErrDiffers},
		{"no number", []string{"NaN"}, "42", mirror.ErrDiffers},
		{"empty for a number", []string{""}, "0", mirror.ErrDiffers},
		{"object", []string{"{}"}, "{}", mirror.ErrDiffers},
		{"array", []string{"[]"}, "[]", mirror.ErrDiffers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			raw := []byte(tt.raw)
			if tt.raw == "" {
				raw = nil
			}
			if err := mirror.Value(tt.header, raw); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Value(%q, %s) = %v, want %v", tt.header, tt.raw, err, tt.want)
			}
		})
	}
}

// TestParamsOnlyBelowProperties: an annotation counts only where a chain of properties keys leads.
func TestParamsOnlyBelowProperties(t *testing.T) {
	const mark = `{"type":"string","x-mcp-header":"A"}`
	for _, tt := range []struct {
		name, definition, arguments string
		want                        error
	}{
		{"direct", `{"inputSchema":{"properties":{"a":` + mark + `}}}`, `{"a":"x"}`, mirror.ErrMissing},
		{"nested", `{"inputSchema":{"properties":{"o":{"properties":{"a":` + mark + `}}}}}`, `{"o":{"a":"x"}}`, mirror.ErrMissing},
		{"nested in what is no object", `{"inputSchema":{"properties":{"o":{"properties":{"a":` + mark + `}}}}}`, `{"o":5}`, nil},
		{"no arguments", `{"inputSchema":{"properties":{"a":` + mark + `}}}`, ``, nil},
		{"a property called properties", `{"inputSchema":{"properties":{"properties":` + mark + `}}}`, `{"properties":"x"}`, mirror.ErrMissing},
		{"below items", `{"inputSchema":{"properties":{"l":{"items":{"properties":{"a":` + mark + `}}}}}}`, `{"l":[{"a":"x"}]}`, nil},
		{"below allOf", `{"inputSchema":{"allOf":[{"properties":{"a":` + mark + `}}]}}`, `{"a":"x"}`, nil},
		{"in the output schema", `{"outputSchema":{"properties":{"a":` + mark + `}},"inputSchema":{}}`, `{"a":"x"}`, nil},
		{"name that is no string", `{"inputSchema":{"properties":{"a":{"x-mcp-header":5}}}}`, `{"a":"x"}`, nil},
		{"only in a text", `{"description":"x-mcp-header","inputSchema":{"properties":{"a":{}}}}`, `{"a":"x"}`, nil},
		{"properties that are no object", `{"inputSchema":{"properties":["x-mcp-header"]}}`, `{"a":"x"}`, nil},
		{"definition that is no JSON", `{"inputSchema":{"properties":{"a":` + mark, `{"a":"x"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := mirror.Params(http.Header{}, []byte(tt.definition), []byte(tt.arguments))
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Params = %v, want %v", err, tt.want)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "Mcp-Param-A ") {
				t.Errorf("the error %q does not name the header", err)
			}
		})
	}
}
