// SPDX-License-Identifier: Apache-2.0

package headerschema_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
)

// TestOfSchema is M-64: which annotations are valid, and where.
func TestOfSchema(t *testing.T) {
	const mark = `{"type":"string","x-mcp-header":"A"}`
	header := func(name, kind string, path ...string) headerschema.Header {
		return headerschema.Header{Name: name, Path: path, Type: kind}
	}
	for _, tt := range []struct {
		name, schema string
		want         []headerschema.Header
		err          error
	}{
		{"none", `{"type":"object","properties":{"a":{"type":"string"}}}`, nil, nil},
		{"one", `{"properties":{"a":` + mark + `}}`, []headerschema.Header{header("Mcp-Param-A", "string", "a")}, nil},
		{
			"several, nested", `{"properties":{"n":{"type":"integer","x-mcp-header":"tenant-ID"},"o":{"type":"object","properties":{"b":{"x-mcp-header":"B","type":"boolean"},"p":{"properties":{"a":` + mark + `}}}}}}`,
			[]headerschema.Header{header("Mcp-Param-Tenant-Id", "integer", "n"), header("Mcp-Param-B", "boolean", "o", "b"), header("Mcp-Param-A", "string", "o", "p", "a")},
			nil,
		},
		{"a property called properties", `{"properties":{"properties":` + mark + `}}`, []headerschema.Header{header("Mcp-Param-A", "string", "properties")}, nil},
		{"a property called x-mcp-header", `{"properties":{"x-mcp-header":{"type":"number"}}}`, nil, nil},
		{"in what is data", `{"default":` + mark + `,"examples":[` + mark + `],"const":` + mark + `,"enum":[` + mark + `],"x-other":` + mark + `}`, nil, nil},
		{"all token characters", `{"properties":{"a":{"type":"string","x-mcp-header":"a!#$%&'*+-.^_` + "`" + `|~9"}}}`, []headerschema.Header{header("Mcp-Param-A!#$%&'*+-.^_`|~9", "string", "a")}, nil},
		{"empty name", `{"properties":{"a":{"type":"string","x-mcp-header":""}}}`, nil, headerschema.ErrName},
		{"space in the name", `{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}`, nil, headerschema.ErrName},
		{"line break in the name", `{"properties":{"a":{"type":"string","x-mcp-header":"a\r\nb"}}}`, nil, headerschema.ErrName},
		{"colon in the name", `{"properties":{"a":{"type":"string","x-mcp-header":"a:"}}}`, nil, headerschema.ErrName},
		{"name not ASCII", `{"properties":{"a":{"type":"string","x-mcp-header":"ä"}}}`, nil, headerschema.ErrName},
		{"name no string", `{"properties":{"a":{"type":"string","x-mcp-header":5}}}`, nil, headerschema.ErrName},
		{"the same name in another case", `{"properties":{"a":` + mark + `,"b":{"type":"string","x-mcp-header":"a"}}}`, nil, headerschema.ErrRepeated},
		{"number", `{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}`, nil, headerschema.ErrType},
		{"object", `{"properties":{"a":{"type":"object","x-mcp-header":"A"}}}`, nil, headerschema.ErrType},
		{"several types", `{"properties":{"a":{"type":["string","null"],"x-mcp-header":"A"}}}`, nil, headerschema.ErrType},
		{"no type", `{"properties":{"a":{"x-mcp-header":"A"}}}`, nil, headerschema.ErrType},
		{"the root", `{"type":"object","x-mcp-header":"A"}`, nil, headerschema.ErrType},
		{"below items", `{"properties":{"l":{"items":{"properties":{"a":` + mark + `}}}}}`, nil, headerschema.ErrUnreachable},
		{"below an array of items", `{"properties":{"l":{"items":[` + mark + `]}}}`, nil, headerschema.ErrUnreachable},
		{"below prefixItems", `{"properties":{"l":{"prefixItems":[` + mark + `]}}}`, nil, headerschema.ErrUnreachable},
		{"below allOf", `{"allOf":[{"properties":{"a":` + mark + `}}]}`, nil, headerschema.ErrUnreachable},
		{"below then", `{"then":{"properties":{"a":` + mark + `}}}`, nil, headerschema.ErrUnreachable},
		{"below not", `{"properties":{"a":{"not":` + mark + `}}}`, nil, headerschema.ErrUnreachable},
		{"below additionalProperties", `{"additionalProperties":` + mark + `}`, nil, headerschema.ErrUnreachable},
		{"below patternProperties", `{"patternProperties":{".":` + mark + `}}`, nil, headerschema.ErrUnreachable},
		{"in $defs", `{"$defs":{"d":` + mark + `},"properties":{"a":{"$ref":"#/$defs/d"}}}`, nil, headerschema.ErrUnreachable},
		{"properties that are no object", `{"properties":["x-mcp-header"]}`, nil, nil},
		{"no object", `true`, nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := headerschema.OfTool([]byte(`{"name":"t","inputSchema":` + tt.schema + `}`))
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfToolReadsTheInputSchemaOnly(t *testing.T) {
	const mark = `{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}`
	for _, definition := range []string{
		`{"outputSchema":` + mark + `,"inputSchema":{}}`, `{"description":"x-mcp-header","inputSchema":{}}`, `{"outputSchema":` + mark + `}`,
		`{"inputSchema":` + mark, `[]`, ``,
	} {
		if got, err := headerschema.OfTool([]byte(definition)); len(got) != 0 || err != nil {
			t.Errorf("OfTool(%s) = %v, %v", definition, got, err)
		}
	}
	deep := strings.Repeat(`{"properties":{"a":`, 300) + `{"x-mcp-header":5}` + strings.Repeat(`}}`, 300)
	if _, err := headerschema.OfSchema([]byte(deep)); err != nil {
		t.Errorf("a schema deeper than any message: %v", err)
	}
}

func TestValue(t *testing.T) {
	h := headerschema.Header{Path: []string{"o", "a"}}
	for arguments, want := range map[string]string{
		`{"o":{"a":"x"}}`: `"x"`, `{"o":{"a":null}}`: `null`, `{"o":{}}`: ``, `{"o":5}`: ``, `{}`: ``, ``: ``, `[]`: ``, `{"a":1}`: ``,
		`{"o":{"a":1,"a":2}}`: ``,
	} {
		if got := string(h.Value([]byte(arguments))); got != want {
			t.Errorf("Value(%s) = %s, want %s", arguments, got, want)
		}
	}
}

type key struct{ definition string }

// TestCache: a definition is read once for each key, by whomever, and forgotten with it.
func TestCache(t *testing.T) {
	var c headerschema.Cache[key]
	asked := 0
	var mu sync.Mutex
	of := func(k *key) ([]headerschema.Header, error) {
		return c.Of(k, func() []byte {
			mu.Lock()
			defer mu.Unlock()
			asked++
			return []byte(k.definition)
		})
	}
	use := func() {
		good := &key{`{"inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}`}
		bad := &key{`{"inputSchema":{"properties":{"a":{"x-mcp-header":"A"}}}}`}
		for range 3 {
			if got, err := of(good); err != nil || len(got) != 1 {
				t.Errorf("%v, %v", got, err)
			}
			if _, err := of(bad); !errors.Is(err, headerschema.ErrType) {
				t.Errorf("%v", err)
			}
		}
	}
	use()
	if asked != 2 {
		t.Errorf("%d definitions were read for 2 keys", asked)
	}
	for end := time.Now().Add(10 * time.Second); headerschema.Len(&c) > 0; runtime.GC() {
		if time.Now().After(end) {
			t.Fatalf("%d entries are left of keys that are gone", headerschema.Len(&c))
		}
	}
}

// TestCacheTogether: many at once agree.
func TestCacheTogether(t *testing.T) {
	var c headerschema.Cache[key]
	k := &key{`{"inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}}`}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 100 {
				if got, err := c.Of(k, func() []byte { return []byte(k.definition) }); err != nil || len(got) != 1 {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	all.Wait()
	runtime.KeepAlive(k)
}
