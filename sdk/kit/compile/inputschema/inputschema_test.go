// SPDX-License-Identifier: Apache-2.0

package inputschema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
)

func TestCheck(t *testing.T) {
	const schema = `{"type":"object","properties":{"n":{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":1e3},"at":{"format":"date-time"},
		"list":{"items":{"$ref":"#/$defs/one"}},"id":{"type":"integer","maximum":9007199254740993},"no":false},
		"$defs":{"one":{"properties":{"a b":{"type":["string","null"]}}}},"required":["n"],"additionalProperties":false}`
	for _, tc := range []struct{ value, want string }{
		{`{"n":1}`, ``},
		{`{"n":1,"at":"yesterday"}`, ``},
		{`{}`, `$: it lacks "n", which is required`},
		{`{"n":0}`, `$.n: it must be more than 0`},
		{`{"n":1000}`, `$.n: it must be less than 1000`},
		{`{"n":1,"x<":1}`, `$: it has "x<", which is none of its properties`},
		{`{"n":1,"` + strings.Repeat("x", 101) + `":1}`, `$: it has "` + strings.Repeat("x", 100) + `…", which is none of its properties`},
		{`{"n":1,"list":[{},{"a b":1}]}`, `$.list[1]["a b"]: it is of type number, and must be null or string`},
		{`{"n":1,"id":9007199254740994}`, `$.id: it must be at most 9007199254740993`},
		{`{"n":1,"no":1}`, `$.no: nothing is allowed here`},
		{`[`, `$: it is not JSON`},
		{`{"n":"1","no":1}`, `$.n: it is of type string, and must be integer; $.no: nothing is allowed here`},
	} {
		var got []string
		for _, p := range inputschema.Compile([]byte(schema)).Check([]byte(tc.value)) {
			got = append(got, p.Path+": "+p.Text)
		}
		if text := strings.Join(got, "; "); text != tc.want {
			t.Errorf("%s: got %s, want %s", tc.value, text, tc.want)
		}
	}
	if n := len(inputschema.Compile([]byte(`{"items":{"type":"string"}}`)).Check([]byte(`[` + strings.Repeat("1,", 40) + `1]`))); n != 20 {
		t.Errorf("%d problems", n)
	}
}

// A schema that cannot be read, leads outside of itself or has no bound is not checked.
func TestUnchecked(t *testing.T) {
	wide := `{"$ref":"#/$defs/a0","$defs":{`
	for i := range 12 {
		wide += fmt.Sprintf(`"a%d":{"allOf":[{"$ref":"#/$defs/a%d"},{"$ref":"#/$defs/a%d"}]},`, i, i+1, i+1)
	}
	for name, schema := range map[string]string{
		"none": ``, "no JSON": `{`, "no schema": `{"type":5}`, "outside": `{"$ref":"https://example.com/a"}`,
		"without end": `{"allOf":[{"$ref":"#"}]}`, "wide": wide + `"a12":{}}}`,
	} {
		raw := []byte(schema)
		if schema == "" {
			raw = nil
		}
		s := inputschema.Compile(raw)
		if s != nil || s.Check([]byte(`1`)) != nil || s.Property("a") != nil {
			t.Errorf("%s is checked", name)
		}
	}
	if inputschema.Compile([]byte(`{"properties":{"next":{"$ref":"#"}}}`)) == nil {
		t.Error("a list of itself is not checked")
	}
}

func TestProperty(t *testing.T) {
	s := inputschema.Compile([]byte(`{"properties":{"a":{"type":"string"},"b":true}}`))
	if len(s.Property("a").Check([]byte(`1`))) != 1 || s.Property("a").Check([]byte(`"x"`)) != nil || s.Property("b").Check([]byte(`1`)) != nil {
		t.Error("a property is checked by another schema")
	}
	if s.Property("c") != nil {
		t.Error("a property that is not there has a schema")
	}
}
