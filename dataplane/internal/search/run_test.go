// SPDX-License-Identifier: Apache-2.0

package search_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/search"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// refused is what penstock_error says of a run_tool that runs nothing.
type refused struct {
	Type, Server string
	Retryable    *bool
	CloseMatches []string `json:"close_matches"`
	Problems     []struct{ Path, Problem string }
	InputSchema  json.RawMessage
}

func refusal(t failer, raw []byte) (string, refused) {
	t.Helper()
	r := read(t, raw)
	var s struct {
		Error refused `json:"penstock_error"`
	}
	if err := json.Unmarshal(r.StructuredContent, &s); err != nil || !r.IsError || s.Error.Retryable == nil || *s.Error.Retryable {
		t.Fatalf("%v in %s", err, raw)
	}
	return r.Content[0].Text, s.Error
}

// TestOpen is G-23: which tool is meant, and what is said where none can be.
func TestOpen(t *testing.T) {
	h := publish(github()...)
	away := publish(github()...)
	away.Deny(2, []view.Key{{Kind: "tool", Name: "jira/create_issue"}})
	for _, tt := range []struct {
		name, arguments string
		h               *view.Holder
		tool, inner     string   // what is run, or
		kind, text      string   // why nothing is,
		near            []string // and what may have been meant
	}{
		{"by its name", `{"tool_name":"jira__create_issue","arguments":{"summary": "x"}}`, h, "jira__create_issue", `{"summary": "x"}`, "", "", nil},
		{"the alias", `{"tool_name":"jira__create_issue","tool_args":{"n":9007199254740993}}`, h, "jira__create_issue", `{"n":9007199254740993}`, "", "", nil},
		{"no arguments", `{"tool_name":"jira__create_issue"}`, h, "jira__create_issue", "", "", "", nil},
		{"an unambiguous bare name", `{"tool_name":"add_meeting"}`, h, "calendar__add_meeting", "", "", "", nil},
		{"a name with escapes", `{"tool_name":"add\u005fmeeting"}`, h, "calendar__add_meeting", "", "", "", nil},
		{"a bare name that one visible tool has", `{"tool_name":"create_issue","arguments":{"repo":"r","title":"t"}}`, away, "github__create_issue", `{"repo":"r","title":"t"}`, "", "", nil},
		{
			"an ambiguous bare name", `{"tool_name":"create_issue"}`, h, "", "", "UNKNOWN_TOOL",
			`There is no tool "create_issue" here for you. Did you mean one of github__create_issue, jira__create_issue? Find others with search_tools.`,
			[]string{"github__create_issue", "jira__create_issue"},
		},
		{
			"a name that is nearly right", `{"tool_name":"list_branches_of"}`, h, "", "", "UNKNOWN_TOOL",
			`There is no tool "list_branches_of" here for you. Did you mean github__list_branches? Find others with search_tools.`,
			[]string{"github__list_branches"},
		},
		{"a name like no other", `{"tool_name":"qqqqzz"}`, h, "", "", "UNKNOWN_TOOL", `There is no tool "qqqqzz" here for you. Find tools with search_tools.`, []string{}},
		{"a name that was taken away", `{"tool_name":"jira__create_issue"}`, away, "", "", "UNKNOWN_TOOL", "", nil},
		{"no tools at all", `{"tool_name":"x"}`, publish(), "", "", "UNKNOWN_TOOL", `There is no tool "x" here for you. Find tools with search_tools.`, []string{}},
		{"itself", `{"tool_name":"run_tool","arguments":{"tool_name":"x"}}`, h, "", "", "TOOL_NOT_RUNNABLE", "run_tool cannot be run with run_tool. Give the name of a tool that search_tools has found.", nil},
		{"the other one", `{"tool_name":"search_tools","arguments":{"query":"x"}}`, h, "", "", "TOOL_NOT_RUNNABLE", "search_tools cannot be run with run_tool. Give the name of a tool that search_tools has found.", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := open(t, search.Config{}).Open(caller(tt.h, wire.Latest), []byte(tt.arguments))
			if err != nil {
				t.Fatal(err)
			}
			if tt.tool != "" {
				if got.Tool == nil || got.Tool.Exposed != tt.tool || string(got.Arguments) != tt.inner || got.Refusal != nil {
					t.Errorf("got %+v, %s, %s", got.Tool, got.Arguments, got.Refusal)
				}
				return
			}
			if got.Tool != nil {
				t.Fatalf("it would run %s", got.Tool.Exposed)
			}
			text, e := refusal(t, got.Refusal)
			if e.Type != tt.kind || tt.text != "" && text != tt.text {
				t.Errorf("%s: %s", e.Type, text)
			}
			if diff := cmp.Diff(tt.near, e.CloseMatches); tt.text != "" && diff != "" {
				t.Errorf("close matches (-want +got):\n%s", diff)
			}
			if strings.Contains(text+strings.Join(e.CloseMatches, " "), "jira__create_issue") && tt.h == away && !strings.HasPrefix(text, `There is no tool "jira__create_issue" here`) {
				t.Errorf("what was taken away is named: %s", got.Refusal)
			}
		})
	}
}

