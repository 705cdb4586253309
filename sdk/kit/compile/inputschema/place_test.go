// SPDX-License-Identifier: Apache-2.0

package inputschema_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
)

// TestPlace: which names a schema lists for the members of a value, wherever the value is.
func TestPlace(t *testing.T) {
	const schema = `{"$ref":"#/$defs/root","properties":{"a":{}},"not":{"properties":{"never":{}}},"if":{"properties":{"when":{}}},"$defs":{
		"root":{"properties":{"list":{"prefixItems":[{"properties":{"first":{}}}],"items":{"$ref":"#/$defs/item"}},"self":{"$ref":"#"}},
			"patternProperties":{"^x-":{"properties":{"p":{}}}},"additionalProperties":{"properties":{"rest":{}}}},
		"item":{"allOf":[{"properties":{"i":{}}},{"oneOf":[{"properties":{"j":{}}}]}]}}}`
	const old = `{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"properties":{"one":{}}}],"additionalItems":{"properties":{"more":{}}},
		"properties":{"all":{"items":{"properties":{"each":{}}}}}}`
	root, before := inputschema.Compile([]byte(schema)).Place(), inputschema.Compile([]byte(old)).Place()
	for _, tc := range []struct {
		name string
		p    inputschema.Place
		want string
	}{
		{"root", root, "a list self when"},
		{"first element", root.Member("list").Element(0), "first"},
		{"element", root.Member("list").Element(1), "i j"},
		{"reference to the whole", root.Member("self").Member("self"), "a list self when"},
		{"pattern", root.Member("x-y"), "p"},
		{"any other", root.Member("y"), "rest"},
		{"listed, without members", root.Member("a").Member("b"), ""},
		{"no list", root.Element(0), ""},
		{"draft 7, first", before.Element(0), "one"},
		{"draft 7, others", before.Element(5), "more"},
		{"draft 7, each", before.Member("all").Element(3), "each"},
		{"no schema", inputschema.Compile(nil).Place().Member("a").Element(0), ""},
	} {
		if got := strings.Join(tc.p.Names(), " "); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if !root.Has("a", "list") || root.Has("a", "b") || root.Has("A") {
		t.Error("names are not told apart")
	}
	if got := inputschema.Path([]any{"a", 0, "b c", strings.Repeat("x", 3)}); got != `$.a[0]["b c"].xxx` {
		t.Errorf("path %s", got)
	}
}
