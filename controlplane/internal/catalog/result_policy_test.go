// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// What a result policy may be (G-33, G-37): all else is refused with the path of the field, a condition with line and column, a pattern
// with the column.
func TestResultPolicyRules(t *testing.T) {
	const bad, pattern = "invalid INVALID_FIELD", "invalid RESULT_PATTERN_INVALID"
	many := func(n int) (out []string) {
		for i := range n {
			out = append(out, "t"+strconv.Itoa(i))
		}
		return out
	}
	o := newOrg(t)
	for _, tc := range []struct {
		name              string
		edit              func(p *catalog.ResultPolicy)
		want, field, text string
	}{
		{name: "the least", edit: func(*catalog.ResultPolicy) {}},
		{name: "everything", edit: func(p *catalog.ResultPolicy) {
			p.Tools, p.Servers, p.Gateways = []string{"github__*", "*"}, []string{"github"}, []string{"prod-*"}
			p.GatewayLabels, p.Mode, p.Reason, p.Disabled = map[string]string{"env": "prod"}, resource.PolicyShadow, "No.", true
			p.When, p.Mark, p.Redact = `args.n > 1 && "sre" in caller.teams`, resource.MarkRedact, []string{`sk-[A-Za-z0-9]{20,}`, `(?i)\bpassword: .+`}
		}},
		{name: "trusted", edit: func(p *catalog.ResultPolicy) { p.Mark = resource.MarkTrusted }},
		{name: "untrusted", edit: func(p *catalog.ResultPolicy) { p.Mark = resource.MarkUntrusted }},
		{name: "no mark", edit: func(p *catalog.ResultPolicy) { p.Mark = "" }, want: bad, field: "mark"},
		{name: "mark not specified", edit: func(p *catalog.ResultPolicy) { p.Mark = "RESULT_MARK_UNSPECIFIED" }, want: bad, field: "mark"},
		{name: "unknown mark", edit: func(p *catalog.ResultPolicy) { p.Mark = "STOP" }, want: bad, field: "mark"},
		{name: "unknown mode", edit: func(p *catalog.ResultPolicy) { p.Mode = "MAYBE" }, want: bad, field: "mode"},
		{name: "redact without a pattern", edit: func(p *catalog.ResultPolicy) { p.Mark = resource.MarkRedact }, want: bad, field: "redact", text: "it is empty"},
		{name: "a pattern without redact", edit: func(p *catalog.ResultPolicy) { p.Redact = []string{"x"} }, want: bad, field: "redact", text: "remove it"},
		{name: "32 patterns", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, many(32) }},
		{name: "33 patterns", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, many(33) }, want: bad, field: "redact"},
		{name: "pattern twice", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, []string{"a", "a"} }, want: bad, field: "redact[1]"},
		{name: "1,024 bytes", edit: func(p *catalog.ResultPolicy) {
			p.Mark, p.Redact = resource.MarkRedact, []string{strings.Repeat("x", 1024)}
		}},
		{name: "1,025 bytes", edit: func(p *catalog.ResultPolicy) {
			p.Mark, p.Redact = resource.MarkRedact, []string{strings.Repeat("x", 1025)}
		}, want: bad, field: "redact[0]"},
		{name: "pattern that is none", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, []string{"ok", "ab[c"} }, want: pattern, field: "redact[1]", text: "column 3: missing closing ]"},
		{name: "empty pattern", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, []string{""} }, want: pattern, field: "redact[0]", text: "empty text"},
		{name: "pattern that matches an empty text", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, []string{"a*"} }, want: pattern, field: "redact[0]", text: "empty text"},
		{name: "pattern that matches a place", edit: func(p *catalog.ResultPolicy) { p.Mark, p.Redact = resource.MarkRedact, []string{`\b`} }, want: pattern, field: "redact[0]", text: "empty text"},
		{name: "syntax", edit: func(p *catalog.ResultPolicy) { p.When = "true &&\n  args.a = 1" }, want: "invalid POLICY_CONDITION_INVALID", field: "when", text: "line 2, column 10: Syntax error"},
		{name: "long condition", edit: func(p *catalog.ResultPolicy) { p.When = strings.Repeat(" ", 8189) + "true" }, want: bad, field: "when"},
		{name: "tool with a space", edit: func(p *catalog.ResultPolicy) { p.Tools = []string{"a b"} }, want: bad, field: "tools[0]"},
		{name: "101 tools", edit: func(p *catalog.ResultPolicy) { p.Tools = many(101) }, want: bad, field: "tools"},
		{name: "empty gateway", edit: func(p *catalog.ResultPolicy) { p.Gateways = []string{""} }, want: bad, field: "gateways[0]"},
		{name: "server that is no slug", edit: func(p *catalog.ResultPolicy) { p.Servers = []string{"git*"} }, want: bad, field: "servers[0]"},
		{name: "long reason", edit: func(p *catalog.ResultPolicy) { p.Reason = strings.Repeat("x", 513) }, want: bad, field: "reason"},
		{name: "reason of two lines", edit: func(p *catalog.ResultPolicy) { p.Reason = "a\nb" }, want: bad, field: "reason"},
		{name: "name", edit: func(p *catalog.ResultPolicy) { p.Name = "No" }, want: bad, field: "name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &catalog.ResultPolicy{Meta: named("p"), Mark: resource.MarkBlock}
			tc.edit(p)
			_, err := o.Create(t.Context(), o.as("root"), p, catalog.WriteOptions{ValidateOnly: true})
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, tc.want, tc.text)
			wantField(t, err, tc.field)
		})
	}
}

// TestResultPolicyCapability is D-37: nodes that would deliver what a result policy withholds are named.
func TestResultPolicyCapability(t *testing.T) {
	o := newOrg(t)
	fleet := &lacking{}
	c := catalog.New(catalog.Config{Store: o.store, Secrets: o.vault, Nodes: fleet, Now: func() time.Time { return o.now }})
	create := func(name string) error {
		_, err := c.Create(t.Context(), o.as("root"), &catalog.ResultPolicy{Meta: named(name), Mark: resource.MarkTrusted}, catalog.WriteOptions{})
		return err
	}
	wantRefusal(t, create("early"), "")
	fleet.old = true
	err := create("new")
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "mark")
	_, err = c.Update(t.Context(), o.as("root"), &catalog.ResultPolicy{Meta: named("early"), Reason: "x"}, []string{"reason"}, catalog.WriteOptions{})
	wantRefusal(t, err, "") // it was there before
}