// TestFit is the check of arguments (G-23): each problem with its path, and the whole schema.
func TestFit(t *testing.T) {
	const schema = `{"type":"object","properties":{"repo":{"type":"string","minLength":2,"format":"uri"},"n":{"type":"integer","maximum":9007199254740993},` +
		`"state":{"enum":["open","closed"]},"items":{"type":"array","items":{"type":"object","properties":{"the name":{"type":"string"}},"required":["id"]}}},` +
		`"required":["repo"],"additionalProperties":false}`
	draft7 := `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"at":{"type":"string","format":"date-time"}}}`
	for _, tt := range []struct {
		name, schema, arguments string
		want                    []string // "path: problem"
	}{
		{"all is well", schema, `{"repo":"ab","n":9007199254740993,"state":"open","items":[{"id":null}]}`, nil},
		{"nothing", schema, ``, []string{`$: it lacks "repo", which is required`}},
		{"two things", schema, `{"extra":1}`, []string{`$: it has "extra", which is none of its properties`, `$: it lacks "repo", which is required`}},
		{"a type", schema, `{"repo":7}`, []string{`$.repo: it is of type number, and must be string`}},
		{"a bound", schema, `{"repo":"a"}`, []string{`$.repo: minLength: got 1, want 2`}},
		{"a 64-bit number", schema, `{"repo":"ab","n":9007199254740994}`, []string{`$.n: it must be at most 9007199254740993`}},
		{"other bounds", `{"properties":{"a":{"minimum":1.5},"b":{"exclusiveMaximum":3},"c":{"exclusiveMinimum":-2}}}`, `{"a":1,"b":3,"c":-2}`, []string{
			`$.a: it must be at least 1.5`, `$.b: it must be less than 3`, `$.c: it must be more than -2`,
		}},
		{"a choice", schema, `{"repo":"ab","state":"shut"}`, []string{`$.state: value must be one of 'open', 'closed'`}},
		{"deep inside", schema, `{"repo":"ab","items":[{"id":1},{"the name":5}]}`, []string{`$.items[1]: it lacks "id", which is required`, `$.items[1]["the name"]: it is of type number, and must be string`}},
		{"a format is a note", schema, `{"repo":"no uri at all"}`, nil},
		{"a format is a note in older drafts too", draft7, `{"at":"tomorrow"}`, nil},
		{"an older draft", draft7, `{"at":1}`, []string{`$.at: it is of type number, and must be string`}},
		{"a pattern", `{"properties":{"a":{"pattern":"^x+$"}}}`, `{"a":"y"}`, []string{`$.a: 'y' does not match pattern '^x+$'`}},
		{"a pattern that RE2 does not know", `{"properties":{"a":{"pattern":"^(?!x)"}, "b":{"type":"string"}}}`, `{"a":"x","b":1}`, []string{`$.b: it is of type number, and must be string`}},
		{"a reference inside", `{"$defs":{"s":{"type":"string"}},"properties":{"a":{"$ref":"#/$defs/s"}}}`, `{"a":1}`, []string{`$.a: it is of type number, and must be string`}},
		{"a reference outside is not followed", `{"properties":{"a":{"$ref":"http://127.0.0.1:1/x.json"}}}`, `{"a":1}`, nil},
		{"a draft that is not known", `{"$schema":"https://example.com/own","type":"object","required":["a"]}`, `{}`, nil},
		{"a schema that is none", `{"type":"objekt","required":["a"]}`, `{}`, nil},
		{"a schema of another type", `7`, `{}`, nil},
		{"a schema that leads to itself is not checked", `{"allOf":[{"$ref":"#"}],"required":["a"]}`, `{}`, nil},
		{"in several steps", `{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"$ref":"#/$defs/a"}}}`, `{}`, nil},
		{"references that multiply", multiplying(15), `{}`, nil},
		{"in a part of it", `{"properties":{"x":{"$ref":"#/$defs/s0"}},` + strings.TrimPrefix(multiplying(15), `{"$ref":"#/$defs/s0",`), `{"x":1}`, nil},
		{"references that multiply a little", multiplying(2), `{}`, []string{`$: it is of type object, and must be string`}},
		{"a schema that is in itself", `{"properties":{"a":{"$ref":"#"}},"additionalProperties":false}`, `{"a":{"a":{"b":1}}}`, []string{`$.a.a: it has "b", which is none of its properties`}},
		{"nothing is allowed", `false`, `{}`, []string{`$: nothing is allowed here`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			one := tool("s", "t", `,"inputSchema":`+tt.schema)
			arguments := `{"tool_name":"s__t"}`
			if tt.arguments != "" {
				arguments = `{"tool_name":"s__t","arguments":` + tt.arguments + `}`
			}
			s := open(t, search.Config{})
			got, err := s.Open(caller(publish(one), wire.Latest), []byte(arguments))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == nil {
				if got.Tool != one {
					t.Errorf("refused: %s", got.Refusal)
				}
				return
			}
			if got.Tool != nil {
				t.Fatal("it would run")
			}
			text, e := refusal(t, got.Refusal)
			var problems []string
			lines := "The arguments do not fit the input schema of s__t, and nothing was run:\n"
			for _, p := range e.Problems {
				problems = append(problems, p.Path+": "+p.Problem)
				lines += "- " + p.Path + ": " + p.Problem + "\n"
			}
			if diff := cmp.Diff(tt.want, problems); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if e.Type != "TOOL_ARGUMENTS_INVALID" || e.Server != "s" || string(e.InputSchema) != tt.schema || text != lines+"The input schema: "+tt.schema {
				t.Errorf("refused with %s", got.Refusal)
			}
		})
	}
}

