// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// Fixed arguments are arguments that the tool has, with values that it takes; what is wrong is said with its path.
func TestFixedArguments(t *testing.T) {
	o := newOrg(t)
	o.standard()
	o.create(server("git"), connection("git", "git", everybody()))
	o.discover("git",
		`{"name":"push","inputSchema":{"type":"object","properties":{
			"repo":{"type":"string","pattern":"^[a-z]+$"},"n":{"type":"integer","maximum":5},"labels":{"type":"array","items":{"type":"string"}},
			"deep":{"type":"object","properties":{"a":{"$ref":"#/$defs/a"}}},"any":{}},"$defs":{"a":{"type":"boolean"}},"required":["repo"]}}`,
		`{"name":"outside","inputSchema":{"type":"object","properties":{"a":{"$ref":"https://example.com/a"}}}}`,
		`{"name":"bare","inputSchema":{"type":"object"}}`,
	)
	const bad, unknown, misfit = "invalid INVALID_FIELD", "invalid UNKNOWN_ARGUMENT", "invalid ARGUMENT_DOES_NOT_FIT"
	for _, tc := range []struct{ name, tool, fixed, want, field, text string }{
		{"none", "git/push", `{}`, "", "", ""},
		{"text", "git/push", `{"repo":"penstock"}`, "", "", ""},
		{"several", "git/push", `{"repo":"penstock","n":5,"labels":["a"],"deep":{"a":true},"any":null}`, "", "", ""},
		{"a schema that leads outside is not checked", "git/outside", `{"a":1}`, "", "", ""},
		{"unknown", "git/push", `{"Repo":"penstock"}`, unknown, "fixed_arguments.Repo", `has no argument "Repo" in its input schema; see: penstock describe tool git/push`},
		{"unknown to a tool without any", "git/bare", `{"repo":"penstock"}`, unknown, "fixed_arguments.repo", "has no argument"},
		{"unknown, outside", "git/outside", `{"b":1}`, unknown, "fixed_arguments.b", "has no argument"},
		{"type", "git/push", `{"repo":5}`, misfit, "fixed_arguments.repo", "$: it is of type number, and must be string"},
		{"pattern", "git/push", `{"repo":"A"}`, misfit, "fixed_arguments.repo", "$: "},
		{"too much", "git/push", `{"n":6}`, misfit, "fixed_arguments.n", "$: it must be at most 5"},
		{"an element", "git/push", `{"labels":["a",1]}`, misfit, "fixed_arguments.labels", "$[1]: it is of type number, and must be string"},
		{"deep, behind a reference", "git/push", `{"deep":{"a":1}}`, misfit, "fixed_arguments.deep", "$.a: it is of type number, and must be boolean"},
		{"no object", "git/push", `[1]`, bad, "fixed_arguments", "they are no object"},
		{"too large", "git/push", `{"any":"` + strings.Repeat("x", 16<<10) + `"}`, bad, "fixed_arguments", "more than 16 KiB"},
		{"too deep", "git/push", `{"any":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + `}`, bad, "fixed_arguments.any", "more than 16 deep"},
		{"not exact", "git/push", `{"any":{"a":[9007199254740993]}}`, bad, "fixed_arguments.any", "2^53"},
		{"not printable", "git/push", `{"a\u0000":1}`, bad, "fixed_arguments.a\x00", "printable"},
		{"nameless", "git/push", `{"":1}`, bad, "fixed_arguments.", "printable"},
		{"too many", "git/push", many(65), bad, "fixed_arguments", "65"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := pin(tc.tool, "git")
			a.FixedArguments = json.RawMessage(tc.fixed)
			_, err := o.Create(t.Context(), o.as("root"), gateway("gw", seenBy(), a), catalog.WriteOptions{ValidateOnly: true})
			wantRefusal(t, err, tc.want, tc.text)
			if tc.want != "" {
				wantField(t, err, "tools["+tc.tool+"]."+tc.field)
			}
		})
	}
}

func many(n int) string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = fmt.Sprintf(`"a%d":1`, i)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// An assignment that stays as it is is not checked again when its tool has changed, and an empty object is none.
func TestFixedArgumentsStay(t *testing.T) {
	o := newOrg(t)
	o.create(server("git"), connection("git", "git", everybody()))
	o.discover("git", `{"name":"push","inputSchema":{"type":"object","properties":{"repo":{"type":"string"}}}}`, tool("pull"))
	a, empty := pin("git/push", "git"), pin("git/pull", "git")
	a.FixedArguments, empty.FixedArguments = json.RawMessage(`{"repo":"penstock"}`), json.RawMessage(`{}`)
	o.create(gateway("gw", seenBy(), a, empty))
	for _, got := range get[*catalog.Gateway](o, catalog.KindGateway, "gw").Tools {
		want := map[string]string{"git/push": `{"repo":"penstock"}`}[got.Tool]
		if string(got.FixedArguments) != want {
			t.Errorf("%s has %s, want %s", got.Tool, got.FixedArguments, want)
		}
	}
	o.discover("git", `{"name":"push","inputSchema":{"type":"object"}}`, tool("pull"))
	if _, err := o.AcceptTool(t.Context(), o.as("root"), "git/push", get[*catalog.Tool](o, catalog.KindTool, "git/push").PendingBodyHash, catalog.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := o.Update(t.Context(), o.as("root"), &catalog.Gateway{Meta: named("gw"), DisplayName: "Git"}, []string{"display_name"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
	a.FixedArguments = json.RawMessage(`{"repo":"other"}`)
	_, err = o.Update(t.Context(), o.as("root"), gateway("gw", seenBy(), a), []string{"tools"}, catalog.WriteOptions{})
	wantRefusal(t, err, "invalid UNKNOWN_ARGUMENT")
}

// TestFixedArgumentsCapability is D-37: nodes that would let the caller choose are named, unless it was so before.
func TestFixedArgumentsCapability(t *testing.T) {
	o := newOrg(t)
	o.create(server("git"), connection("git", "git", everybody()))
	o.discover("git", `{"name":"push","inputSchema":{"type":"object","properties":{"repo":{"type":"string"}}}}`)
	fleet := &lacking{}
	c := catalog.New(catalog.Config{Store: o.store, Secrets: o.vault, Nodes: fleet, Now: func() time.Time { return o.now }})
	with := func(name, repo string) *catalog.Gateway {
		a := pin("git/push", "git")
		a.FixedArguments = json.RawMessage(`{"repo":"` + repo + `"}`)
		return gateway(name, seenBy(), a)
	}
	create := func(g *catalog.Gateway) error {
		_, err := c.Create(t.Context(), o.as("root"), g, catalog.WriteOptions{})
		return err
	}
	wantRefusal(t, create(with("early", "a")), "")
	fleet.old = true
	err := create(with("new", "a"))
	wantRefusal(t, err, "precondition NODE_LACKS_CAPABILITY", "node-old")
	wantField(t, err, "tools[git/push].fixed_arguments")
	_, err = c.Update(t.Context(), o.as("root"), with("early", "b"), []string{"tools"}, catalog.WriteOptions{})
	wantRefusal(t, err, "")
}
