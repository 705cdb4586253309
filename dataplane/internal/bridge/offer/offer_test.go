// SPDX-License-Identifier: Apache-2.0

package offer_test

import (
	"fmt"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/bridge/offer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

const (
	legacy = wire.V20251125
	modern = wire.V20260728
)

// TestOf is M-59, M-60 and M-85: what the client declared, as it wrote it, less what may not or cannot be asked.
func TestOf(t *testing.T) {
	every := compile.Questions{Sampling: true, Elicitation: true, Roots: true}
	allowed := []string{compile.ExtensionUI, compile.ExtensionTasks}
	tests := []struct {
		name, declared string
		client         wire.Version
		upstream       wire.Era
		questions      compile.Questions
		shared         bool
		want           string
	}{
		{"nothing", ``, modern, wire.Modern, every, false, ``},
		{"empty", `{}`, modern, wire.Modern, every, false, ``},
		{"no object", `[1]`, modern, wire.Modern, every, false, ``},
		{"a member twice", `{"roots":{},"roots":{}}`, modern, wire.Modern, every, false, ``},
		{
			"as it was written", `{ "sampling":{"tools":{},"x":1}, "elicitation":{"url":{},"form":{}},"roots":{"listChanged":true}}`, legacy, wire.Legacy, every, false,
			`{"sampling":{"tools":{},"x":1},"elicitation":{"url":{},"form":{}},"roots":{"listChanged":true}}`,
		},
		{"stateless server", `{"roots":{}}`, legacy, wire.Legacy, every, true, ``},
		{"sampling off", `{"sampling":{},"roots":{}}`, legacy, wire.Legacy, compile.Questions{Elicitation: true, Roots: true}, false, `{"roots":{}}`},
		{"elicitation off", `{"elicitation":{},"roots":{}}`, legacy, wire.Legacy, compile.Questions{Roots: true}, false, `{"roots":{}}`},
		{"roots off", `{"roots":{}}`, legacy, wire.Legacy, compile.Questions{Elicitation: true}, false, ``},
		{"client before elicitation", `{"elicitation":{},"sampling":{}}`, wire.V20250326, wire.Legacy, every, false, `{"sampling":{}}`},
		{"client before pages", `{"elicitation":{"form":{},"url":{}}}`, wire.V20250618, wire.Legacy, every, false, `{"elicitation":{}}`},
		{"values that declare nothing", `{"sampling":true,"elicitation":null,"roots":[]}`, legacy, wire.Legacy, every, false, ``},
		{"what nobody knows", `{"experimental":{"a":{}},"tasks":{"list":{}},"vendor":{},"roots":{}}`, legacy, wire.Legacy, every, false, `{"roots":{}}`},
		{
			"extensions that are let through", `{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["a"]},"com.example/x":{}}}`, modern, wire.Modern, every, false,
			`{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["a"]}}}`,
		},
		{"tasks between modern sides", `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, modern, wire.Modern, every, false, `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`},
		{"tasks of a legacy client", `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, legacy, wire.Modern, every, false, ``},
		{"tasks at a legacy upstream", `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, modern, wire.Legacy, every, false, ``},
		{"key with escapes", `{"\u0072oots":{}}`, modern, wire.Modern, every, false, `{"roots":{}}`},
	}
	var c offer.Cache
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := offer.Rules{Client: tt.client, Upstream: tt.upstream, Questions: tt.questions, Extensions: allowed, Shared: tt.shared}
			for range 2 { // made, then kept
				if got := c.Of([]byte(tt.declared), r); string(got) != tt.want || (got == nil) != (tt.want == "") {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
			r.Extensions = nil
			if got := c.Of([]byte(`{"extensions":{"io.modelcontextprotocol/ui":{}}}`), r); got != nil {
				t.Errorf("extension that the gateway does not let through: %s", got)
			}
		})
	}
}

// A new kind of client at every request must not fill the memory: the cache begins anew, and is right all the same.
func TestCacheIsBounded(t *testing.T) {
	var c offer.Cache
	r := offer.Rules{Client: modern, Upstream: wire.Modern, Questions: compile.Questions{Roots: true}}
	for i := range 2000 {
		want := fmt.Sprintf(`{"roots":{"n":%d}}`, i)
		if got := string(c.Of([]byte(want), r)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestOfDoesNotAllocate(t *testing.T) {
	var c offer.Cache
	r := offer.Rules{Client: legacy, Upstream: wire.Legacy, Questions: compile.Questions{Roots: true}}
	for _, declared := range [][]byte{nil, []byte(`{}`), []byte(`{"roots":{},"sampling":{}}`)} {
		c.Of(declared, r)
		if n := testing.AllocsPerRun(100, func() { c.Of(declared, r) }); n != 0 {
			t.Errorf("%s: %v allocations", declared, n)
		}
	}
}

func TestWithExtension(t *testing.T) {
	for _, tt := range []struct{ offer, want string }{
		{``, `{"extensions":{"x/y":{}}}`},
		{`{"roots":{}}`, `{"extensions":{"x/y":{}},"roots":{}}`},
		{`{"extensions":{"a/b":{}}}`, `{"extensions":{"x/y":{},"a/b":{}}}`},
		{`{"extensions":{}}`, `{"extensions":{"x/y":{}}}`},
		{`{"extensions":{"x/y":{"z":1}}}`, `{"extensions":{"x/y":{"z":1}}}`},
	} {
		var given []byte
		if tt.offer != "" {
			given = []byte(tt.offer)
		}
		if got := string(offer.WithExtension(given, "x/y")); got != tt.want || string(given) != tt.offer {
			t.Errorf("%s: got %s, want %s", tt.offer, got, tt.want)
		}
	}
}
