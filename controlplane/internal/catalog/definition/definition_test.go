// SPDX-License-Identifier: Apache-2.0

package definition_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/definition"
)

// Which spellings are one definition, and which are two (G-16).
func TestHash(t *testing.T) {
	const base = `{"name":"a","inputSchema":{"type":"object","minimum":1},"x":["1",2]}`
	for _, tc := range []struct {
		name, raw string
		same      bool
	}{
		{"itself", base, true},
		{"white space", " {\n\"name\" : \"a\", \"inputSchema\":{\"type\":\"object\",\t\"minimum\":1},\"x\":[\"1\", 2]} ", true},
		{"order of members", `{"x":["1",2],"inputSchema":{"minimum":1,"type":"object"},"name":"a"}`, true},
		{"escapes", `{"name":"\u0061","inputSchema":{"type":"object","minimum":1},"x":["1",2]}`, true},
		{"order of elements", `{"name":"a","inputSchema":{"type":"object","minimum":1},"x":[2,"1"]}`, false},
		{"another number", `{"name":"a","inputSchema":{"type":"object","minimum":2},"x":["1",2]}`, false},
		{"another spelling of a number", `{"name":"a","inputSchema":{"type":"object","minimum":1.0},"x":["1",2]}`, false},
		{"a text for a number", `{"name":"a","inputSchema":{"type":"object","minimum":1},"x":["1","2"]}`, false},
		{"one more member", `{"name":"a","inputSchema":{"type":"object","minimum":1},"x":["1",2],"y":null}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want, err := definition.Parse([]byte(base))
			if err != nil {
				t.Fatal(err)
			}
			got, err := definition.Parse([]byte(tc.raw))
			if err != nil {
				t.Fatal(err)
			}
			if (got.Hash == want.Hash) != tc.same {
				t.Errorf("same %v; want %v", got.Hash == want.Hash, tc.same)
			}
			if string(got.Raw) != tc.raw || len(got.Hash) != 64 {
				t.Errorf("raw %q, hash %q", got.Raw, got.Hash)
			}
		})
	}
	// Integers beyond 2^53 keep their digits.
	one, _ := definition.Parse([]byte(`{"name":"a","n":9007199254740993}`))
	two, _ := definition.Parse([]byte(`{"name":"a","n":9007199254740992}`))
	if one.Hash == two.Hash {
		t.Error("two large numbers are one")
	}
}

func TestRetryable(t *testing.T) {
	for annotations, want := range map[string]bool{
		`{}`: false, `{"readOnlyHint":true}`: true, `{"idempotentHint":true}`: true, `{"readOnlyHint":false,"idempotentHint":false}`: false,
		`{"readOnlyHint":"true"}`: false, `{"READONLYHINT":true}`: false, `[]`: false, `null`: false, `{"destructiveHint":true}`: false,
	} {
		d, err := definition.Parse(fmt.Appendf(nil, `{"name":"a","annotations":%s}`, annotations))
		if err != nil || d.Retryable != want {
			t.Errorf("%s: %v, %v", annotations, d.Retryable, err)
		}
	}
}

func TestParseRefused(t *testing.T) {
	for name, tc := range map[string]struct{ raw, want string }{
		"no JSON":     {"name", "not a JSON object"},
		"array":       {"[]", "not a JSON object"},
		"null":        {"null", "not a JSON object"},
		"cut":         {`{"name":"a"`, "not a JSON object"},
		"trailing":    {`{"name":"a"}]`, "follows"},
		"no name":     {`{}`, "no name"},
		"number":      {`{"name":1}`, "no name"},
		"other case":  {`{"Name":"a"}`, "no name"},
		"long name":   {`{"name":"` + strings.Repeat("a", 257) + `"}`, "256"},
		"unprintable": {`{"name":"a\u0000"}`, "printed"},
		"deep":        {`{"name":"a","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}", "128 deep"},
		"large":       {`{"name":"a","x":"` + strings.Repeat("a", 10<<20) + `"}`, "10 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := definition.Parse([]byte(tc.raw)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v; want %q", err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"name":"a","inputSchema":{"type":"object"}}`))
	f.Add([]byte(`{"name":"a","name":"b"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := definition.Parse(raw)
		if err == nil && (d.Name == "" || len(d.Hash) != 64) {
			t.Fatalf("%q gave %+v", raw, d)
		}
	})
}
