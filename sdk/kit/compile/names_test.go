// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func tool(server, upstream string) compile.NamedTool {
	return compile.NamedTool{Server: server, Upstream: upstream}
}

func chosen(server, upstream, exposed string) compile.NamedTool {
	return compile.NamedTool{Server: server, Upstream: upstream, Exposed: exposed}
}

// The hash suffixes below are the first digits of sha256("<server>/<upstream name>"), as sha256sum prints them.
func TestNames(t *testing.T) {
	a70 := strings.Repeat("a", 70)
	for _, tc := range []struct {
		name     string
		prefix   compile.Prefix
		tools    []compile.NamedTool
		want     []string
		problems []compile.NameProblem
	}{
		{"none", compile.PrefixAlways, nil, []string{}, nil},
		{"always", compile.PrefixAlways, []compile.NamedTool{tool("everything", "get-sum")}, []string{"everything__get-sum"}, nil},
		{"always replaces other characters", compile.PrefixAlways, []compile.NamedTool{tool("git", "pr.list/öpen files")}, []string{"git__pr_list__pen_files"}, nil},
		{
			"always keeps one name apart by server", compile.PrefixAlways,
			[]compile.NamedTool{tool("a", "x"), tool("b", "x")},
			[]string{"a__x", "b__x"},
			nil,
		},
		{
			"always trims the server first", compile.PrefixAlways,
			[]compile.NamedTool{tool(strings.Repeat("s", 63), strings.Repeat("t", 40))},
			[]string{strings.Repeat("s", 22) + "__" + strings.Repeat("t", 40)},
			nil,
		},
		{
			"always keeps a tool of 61 characters", compile.PrefixAlways,
			[]compile.NamedTool{tool("server", strings.Repeat("t", 61))},
			[]string{"s__" + strings.Repeat("t", 61)},
			nil,
		},
		{
			"always cuts a tool of 62 characters", compile.PrefixAlways,
			[]compile.NamedTool{tool("server", strings.Repeat("t", 62))},
			[]string{"s__" + strings.Repeat("t", 52) + "-HASH0"},
			nil,
		},
		{
			"equal after trimming: all sides get the hash", compile.PrefixAlways,
			[]compile.NamedTool{tool("github-a", strings.Repeat("t", 55)), tool("github-b", strings.Repeat("t", 55))},
			[]string{"github-__"[:7] + "__" + strings.Repeat("t", 46) + "-HASH0", "github-__"[:7] + "__" + strings.Repeat("t", 46) + "-HASH1"},
			nil,
		},
		{
			"equal after replacing: all sides get the hash", compile.PrefixAlways,
			[]compile.NamedTool{tool("a", "x.y"), tool("a", "x/y"), tool("a", "x-y")},
			[]string{"a__x_y-HASH0", "a__x_y-HASH1", "a__x-y"},
			nil,
		},
		{"chosen name", compile.PrefixAlways, []compile.NamedTool{chosen("a", "x", "add")}, []string{"add"}, nil},
		{
			"chosen name makes way for none", compile.PrefixAlways,
			[]compile.NamedTool{chosen("a", "x", "b__y"), tool("b", "y")},
			[]string{"b__y", "b__y-HASH1"},
			nil,
		},
		{
			"two equal chosen names", compile.PrefixAlways,
			[]compile.NamedTool{chosen("a", "x", "add"), chosen("b", "y", "add")},
			[]string{"add", "add"},
			[]compile.NameProblem{{Index: 1, Name: "add", Other: 0}},
		},
		{
			"reserved names (G-26)", compile.PrefixNever,
			[]compile.NamedTool{tool("a", "search_tools"), chosen("a", "x", "run_tool")},
			[]string{"search_tools", "run_tool"},
			[]compile.NameProblem{{Index: 0, Reserved: true, Name: "search_tools"}, {Index: 1, Reserved: true, Name: "run_tool"}},
		},
		{"reserved names prefixed", compile.PrefixAlways, []compile.NamedTool{tool("a", "search_tools")}, []string{"a__search_tools"}, nil},
		{"reserved names on conflict", compile.PrefixOnConflict, []compile.NamedTool{tool("a", "run_tool")}, []string{"a__run_tool"}, nil},
		{"never", compile.PrefixNever, []compile.NamedTool{tool("a", "x.y"), tool("b", "z")}, []string{"x.y", "z"}, nil},
		{
			"never with a clash", compile.PrefixNever,
			[]compile.NamedTool{tool("a", "x"), tool("b", "x"), tool("c", "x")},
			[]string{"x", "x", "x"},
			[]compile.NameProblem{{Index: 1, Name: "x", Other: 0}, {Index: 2, Name: "x", Other: 0}},
		},
		{"never, long", compile.PrefixNever, []compile.NamedTool{tool("s", a70)}, []string{a70[:55] + "-HASH0"}, nil},
		{
			"never, characters and not bytes count", compile.PrefixNever,
			[]compile.NamedTool{tool("s", strings.Repeat("ö", 64))},
			[]string{strings.Repeat("ö", 64)},
			nil,
		},
		{
			"on conflict prefixes all sides", compile.PrefixOnConflict,
			[]compile.NamedTool{tool("a", "x"), tool("b", "x"), tool("b", "y")},
			[]string{"a__x", "b__x", "y"},
			nil,
		},
		{
			"on conflict with a chosen name", compile.PrefixOnConflict,
			[]compile.NamedTool{chosen("a", "x", "y"), tool("b", "y")},
			[]string{"y", "b__y"},
			nil,
		},
		{
			"on conflict again after prefixing", compile.PrefixOnConflict,
			[]compile.NamedTool{tool("a", "x"), tool("b", "x"), tool("c", "a__x")},
			[]string{"a__x", "b__x", "c__a__x"},
			nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, problems := compile.Names(tc.prefix, tc.tools)
			for i := range tc.want {
				tc.want[i] = strings.NewReplacer("HASH0", hash(tc.tools, 0), "HASH1", hash(tc.tools, 1)).Replace(tc.want[i])
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.problems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever the tools are: names are at most 64 characters long, unique unless a problem is reported, and the same
// whatever the order of the tools.
func TestNamesProperties(t *testing.T) {
	parts := []string{"a", "a_", "x.y", "x/y", "ü", strings.Repeat("long-", 14), strings.Repeat("long-", 13), "search_tools", "a__x", "_"}
	pick := func(r *rand.Rand) string { return parts[r.IntN(len(parts))] + parts[r.IntN(len(parts))] }
	r := rand.New(rand.NewPCG(1, 2))
	for range 3_000 {
		set := make(map[compile.NamedTool]bool)
		for range 1 + r.IntN(8) {
			set[tool("s-"+strings.Repeat("e", r.IntN(61)), pick(r))] = true
			set[tool("s", pick(r))] = true
		}
		var tools []compile.NamedTool
		for t := range set {
			tools = append(tools, t)
		}
		prefix := compile.Prefix(r.IntN(3))
		names, problems := compile.Names(prefix, tools)
		seen := make(map[string]bool)
		for i, n := range names {
			if len([]rune(n)) > compile.MaxName || n == "" {
				t.Fatalf("%v is named %q", tools[i], n)
			}
			if (seen[n] || compile.Reserved(n)) && len(problems) == 0 {
				t.Fatalf("%q is taken and no problem is reported", n)
			}
			seen[n] = true
		}
		if prefix != compile.PrefixNever && len(problems) > 0 {
			t.Fatalf("%v: %v", tools, problems)
		}
		order := r.Perm(len(tools))
		shuffled := make([]compile.NamedTool, len(tools))
		for i, j := range order {
			shuffled[i] = tools[j]
		}
		again, _ := compile.Names(prefix, shuffled)
		for i, j := range order {
			if again[i] != names[j] {
				t.Fatalf("%v is %q in one order and %q in another", shuffled[i], names[j], again[i])
			}
		}
	}
}
