// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"math"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// The form of a tool with fixed arguments is made once, for each gateway by itself; one that cannot be read keeps its earlier form,
// and shows nothing where there is none.
func TestFixedArguments(t *testing.T) {
	holder := view.NewHolder()
	c := New(holder, nil)
	s := newState(t)
	const definition = `{"name":"push","inputSchema":{"properties":{"repo":{},"n":{}},"required":["repo","n"]}}`
	s.gateway("eng", nil)
	s.gateway("ops", nil)
	s.tool("git", "push", definition)
	fix := func(values map[string]any) func(*resourcev1.ToolAssignment) {
		return func(a *resourcev1.ToolAssignment) {
			var err error
			if a.FixedArguments, err = structpb.NewStruct(values); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := s.assign("eng", "git/push", fix(map[string]any{"repo": "<pen>", "n": 1e21, "deep": map[string]any{"a": []any{nil, true, 0.5, -3}}}))
	s.assign("ops", "git/push", nil)
	form := func(gateway string) string {
		tool := holder.Load().Tool(holder.Load().Gateway(gateway), "git__push")
		if tool == nil {
			return "nothing"
		}
		out := string(tool.Body.Bytes()) + " of " + string(tool.Whole())
		for _, f := range tool.Fixed {
			out += fmt.Sprintf(" %s=%s", f.Name, f.Value)
		}
		return out
	}
	check := func(step, gateway, want string) {
		t.Helper()
		if got := form(gateway); got != want {
			t.Errorf("%s: %s has %s, want %s", step, gateway, got, want)
		}
	}
	const fixed = `{"name":"push","inputSchema":{"properties":{}}} of ` + definition + ` deep={"a":[null,true,0.5,-3]} n=1e+21 repo="<pen>"`
	if rejects := c.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	check("full", "eng", fixed)
	check("full", "ops", definition+" of "+definition)
	tool := holder.Load().Gateway("eng").Tools[0]
	s.assign("ops", "git/push", fix(map[string]any{"n": math.Inf(1)}))
	rejects := c.Apply(t.Context(), s, append(s.drop(), k, s.assign("ops", "git/push", fix(map[string]any{"n": math.Inf(1)}))), false)
	if got := fmt.Sprint(rejectNames(rejects)); got != "[assignment ops/git/push BAD_FIXED_ARGUMENT]" {
		t.Errorf("rejected %s", got)
	}
	check("not a number", "ops", definition+" of "+definition)
	check("touched", "eng", fixed)
	if again := holder.Load().Gateway("eng").Tools[0]; again == tool {
		t.Error("a tool that was touched is not made anew")
	}
	check("fresh, not a number", "ops", definition+" of "+definition)
	c = New(view.NewHolder(), nil)
	holder = c.holder
	c.Apply(t.Context(), s, nil, false)
	check("nothing before", "ops", "nothing")
	s.assign("eng", "git/push", fix(map[string]any{}))
	c.Apply(t.Context(), s, nil, false)
	check("none any more", "eng", definition+" of "+definition)
}
