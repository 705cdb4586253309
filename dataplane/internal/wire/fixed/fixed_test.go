// SPDX-License-Identifier: Apache-2.0

package fixed_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/fixed"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func list() []compile.FixedArgument {
	return []compile.FixedArgument{{Name: "a", Value: []byte(`"dev"`)}, {Name: "ö", Value: []byte(`{"x":[1]}`)}}
}

// tool has these, and an argument that its server tells from one of them.
func tool() *compile.Tool {
	return &compile.Tool{Fixed: list(), Body: definition(`{"inputSchema":{"properties":{"a":{},"-A":{},"b":{}}}}`)}
}

type definition string

func (d definition) Bytes() []byte { return []byte(d) }

func (d definition) Len() int { return len(d) }

const both = `"a":"dev","ö":{"x":[1]}`

// What a caller sends under a fixed name goes, however it is written; every other byte stays (M-9).
func TestRequest(t *testing.T) {
	for _, tc := range []struct{ name, arguments, want string }{
		{"none", ``, `"arguments":{` + both + `},`},
		{"empty", `"arguments":{},`, `"arguments":{` + both + `},`},
		{"empty with space", `"arguments": { } ,`, `"arguments": { ` + both + `} ,`},
		{"others", `"arguments":{"b": 1.0, "c":"\u0061"},`, `"arguments":{"b": 1.0, "c":"\u0061",` + both + `},`},
		{"replaced", `"arguments":{"a":"prod"},`, `"arguments":{` + both + `},`},
		{"first of several", `"arguments":{"a":"prod","b":1},`, `"arguments":{"b":1,` + both + `},`},
		{"in the middle", `"arguments":{"c":2, "a" : {"a":"prod"} , "b":1},`, `"arguments":{"c":2, "b":1,` + both + `},`},
		{"last", "\"arguments\":{\"b\":1,\n\"a\":\"prod\"\n},", "\"arguments\":{\"b\":1\n," + both + "},"},
		{"twice", `"arguments":{"a":1,"b":1,"a":2},`, `"arguments":{"b":1,` + both + `},`},
		{"escaped", `"arguments":{"\u0061":1,"\u00f6":2,"b":1,"\u00F6":3},`, `"arguments":{"b":1,` + both + `},`},
		{"all of them", `"arguments":{"a":1,"ö":2},`, `"arguments":{` + both + `},`},
		{"a name inside of another argument stays", `"arguments":{"b":{"a":"prod"}},`, `"arguments":{"b":{"a":"prod"},` + both + `},`},
		{"another letter case", `"arguments":{"A":"prod","b":1,"\u00d6":2,"_a_":3},`, `"arguments":{"b":1,` + both + `},`},
		{"all in another letter case", `"arguments":{"A":"prod"},`, `"arguments":{` + both + `},`},
		{"an argument of the server's own stays", `"arguments":{"-A":"prod","-a":1},`, `"arguments":{"-A":"prod",` + both + `},`},
		{"others twice stay as they are", `"arguments":{"b":1,"b":2},`, `"arguments":{"b":1,"b":2,` + both + `},`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const head, tail = `{"jsonrpc":"2.0", "id":1,"method":"tools/call","params":{`, `"name":"t","_meta":{"k":1}}}`
			body := []byte(head + tc.arguments + tail)
			m := new(wire.Message)
			if err := wire.Scan(body, m); err != nil {
				t.Fatal(err)
			}
			got, err := fixed.Request(body, m, tool())
			if err != nil || string(got) != head+tc.want+tail {
				t.Errorf("got  %s, %v\nwant %s", got, err, head+tc.want+tail)
			}
			if err := wire.Scan(got, m); err != nil {
				t.Errorf("what comes out is no request: %v", err)
			}
			again, err := fixed.Request(got, m, tool())
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("done twice: %s, %v", again, err)
			}
		})
	}
}

