// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// unknownMembers are names that the protocol gives no meaning where they are put: keywords of schemas that are rare, names
// that differ in case only from known ones, and names that decoders trip over.
func unknownMembers() []string {
	return []string{"$anchor", "$dynamicRef", "allOf", "if", "x-mcp-head", "Name", "URI", "_Meta", "", "__proto__", "größe", "a\"b\\c", "\u2028", "ключ"}
}

// oddValues are values that do not survive a decoder with floating-point numbers, typed structs or sorted keys.
func oddValues() []string {
	return []string{
		"9007199254740993", "-0.0", "1E400", "1.50", "12345678901234567890123", `"\ud800"`, `"\u0000"`, `"\/"`, "[ 1 , 2 ]", "{}", "null",
		`{"$schema":"https://json-schema.org/draft/2020-12/schema","then":false,"b":1,"a":[ ],"const":1e-7}`,
	}
}

// decorated writes a JSON value in another way that means the same, and puts unknown members into its objects.
type decorated struct {
	t     *rapid.T
	plain map[string]bool // keys of objects whose members all have a meaning
	out   strings.Builder
}

func (d *decorated) space() {
	d.out.WriteString(rapid.SampledFrom([]string{"", "", "", " ", "\n", "\t", "\r\n", "  \n "}).Draw(d.t, "space"))
}

func (d *decorated) value(raw, key string) {
	switch raw[0] {
	case '{':
		d.object(raw, key)
	case '[':
		d.out.WriteByte('[')
		for i, e := range elementsOf(d.t, raw) {
			if i > 0 {
				d.out.WriteByte(',')
			}
			d.space()
			d.value(e, "")
			d.space()
		}
		d.out.WriteByte(']')
	case '"':
		var text string
		if err := json.Unmarshal([]byte(raw), &text); err != nil {
			d.t.Fatal(err)
		}
		d.str(text)
	default:
		d.out.WriteString(raw)
	}
}

func (d *decorated) object(raw, key string) {
	parts := partsOf(d.t, raw)
	if rapid.Bool().Draw(d.t, "shuffle") {
		parts = rapid.Permutation(parts).Draw(d.t, "order")
	}
	if !d.plain[key] {
		for range rapid.IntRange(0, 2).Draw(d.t, "more") {
			p := part{
				key:   rapid.SampledFrom(unknownMembers()).Draw(d.t, "member"),
				value: rapid.SampledFrom(oddValues()).Draw(d.t, "odd value"), at: -1,
			}
			if memberOf(d.t, raw, p.key) == "" && !hasKey(parts, p.key) {
				at := rapid.IntRange(0, len(parts)).Draw(d.t, "place")
				parts = append(parts[:at:at], append([]part{p}, parts[at:]...)...)
			}
		}
	}
	d.out.WriteByte('{')
	for i, p := range parts {
		if i > 0 {
			d.out.WriteByte(',')
		}
		d.space()
		d.str(p.key)
		d.space()
		d.out.WriteByte(':')
		d.space()
		switch {
		case p.at < 0 || p.key == "jsonrpc":
			d.out.WriteString(p.value)
		default:
			d.value(p.value, p.key)
		}
		d.space()
	}
	d.out.WriteByte('}')
}

func hasKey(parts []part, key string) bool {
	for _, p := range parts {
		if p.key == key {
			return true
		}
	}
	return false
}

// str writes a string, some of its characters as escapes.
func (d *decorated) str(text string) {
	escape := rapid.IntRange(0, 9).Draw(d.t, "escape") == 0
	d.out.WriteByte('"')
	for i, r := range text {
		switch {
		case r == '"' || r == '\\':
			d.out.WriteString(`\` + string(r))
		case r < ' ' || escape && i%3 == 0:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&d.out, `\u%04x`, unit)
			}
		case r == '/' && escape:
			d.out.WriteString(`\/`)
		default:
			d.out.WriteRune(r)
		}
	}
	d.out.WriteByte('"')
}

func decorate(t *rapid.T, kind, text string) string {
	d := &decorated{t: t, plain: map[string]bool{"inputRequests": true, "inputResponses": true}}
	// The members of these are questions and answers; what a gateway answers itself it reads by its own rules.
	d.plain[""] = kind == "InputRequests" || kind == "InputResponses"
	d.value(text, "")
	return d.out.String()
}

// TestAnyForm is M-8, M-9 and M-73 for what no example shows: unknown members, other orders, numbers beyond 2^53, escapes,
// white space.
func TestAnyForm(t *testing.T) {
	b, all := newBench(t), carriers()
	var carried []example
	for _, e := range examples(t) {
		if all[e.kind] != nil {
			carried = append(carried, e)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		for range 10 { // more of them for the price of one
			p, e := rapid.SampledFrom(b.pairings).Draw(t, "pairing"), rapid.SampledFrom(carried).Draw(t, "example")
			all[e.kind](t, p, decorate(t, e.kind, e.text))
		}
	})
}

// TestAnyDefinition is M-73 for definitions in any form: discovery takes the very bytes, and a list shows them.
func TestAnyDefinition(t *testing.T) {
	b := newBench(t)
	var definitions []example
	for _, e := range examples(t) {
		if e.kind == "Tool" {
			definitions = append(definitions, e)
		}
	}
	revision := uint64(1)
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom(definitions).Draw(t, "example")
		text := decorate(t, e.kind, e.text)
		p := rapid.SampledFrom(b.pairings).Draw(t, "pairing")
		p.origin.answers(func(in *inbound) {
			if in.method != "tools/list" {
				in.fault(`{"code":-32601,"message":"Method not found"}`)
				return
			}
			in.result(`{"tools":[` + text + `]}`)
		})
		version := map[bool]wire.Version{true: legacyVersion, false: modernVersion}[p.origin.legacy]
		d, err := b.node.pool.Describe(t.Context(), upstream.Target{Server: p.server(), Connection: p.server(), URL: p.origin.url, Version: version})
		if err != nil || len(d.Tools) != 1 {
			t.Fatalf("%d tools, %v", len(d.Tools), err)
		}
		same(t, "definition", text, string(d.Tools[0]))

		next := view.From(b.node.holder.Load().View)
		b.node.putServer(next, &view.Server{Name: p.server(), URL: p.origin.url, Protocol: string(version)},
			aTool(p.server(), textOf(t, text, "name"), string(d.Tools[0])))
		revision++
		b.node.holder.Publish(next.Build("e", revision))
		out := p.client.request(t, "tools/list", p.with(t, `{}`), nil)
		shown := elementsOf(t, memberOf(t, out.result, "tools"))
		if len(shown) != 1 {
			t.Fatalf("%s is shown", out.result)
		}
		named := []string{"name"}
		schema := memberOf(t, text, "outputSchema")
		if kind := memberOf(t, schema, "type"); !p.client.modern && (kind == "" || jsonText(t, kind) != "object") {
			named = append(named, "outputSchema")
		}
		sameObject(t, "definition", text, shown[0], named...)
	})
}
