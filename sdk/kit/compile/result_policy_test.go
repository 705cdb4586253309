// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/compile/condition"
	"github.com/penstockhq/penstock/sdk/kit/compile/pattern"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	trusted    = resourcev1.ResultMark_RESULT_MARK_TRUSTED
	suspect    = resourcev1.ResultMark_RESULT_MARK_UNTRUSTED
	redact     = resourcev1.ResultMark_RESULT_MARK_REDACT
	withheld   = resourcev1.ResultMark_RESULT_MARK_BLOCK
	unreadable = `args.n < "x"`
)

func resultPolicy(t testing.TB, r *resourcev1.ResultPolicy) *compile.ResultPolicy {
	t.Helper()
	if r.GetMark() == redact && r.GetRedact() == nil {
		r.Redact = []string{"x"}
	}
	p, err := compile.MakeResultPolicy(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func names(list []*compile.ResultPolicy) (out []string) {
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

// G-33: the strictest mark that matches counts, REDACT is beside it and adds up, and a condition that fails matches unless it trusts.
func TestDecideResult(t *testing.T) {
	type rules = []*resourcev1.ResultPolicy
	for _, tc := range []struct {
		name    string
		rules   rules
		partial bool
		open    bool   // what depends on what is not known blocks, too
		want    string // mark, policy, patterns of, shadows that matched, those that failed
	}{
		{name: "none", want: "TRUSTED - [] [] []"},
		{name: "trusted", rules: rules{{Name: "a", Mark: trusted}}, want: "TRUSTED a [] [] []"},
		{name: "untrusted before trusted", rules: rules{{Name: "a", Mark: trusted}, {Name: "b", Mark: suspect}}, want: "UNTRUSTED b [] [] []"},
		{name: "block before untrusted", rules: rules{{Name: "a", Mark: suspect}, {Name: "b", Mark: withheld}}, want: "BLOCK b [] [] []"},
		{name: "the first by name of the strictest", rules: rules{{Name: "b", Mark: withheld}, {Name: "a", Mark: withheld}}, want: "BLOCK a [] [] []"},
		{name: "redact adds up", rules: rules{{Name: "b", Mark: redact}, {Name: "a", Mark: redact}}, want: "TRUSTED - [a b] [] []"},
		{name: "redact beside a mark", rules: rules{{Name: "a", Mark: redact}, {Name: "b", Mark: suspect}, {Name: "c", Mark: trusted}}, want: "UNTRUSTED b [a] [] []"},
		{name: "nothing is left to redact", rules: rules{{Name: "a", Mark: redact}, {Name: "b", Mark: withheld}}, want: "BLOCK b [] [] []"},
		{name: "arguments", rules: rules{{Name: "a", Mark: withheld, When: "args.n == 1"}, {Name: "b", Mark: redact, When: "args.n == 2"}}, want: "BLOCK a [] [] []"},
		{name: "missing argument", rules: rules{{Name: "a", Mark: withheld, When: "args.m == 1"}}, want: "TRUSTED - [] [] []"},
		{name: "other tool", rules: rules{{Name: "a", Mark: withheld, Tools: []string{"db__drop"}}}, want: "TRUSTED - [] [] []"},
		{name: "other server", rules: rules{{Name: "a", Mark: withheld, Servers: []string{"web"}}}, want: "TRUSTED - [] [] []"},
		{
			name: "shadows", rules: rules{{Name: "a", Mark: withheld, Mode: shadow}, {Name: "b", Mark: redact, Mode: shadow}, {Name: "c", Mark: suspect, Mode: shadow}, {Name: "d", Mark: suspect}},
			want: "UNTRUSTED d [] [a c b] []",
		},
		{name: "failing", rules: rules{{Name: "a", Mark: withheld, When: unreadable}}, want: "BLOCK a [] [] [a]"},
		{name: "failing redaction", rules: rules{{Name: "a", Mark: redact, When: unreadable}}, want: "TRUSTED - [a] [] [a]"},
		{name: "failing doubt", rules: rules{{Name: "a", Mark: suspect, When: unreadable}}, want: "UNTRUSTED a [] [] [a]"},
		{name: "failing trust", rules: rules{{Name: "a", Mark: trusted, When: unreadable}}, want: "TRUSTED - [] [] [a]"},
		{name: "failing shadow", rules: rules{{Name: "a", Mark: withheld, Mode: shadow, When: unreadable}}, want: "TRUSTED - [] [a] [a]"},

		{name: "arguments not known, redact", partial: true, rules: rules{{Name: "a", Mark: redact, When: "args.n == 2"}}, want: "TRUSTED - [a] [] []"},
		{name: "arguments not known, untrusted", partial: true, rules: rules{{Name: "a", Mark: suspect, When: "args.n == 2"}}, want: "UNTRUSTED a [] [] []"},
		{name: "arguments not known, trusted", partial: true, rules: rules{{Name: "a", Mark: trusted, When: "args.n == 1"}}, want: "TRUSTED - [] [] []"},
		{name: "arguments not known, block", partial: true, rules: rules{{Name: "a", Mark: withheld, When: "args.n == 1"}}, want: "TRUSTED - [] [] []"},
		{name: "arguments not known, block open", partial: true, open: true, rules: rules{{Name: "a", Mark: withheld, When: "args.n == 2"}}, want: "BLOCK a [] [] []"},
		{name: "arguments do not matter", partial: true, open: true, rules: rules{{Name: "a", Mark: withheld, When: `args.n == 2 && "sre" in caller.teams`}}, want: "TRUSTED - [] [] []"},
		{name: "nor here", partial: true, rules: rules{{Name: "a", Mark: withheld, When: `args.n == 2 || "eng" in caller.teams`}}, want: "BLOCK a [] [] []"},
		{name: "a missing argument is not known either", partial: true, rules: rules{{Name: "a", Mark: suspect, When: "has(args.m)"}}, want: "UNTRUSTED a [] [] []"},
		{name: "name of the tool not known", partial: true, rules: rules{{Name: "a", Mark: suspect, When: `tool.name == "drop"`}}, want: "UNTRUSTED a [] [] []"},
		{name: "annotations not known", partial: true, rules: rules{{Name: "a", Mark: suspect, When: "tool.annotations.readOnlyHint == true"}}, want: "UNTRUSTED a [] [] []"},
		{name: "what is known of a call that is not", partial: true, rules: rules{{Name: "a", Mark: suspect, When: `tool.server == "web"`}}, want: "TRUSTED - [] [] []"},
		{name: "failing with all it needs known", partial: true, rules: rules{{Name: "a", Mark: withheld, When: `caller.teams[7] == "x" || gateway.labels["x"].matches(caller.email)`}}, want: "TRUSTED - [] [] []"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var list []*compile.ResultPolicy
			for _, r := range tc.rules {
				list = append(list, resultPolicy(t, r))
			}
			slices.SortFunc(list, compile.CompareResultPolicies)
			f := condition.Facts{
				Server: "db", Tool: "query", Definition: bytes.NewBufferString(`{"annotations":{}}`),
				Arguments: []byte(`{"n":1}`), Teams: []string{"eng"}, Partial: tc.partial,
			}
			var failed []string
			d := compile.DecideResult(list, &f, compile.ResultScope{
				Covers: func(p *compile.ResultPolicy) bool { return p.Covers("db", "query") }, BlockOpen: func(*compile.ResultPolicy) bool { return tc.open },
			}, func(p *compile.ResultPolicy, err error) {
				if !errors.Is(err, condition.ErrFailed) {
					t.Error(err)
				}
				failed = append(failed, p.Name)
			})
			who := "-"
			if d.Policy != nil {
				who = d.Policy.Name
			}
			if got := fmt.Sprint(d.Mark, " ", who, " ", names(d.Redact), " ", names(d.Would), " ", failed); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
			if idle := d.Policy == nil && len(d.Redact)+len(d.Would) == 0; d.Idle() != idle {
				t.Errorf("Idle = %t", d.Idle())
			}
		})
	}
}

func TestMakeResultPolicyRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, reason, text string
		r                  *resourcev1.ResultPolicy
	}{
		{"no mark", "UNKNOWN_RESULT_POLICY", "update the node", &resourcev1.ResultPolicy{}},
		{"newer mark", "UNKNOWN_RESULT_POLICY", "update the node", &resourcev1.ResultPolicy{Mark: 99}},
		{"newer mode", "UNKNOWN_RESULT_POLICY", "update the node", &resourcev1.ResultPolicy{Mark: withheld, Mode: 99}},
		{"redaction of something else", "UNKNOWN_RESULT_POLICY", "update the node", &resourcev1.ResultPolicy{Mark: redact}},
		{"condition", condition.ReasonCondition, "line 2, column 1:", &resourcev1.ResultPolicy{Mark: withheld, When: "true &&\nfoo"}},
		{"pattern", pattern.ReasonPattern, "column 2:", &resourcev1.ResultPolicy{Mark: redact, Redact: []string{"ok", "a[b"}}},
		{"empty pattern", pattern.ReasonPattern, "empty text", &resourcev1.ResultPolicy{Mark: redact, Redact: []string{"a*"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := compile.MakeResultPolicy(tc.r)
			if f := fault.From(err); err == nil || f.Kind != fault.Invalid || f.Reason != tc.reason || !strings.Contains(f.Public, tc.text) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A result policy that a node cannot read and has no earlier form of blocks what it covers; one that trusts or decides nothing is left
// out.
func TestClosedResult(t *testing.T) {
	for _, r := range []*resourcev1.ResultPolicy{{Mark: trusted, When: "foo"}, {Mark: withheld, When: "foo", Mode: shadow}} {
		if p := compile.ClosedResult(r); p != nil {
			t.Errorf("%v: got %v", r, p)
		}
	}
	p := compile.ClosedResult(&resourcev1.ResultPolicy{Name: "a", Mark: 99, Mode: 99, When: "foo", Tools: []string{"db__*"}, Gateways: []string{"eng"}})
	if p.Mark != compile.MarkBlock || p.Shadow || !p.Covers("db", "query") || p.Covers("web", "get") || p.On(&compile.Gateway{Name: "ops"}) || !p.On(&compile.Gateway{Name: "eng"}) {
		t.Errorf("got %v", p)
	}
}

func TestResultPolicyCoversServer(t *testing.T) {
	for _, tc := range []struct {
		r    *resourcev1.ResultPolicy
		want bool
	}{
		{&resourcev1.ResultPolicy{}, true},
		{&resourcev1.ResultPolicy{Servers: []string{"db"}}, true},
		{&resourcev1.ResultPolicy{Servers: []string{"web"}}, false},
		{&resourcev1.ResultPolicy{Tools: []string{"db__*"}}, false},
		{&resourcev1.ResultPolicy{Servers: []string{"db"}, Tools: []string{"*"}}, false},
	} {
		tc.r.Mark = suspect
		if got := resultPolicy(t, tc.r).CoversServer("db"); got != tc.want {
			t.Errorf("%v: %t", tc.r, got)
		}
	}
}