func TestHide(t *testing.T) {
	for _, tc := range []struct{ name, definition, want string }{
		{"no schema", `{"name":"t"}`, `{"name":"t"}`},
		{"no properties", `{"inputSchema":{"type":"object"}}`, `{"inputSchema":{"type":"object"}}`},
		{"not there", `{"inputSchema": {"properties":{ "b":{} },"required":["b"]}}`, `{"inputSchema": {"properties":{ "b":{} },"required":["b"]}}`},
		{
			"hidden, all else stays", `{"name":"a", "inputSchema":{"properties":{"a":{"type":"string"}, "b":{"properties":{"a":{}},"required":["a"]}},"required":["b", "a" ,"c"],"x":1.0},"outputSchema":{"properties":{"a":{}},"required":["a"]}}`,
			`{"name":"a", "inputSchema":{"properties":{"b":{"properties":{"a":{}},"required":["a"]}},"required":["b","c"],"x":1.0},"outputSchema":{"properties":{"a":{}},"required":["a"]}}`,
		},
		{"escaped", `{"inputSchema":{"properties":{"\u0061":{},"b":{},"\u00f6":{}},"required":["\u0061","b"]}}`, `{"inputSchema":{"properties":{"b":{}},"required":["b"]}}`},
		{"the last property", `{"inputSchema":{"type":"object","properties":{"a":{}},"required":["a"]}}`, `{"inputSchema":{"type":"object","properties":{}}}`},
		{"keys twice", `{"inputSchema":{"properties":{"a":{}},"properties":{"a":{},"b":{}}},"inputSchema":{"properties":{"a":{}}}}`, `{"inputSchema":{"properties":{},"properties":{"b":{}}},"inputSchema":{"properties":{}}}`},
		{"required that is no list", `{"inputSchema":{"properties":{"a":{}},"required":true}}`, `{"inputSchema":{"properties":{},"required":true}}`},
		{"an empty list", `{"inputSchema":{"required":[ ]}}`, `{"inputSchema":{"required":[ ]}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := fixed.Hide([]byte(tc.definition), list())
			if err != nil || string(got) != tc.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
	if _, err := fixed.Hide([]byte(`{"inputSchema":`), list()); err == nil {
		t.Error("half a definition passes")
	}
}

// FuzzIn: whatever a caller sends, a reader that takes the last of several values, and one that does not tell upper from lower case,
// read the fixed ones; and what has another name is what it was.
func FuzzIn(f *testing.F) {
	for _, s := range []string{`{}`, ` {"a":1}`, `{"a":1,"A":2,"b":[{}]}`, `{"\u0061":1,"ö":{},"a" : "\u0061" ,"b":1e3}`, `[]`, `{"a":}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, arguments []byte) {
		got, err := fixed.In(bytes.TrimSpace(arguments), tool())
		if err != nil {
			if _, broken := wire.Members(nil, arguments); broken == nil {
				t.Fatalf("%q is refused: %v", arguments, err)
			}
			return
		}
		if len(bytes.TrimSpace(arguments)) > 0 && !wire.Valid(arguments) {
			return
		}
		var before, after map[string]any
		if err := json.Unmarshal(got, &after); err != nil {
			t.Fatalf("%q became %q: %v", arguments, got, err)
		}
		var folded struct{ A json.RawMessage }
		if err := json.Unmarshal(got, &folded); err != nil || string(folded.A) != `"dev"` {
			t.Fatalf("%q is read as %q: %v", got, folded.A, err)
		}
		_ = json.Unmarshal(arguments, &before) // no object: nothing was there before
		for _, one := range list() {
			var want any
			if err := json.Unmarshal(one.Value, &want); err != nil || !reflect.DeepEqual(after[one.Name], want) {
				t.Fatalf("%q has %v under %s", got, after[one.Name], one.Name)
			}
			delete(before, one.Name)
			delete(after, one.Name)
		}
		maps.DeleteFunc(before, func(name string, _ any) bool { return tool().Fixes([]byte(name)) })
		if len(before)+len(after) > 0 && !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", arguments, got)
		}
		if n := strings.Count(string(got), `"a":"dev"`); n < 1 {
			t.Fatalf("%q has %d", got, n)
		}
	})
}