// multiplying is a schema of seven steps, each of which applies the next one so many times.
func multiplying(times int) string {
	out := `{"$ref":"#/$defs/s0","$defs":{`
	for i := range 7 {
		next := fmt.Sprintf(`{"$ref":"#/$defs/s%d"}`, i+1)
		out += fmt.Sprintf(`"s%d":{"allOf":[%s]},`, i, strings.Join(slices.Repeat([]string{next}, times), ","))
	}
	return out + `"s7":{"type":"string"}}}`
}

// TestManyProblems: a result does not grow without bounds.
func TestManyProblems(t *testing.T) {
	one := tool("s", "t", `,"inputSchema":{"additionalProperties":{"type":"string"}}`)
	var members []string
	for i := range 100 {
		members = append(members, `"a`+strings.Repeat("x", i)+`":1`)
	}
	got, err := open(t, search.Config{}).Open(caller(publish(one), wire.Latest), []byte(`{"tool_name":"t","arguments":{`+strings.Join(members, ",")+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, e := refusal(t, got.Refusal); len(e.Problems) != 20 {
		t.Errorf("%d problems", len(e.Problems))
	}
}

// TestSignature is the one line of G-20.
func TestSignature(t *testing.T) {
	var many, choices []string
	for range 200 {
		many = append(many, `"parameter_`+strings.Repeat("x", len(many))+`":{"type":"string"}`)
		choices = append(choices, `"`+strings.Repeat("c", len(choices)+1)+`"`)
	}
	for _, tt := range []struct{ name, schema, want string }{
		{"required first", `{"properties":{"state":{"enum":["open","closed"]},"repo":{"type":"string"}},"required":["repo"]}`, `repo!:string; state?:"open"|"closed"`},
		{"none", `{"type":"object"}`, ``},
		{"no schema", ``, ``},
		{"types", `{"properties":{"a":{"type":"integer"},"b":{"type":"number"},"c":{"type":"boolean"},"d":{"type":"null"},"e":{"type":"odd"},"f":{},"g":true}}`, `a?:integer; b?:number; c?:boolean; d?:null; e?:any; f?:any; g?:any`},
		{"several types", `{"properties":{"a":{"type":["string","null"]}}}`, `a?:string|null`},
		{"lists", `{"properties":{"a":{"type":"array","items":{"type":"string"}},"b":{"type":"array"},"c":{"items":{"enum":[1,2]}}}}`, `a?:string[]; b?:array; c?:(1|2)[]`},
		{"objects", `{"properties":{"a":{"type":"object","properties":{"y":{"type":"string"},"x":{"type":"integer"}},"required":["x"]},"b":{"type":"object"},"c":{"properties":{"z":{"const":null}}}}}`, `a?:{x!:integer; y?:string}; b?:object; c?:{z?:null}`},
		{"lists of objects", `{"properties":{"a":{"type":"array","items":{"type":"object","properties":{"x":{"type":["string","null"]}}}}}}`, `a?:{x?:string|null}[]`},
		{"too deep", `{"properties":{"a":{"type":"object","properties":{"a":{"type":"object","properties":{"a":{"type":"object","properties":{"a":{"type":"object","properties":{"a":{}}}}}}}}}}}`, `a?:{a?:{a?:{a?:object}}}`},
		{"unions", `{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"null"},{"type":"string"}]},"b":{"oneOf":[{"const":"x"},{"type":"array","items":{"type":"integer"}}]}}}`, `a?:string|null; b?:"x"|integer[]`},
		{"references", `{"properties":{"a":{"$ref":"#/$defs/x~1y"},"b":{"$ref":"#/definitions/none"},"c":{"$ref":"http://example.com"}},"$defs":{"x/y":{"type":"integer"}}}`, `a?:integer; b?:any; c?:any`},
		{"a reference to itself", `{"properties":{"a":{"$ref":"#/$defs/n"}},"$defs":{"n":{"$ref":"#/$defs/n"}}}`, `a?:any`},
		{"names", `{"properties":{"a b":{},"":{},"x;y":{},"a.b-c_d":{},"ä":{}}}`, `"a b"?:any; ""?:any; "x;y"?:any; a.b-c_d?:any; "ä"?:any`},
		{"line breaks", "{\"properties\":{\"a\":{\"enum\":[{\n\"x\":\r1},\"l\\n\"]}}}", `a?:{ "x": 1}|"l\n"`},
		{"long values", `{"properties":{"a":{"const":"` + strings.Repeat("v", 80) + `"}}}`, `a?:…`},
		{"a property twice is no object", `{"properties":{"a":{},"a":{}}}`, ``},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, search.Signature(tt.schema)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := search.Signature(`{"properties":{` + strings.Join(many, ",") + `}}`); len(got) > 1400 || !strings.HasSuffix(got, "; …") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if got := search.Signature(`{"properties":{"a":{"enum":[` + strings.Join(choices, ",") + `]}}}`); strings.Count(got, "|") != 16 || !strings.HasSuffix(got, "|…") {
		t.Errorf("got %s", got)
	}
	bomb := `{"properties":{"a":{"$ref":"#/$defs/l0"}},"$defs":{`
	for i := range 12 {
		next := string(rune('a' + i))
		bomb += `"l` + string(rune('0'+i)) + `":{"anyOf":[{"$ref":"#/$defs/` + next + `"}` + strings.Repeat(`,{"$ref":"#/$defs/l`+string(rune('1'+i))+`"}`, 15) + `]},`
	}
	if got := search.Signature(bomb + `"z":{}}}`); len(got) > 100_000 {
		t.Errorf("%d bytes", len(got))
	}
}
