// SPDX-License-Identifier: Apache-2.0

package spelling_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/compile/inputschema"
	"github.com/penstockhq/penstock/sdk/kit/compile/spelling"
)

func TestAlike(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"env", "env", true},
		{"env", "Env", true},
		{"env", "ENV", true},
		{"env", "envs", false},
		{"env", "en", false},
		{"", "env", false},
		{"", "", true},
		{"kind", "\u212aind", true},
		{"status", "\u017ftatus", true},
		{"straße", "STRASSE", false}, // full case folding, which encoding/json does not do
		{"größe", "GRÖßE", true},
		{"\u03c3", "\u03c2", true}, // sigma, and the one at the end of words
		{"user_id", "userId", true},
		{"user_id", "USER-ID", true},
		{"userid", "__user__id__", true},
		{"user_id", "user.id", false},
		{"é", "e\u0301", false}, // one by normalisation only
		{"env", "\uff45nv", false},
		{"i", "\u0130", false},
	} {
		if spelling.Alike(tc.a, tc.b) != tc.want || spelling.Alike([]byte(tc.b), tc.a) != tc.want {
			t.Errorf("%q and %q: %t", tc.a, tc.b, !tc.want)
		}
		// Where names have no "_" and "-", it is what servers do that fold.
		if !strings.ContainsAny(tc.a+tc.b, "_-") && strings.EqualFold(tc.a, tc.b) != tc.want {
			t.Errorf("%q and %q are not so to strings.EqualFold", tc.a, tc.b)
		}
	}
}

// schema has what the server tells apart: two names at the top, two in the elements of a list.
const schema = `{"type":"object","properties":{
	"env":{"type":"string"},"tag":{},"Tag":{},"Path":{},
	"items":{"type":"array","items":{"$ref":"#/$defs/item"}},"any":{"anyOf":[{"properties":{"key":{}}},{"properties":{"Key":{}}}]}},
	"$defs":{"item":{"properties":{"name":{},"NAME":{}}}}}`

func TestCheck(t *testing.T) {
	names := &spelling.Names{Top: []string{"env", "tag", "items", "path", "both", "Both"}, Inner: []string{"name", "key"}}
	all := &spelling.Names{Top: []string{"env"}, All: true}
	for _, tc := range []struct {
		name  string
		names *spelling.Names
		args  string
		want  string // path and text; empty for none
	}{
		{"as it is read", names, `{"env":"prod","items":[{"name":"a"}]}`, ""},
		{"others", names, `{"text":"Env","environment":{"ENVS":1}}`, ""},
		{"letter case", names, `{"Env":"prod"}`, `$: it has "Env", which a server may take for "env"; write "env"`},
		{"both", names, `{"env":"dev","ENV":"prod"}`, `$: it has "ENV", which a server may take for "env"; write "env"`},
		{"escaped", names, `{"\u0045nv":"prod"}`, `$: it has "Env", which a server may take for "env"; write "env"`},
		{"escaped, as it is read", names, `{"\u0065nv":"prod"}`, ""},
		{"Kelvin and long s", names, `{"items":[{"\u212aey":1}]}`, `$.items[0]: it has "` + "\u212a" + `ey", which a server may take for "key"; write "key"`},
		{"below", names, `{"x":{"y z":[1,{"Name":"a"}]}}`, `$.x["y z"][1]: it has "Name", which a server may take for "name"; write "name"`},
		{"a member of the arguments, elsewhere", names, `{"x":{"ENV":"prod"}}`, ""},
		{"in the schema too", names, `{"Tag":1,"tag":2}`, ""},
		{"in the schema too, another", names, `{"TAG":1}`, `$: it has "TAG", which a server may take for "tag"; write "tag"`},
		{"in the schema below", names, `{"items":[{"NAME":"a"}]}`, ""},
		{"in the schema elsewhere", names, `{"NAME":"a"}`, `$: it has "NAME", which a server may take for "name"; write "name"`},
		{"in a part of the schema", names, `{"any":{"Key":1}}`, ""},
		{"in the schema alone", names, `{"Path":"a"}`, ""},
		{"in the schema alone, in a third way", names, `{"PATH":"a"}`, `$: it has "PATH", which a server may take for "path"; write "path"`},
		{"read in both ways", names, `{"Both":1}`, ""},
		{"no object", names, `["Env"]`, ""},
		{"no JSON", names, `{"Env":`, ""},
		{"none", names, ``, ""},

		{"all: of the schema", all, `{"tag":1,"Tag":1,"Path":1,"free":{"A":1}}`, ""},
		{"all: like one of the schema", all, `{"items":[{"na_me":1}]}`, `$.items[0]: it has "na_me", which a server may take for "NAME"; write "NAME"`},
		{"all: two alike", all, `{"free":{"a":1,"b":2,"A":3}}`, `$.free: it has both "a" and "A", which a server may take for one; leave one out`},
		{"all: those that are known", all, `{"ENV":1}`, `$: it has "ENV", which a server may take for "env"; write "env"`},
		{"nothing is read", nil, `{"Env":1}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doubt := tc.names.Doubtful([]byte(tc.args))
			p, found := tc.names.Check([]byte(tc.args), inputschema.Compile([]byte(schema)))
			got := ""
			if found {
				got = p.Path + ": " + p.Text
			}
			if got != tc.want || found && !doubt {
				t.Errorf("got %q, doubtful %t; want %q", got, doubt, tc.want)
			}
		})
	}
	if _, found := names.Check([]byte(`{"Tag":1}`), nil); !found {
		t.Error("without a schema, names are told apart")
	}
}

// The quick look costs nothing where there is nothing to look for.
func TestDoubtfulAllocates(t *testing.T) {
	names := &spelling.Names{Top: []string{"env"}, Inner: []string{"name"}}
	args := []byte(`{"env":"prod","größe":1,"items":[{"name":"a","value":{"x":[1,2,"\"name\":"]}}]}`)
	if n := testing.AllocsPerRun(100, func() {
		if names.Doubtful(args) {
			t.Fatal("there is a doubt")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzCheck: the quick look misses nothing that the check finds; and no reader that folds case reads something that the condition does
// not, of what passes.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"env":1}`, `{"Env":1}`, `{"\u0045nv":1}`, `{"a":{"name":"\\","NAME":[]}}`, `{"a" : "b" , "E_nv":1}`, `[`, `{"a":"\`, `{"":{"-":1}}`} {
		f.Add([]byte(s))
	}
	names := &spelling.Names{Top: []string{"env"}, Inner: []string{"name"}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		doubt := names.Doubtful(raw)
		p, found := names.Check(raw, nil)
		if found && !doubt {
			t.Fatalf("%q: %v is not doubtful", raw, p)
		}
		var exact map[string]json.RawMessage
		var folded struct{ Env json.RawMessage }
		if found || !json.Valid(raw) || json.Unmarshal(raw, &exact) != nil || json.Unmarshal(raw, &folded) != nil {
			return
		}
		if string(folded.Env) != string(exact["env"]) {
			t.Fatalf("%q is read as %s", raw, folded.Env)
		}
	})
}

func BenchmarkDoubtful(b *testing.B) {
	names := &spelling.Names{Top: []string{"environment"}}
	args := []byte(`{"environment":"prod","query":"SELECT 1","limit":10}`)
	b.ReportAllocs()
	for b.Loop() {
		if names.Doubtful(args) {
			b.Fatal("there is a doubt")
		}
	}
}
