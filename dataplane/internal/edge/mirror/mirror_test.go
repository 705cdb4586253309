// SPDX-License-Identifier: Apache-2.0

package mirror_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/penstockhq/penstock/dataplane/internal/edge/mirror"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
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

func TestParams(t *testing.T) {
	annotated := []headerschema.Header{
		{Name: "Mcp-Param-Region", Path: []string{"region"}, Type: "string"},
		{Name: "Mcp-Param-Deep", Path: []string{"o", "n"}, Type: "integer"},
	}
	for _, tt := range []struct {
		name      string
		headers   http.Header
		arguments string
		want      error
	}{
		{"both", http.Header{"Mcp-Param-Region": {"eu"}, "Mcp-Param-Deep": {"5"}}, `{"o":{"n":5},"region":"eu"}`, nil},
		{"none", http.Header{}, `{"other":1}`, nil},
		{"no arguments", http.Header{}, ``, nil},
		{"missing", http.Header{}, `{"region":"eu"}`, mirror.ErrMissing},
		{"nested in what is no object", http.Header{}, `{"o":5}`, nil},
		{"nested, missing", http.Header{}, `{"o":{"n":5}}`, mirror.ErrMissing},
		{"nested, differs", http.Header{"Mcp-Param-Deep": {"6"}}, `{"o":{"n":5}}`, mirror.ErrDiffers},
		{"without a value", http.Header{"Mcp-Param-Region": {"eu"}}, `{"region":null}`, mirror.ErrExtra},
		{"a key twice", http.Header{"Mcp-Param-Region": {"eu"}}, `{"region":"eu","region":"us"}`, mirror.ErrTwice},
		{"a key twice, without a header", http.Header{}, `{"region":"eu","region":null}`, mirror.ErrTwice},
		{"another key twice", http.Header{}, `{"x":1,"x":1}`, mirror.ErrTwice},
		{"a key twice below", http.Header{}, `{"o":{"n":null,"n":5}}`, mirror.ErrTwice},
		{"a key twice where nothing is read", http.Header{}, `{"p":{"n":5,"n":5}}`, nil},
		{"not annotated", http.Header{"Mcp-Param-Other": {"eu"}}, `{"other":"us"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := mirror.Params(tt.headers, annotated, []byte(tt.arguments))
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("Params = %v, want %v", err, tt.want)
			}
			if err != nil && !errors.Is(err, mirror.ErrTwice) && !strings.HasPrefix(err.Error(), "Mcp-Param-") {
				t.Errorf("the error %q does not name the header", err)
			}
		})
	}
}

// FuzzHeader: whatever a header holds, it is one value or none, and what a client encodes as it should is that value.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{"", "a b", "größe", "=?base64?YQ==?=", "=?base64?YQ?=", "=?base64??=", "=?base64?x", "\x00", "true", "42", "a\r\nb", "\xff", "=?base64?=?="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		raw := wire.Quote(s)
		if err := mirror.Value([]string{s}, raw); err == nil {
			for i := range len(s) {
				if s[i] < ' ' || s[i] > '~' {
					t.Fatalf("the header %q passed as it is", s)
				}
			}
		}
		coded := "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
		err := mirror.Value([]string{coded}, raw)
		if utf8.ValidString(s) != (err == nil) {
			t.Fatalf("the header %q for %q: %v", coded, s, err)
		}
		if err := mirror.Value([]string{coded}, wire.Quote(s+"x")); err == nil {
			t.Fatalf("the header %q passes for another value", coded)
		}
	})
}
