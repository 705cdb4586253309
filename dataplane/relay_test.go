// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// example is one of the messages, or parts of messages, that the specification publishes.
type example struct{ kind, name, text string }

func examples(t prober) (out []example) {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/examples_2026-07-28.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		kind, name, _ := strings.Cut(f.Name, "/")
		out = append(out, example{kind, strings.TrimSuffix(name, ".json"), strings.TrimSpace(string(f.Data))})
	}
	return out
}

// pairing is a client of one era in front of a server of one era.
type pairing struct {
	name   string
	origin *origin
	client *consumer
	named  *consumer // at the gateway where URIs carry the server's name

	gateway string // of client; empty for that of the server's name
}

func (p *pairing) server() string {
	if p.origin.legacy {
		return "legacy"
	}
	return "modern"
}

// bench is a node with a server of each era behind it.
type bench struct {
	node     *relayed
	pairings []*pairing
}

// newBench describes the servers as discovery does, so that what lists show has come through the node as well.
func newBench(t *testing.T) *bench {
	t.Helper()
	n := newRelayed(t, new(net.Dialer).DialContext)
	web := httptest.NewServer(n.edge)
	t.Cleanup(web.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	all, b, origins := examples(t), view.From(nil), []*origin{newOrigin(t, false), newOrigin(t, true)}
	for _, o := range origins {
		p := &pairing{origin: o}
		s := &view.Server{Name: p.server(), URL: o.url, Protocol: modernVersion}
		if o.legacy {
			s.Protocol = legacyVersion
		}
		o.answers(func(in *inbound) { in.result(definitions(t, all, in.method)) })
		d, err := n.pool.Describe(t.Context(), upstream.Target{Server: s.Name, Connection: s.Name, URL: o.url, Version: wire.Version(s.Protocol)})
		if err != nil {
			t.Fatal(err)
		}
		var tools []*view.Tool
		for _, raw := range d.Tools {
			tools = append(tools, aTool(s.Name, textOf(t, string(raw), "name"), string(raw)))
		}
		for _, raw := range d.Prompts {
			s.Prompts = append(s.Prompts, compile.Listed{Name: textOf(t, string(raw), "name"), Body: raw})
		}
		for _, raw := range d.Templates {
			s.Templates = append(s.Templates, compile.Listed{Name: textOf(t, string(raw), "uriTemplate"), Body: raw})
		}
		n.putServer(b, s, tools...)
	}
	n.holder.Publish(b.Build("e", 1))
	out := &bench{node: n}
	for _, o := range origins {
		for _, modern := range []bool{true, false} {
			p := &pairing{origin: o}
			p.client = newConsumer(t, client, web.URL, p.server(), modern)
			p.named = newConsumer(t, client, web.URL, p.server()+"-named", modern)
			p.name = map[bool]string{true: "modern", false: "legacy"}[modern] + " to " + p.server()
			out.pairings = append(out.pairings, p)
		}
	}
	return out
}

// textOf decodes a member that is a string.
func textOf(t prober, raw, key string) (text string) {
	t.Helper()
	if err := json.Unmarshal([]byte(memberOf(t, raw, key)), &text); err != nil {
		t.Fatalf("%s of %s: %v", key, raw, err)
	}
	return text
}

// listed is what the servers have, by the method that lists it: the examples, each under a name of its own, and the names
// that requests among the examples use.
func listed(t prober, all []example, method string) (out []string) {
	t.Helper()
	add := func(raw, key string) {
		name := textOf(t, raw, key)
		if slices.ContainsFunc(out, func(other string) bool { return textOf(t, other, key) == name }) {
			renamed, _ := json.Marshal(fmt.Sprint(name, len(out)))
			raw = strings.Replace(raw, memberOf(t, raw, key), string(renamed), 1)
		}
		out = append(out, raw)
	}
	for _, e := range all {
		switch {
		case method == "tools/list" && e.kind == "Tool":
			add(e.text, "name")
		case method == "tools/list" && strings.HasPrefix(e.kind, "CallToolRequest"):
			add(`{"name":"`+textOf(t, paramsOf(t, e.text), "name")+`","inputSchema":{"type":"object"}}`, "name")
		}
		for kind, l := range map[string][2]string{
			"ListToolsResult": {"tools/list", "tools"}, "ListPromptsResult": {"prompts/list", "prompts"},
			"ListResourceTemplatesResult": {"resources/templates/list", "resourceTemplates"},
		} {
			if e.kind == kind && l[0] == method {
				key := map[string]string{"resourceTemplates": "uriTemplate"}[l[1]]
				if key == "" {
					key = "name"
				}
				for _, raw := range elementsOf(t, memberOf(t, e.text, l[1])) {
					add(raw, key)
				}
			}
		}
	}
	return out
}

// definitions is the server's answer to a list request.
func definitions(t prober, all []example, method string) string {
	t.Helper()
	member := map[string]string{
		"tools/list": "tools", "prompts/list": "prompts", "resources/templates/list": "resourceTemplates", "resources/list": "resources",
	}[method]
	return `{"resultType":"complete","` + member + `":[` + strings.Join(listed(t, all, method), " ,\n") + `],"ttlMs":0,"cacheScope":"public"}`
}

// paramsOf returns the params of a request, or the text itself if it is params.
func paramsOf(t prober, text string) string {
	t.Helper()
	if params := memberOf(t, text, "params"); params != "" {
		return params
	}
	return text
}

// TestDefinitions is M-73: what lists show is what the server gave at discovery, but for names and what older clients get.
func TestDefinitions(t *testing.T) {
	b, all := newBench(t), examples(t)
	for _, p := range b.pairings {
		for method, member := range map[string]string{
			"tools/list": "tools", "prompts/list": "prompts", "resources/templates/list": "resourceTemplates",
		} {
			t.Run(p.name+"/"+member, func(t *testing.T) {
				got := map[string]string{}
				key := map[string]string{"tools": "name", "prompts": "name", "resourceTemplates": "uriTemplate"}[member]
				out := p.client.request(t, method, p.with(t, `{}`), nil)
				for _, raw := range elementsOf(t, memberOf(t, out.result, member)) {
					got[strings.TrimPrefix(textOf(t, raw, key), p.server()+compile.Separator)] = raw
				}
				want := listed(t, all, method)
				if len(got) != len(want) || len(want) == 0 {
					t.Fatalf("%d are listed, want %d: %s", len(got), len(want), out.fault)
				}
				for _, raw := range want {
					named := []string{key}
					if schema := memberOf(t, raw, "outputSchema"); !p.client.modern && memberOf(t, schema, "type") != `"object"` {
						named = append(named, "outputSchema")
					}
					sameObject(t, "definition", raw, got[textOf(t, raw, key)], named...)
				}
			})
		}
	}
}

// with adds to params what a request of the client's era must have in _meta, in front of what is there.
func (p *pairing) with(t prober, params string, more ...string) string {
	t.Helper()
	var meta, rest []string
	if p.client.modern {
		meta = append(meta, reserved)
	}
	meta = append(meta, more...)
	for _, x := range partsOf(t, params) {
		if x.key != "_meta" {
			rest = append(rest, x.text)
			continue
		}
		for _, inner := range partsOf(t, x.value) {
			if !perHop(inner.key) {
				meta = append(meta, inner.text)
			}
		}
	}
	if len(meta) > 0 {
		rest = append([]string{`"_meta" : {` + strings.Join(meta, ", ") + `}`}, rest...)
	}
	return "{\n  " + strings.Join(rest, ",\n  ") + "\n}"
}
