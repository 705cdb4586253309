// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestReply is the rows of M-46 and M-47 about errors of upstreams. want is the error that the client gets, or the reason of
// the fault that edge or dispatch write in their form.
func TestReply(t *testing.T) {
	const m, l = wire.V20260728, wire.V20251125
	read := `{"uri":"file:///a"}`
	required := `{"code":-32021,"message":"need","data":{"requiredCapabilities":{"sampling":{"tools":{}},"roots":{}}}}`
	internal := func(code int) string {
		return fmt.Sprintf(`{"code":-32603,"message":"x","data":{"upstream_code":%d}}`, code)
	}
	for _, tt := range []struct {
		name, method, params, raw string
		client, upstream          wire.Version
		want                      string
	}{
		{"any other passes", "tools/call", ``, `{ "code" : -32602,"message":"x","data":1.50,"y":1}`, m, l, `{ "code" : -32602,"message":"x","data":1.50,"y":1}`},
		{"its own number passes", "prompts/get", ``, `{"code":7,"message":"x"}`, l, m, `{"code":7,"message":"x"}`},
		{"-32020 is one hop's", "tools/call", ``, `{"code":-32020,"message":"x"}`, m, m, internal(-32020)},
		{"-32022 is one hop's", "tools/call", ``, `{"code":-32022,"message":"x","data":{}}`, m, m, internal(-32022)},
		{"-32099 is reserved", "tools/call", ``, `{"code":-32099,"message":"x"}`, l, l, internal(-32099)},
		{"-32100 is not", "tools/call", ``, `{"code":-32100,"message":"x"}`, l, l, `{"code":-32100,"message":"x"}`},
		{"-32019 is not", "tools/call", ``, `{"code":-32019,"message":"x"}`, l, l, `{"code":-32019,"message":"x"}`},
		{"-32042 of a legacy one passes", "tools/call", ``, `{"code":-32042,"message":"x"}`, l, l, `{"code":-32042,"message":"x"}`},
		{"-32042 of a modern one is reserved", "tools/call", ``, `{"code":-32042,"message":"x"}`, m, m, internal(-32042)},
		{"no code", "tools/call", ``, `{"message":"x"}`, m, m, `{"message":"x"}`},
		{"broken", "tools/call", ``, `{"code":1,"code":2}`, m, m, `{"code":-32603,"message":"The server answered with a malformed error"}`},

		{"capability, modern client", "tools/call", ``, required, m, m, ReasonCapability},
		{"capability, legacy client, tool", "tools/call", ``, required, l, m, ReasonCapability},
		{"capability, legacy client, prompt", "prompts/get", ``, required, l, m, `{"code":-32603,"message":"The server needs a client capability that is not there: sampling, roots."}`},
		{"capability, which is not said", "tools/call", ``, `{"code":-32021,"message":"x","data":[]}`, m, m, internal(-32021)},

		{"resource, legacy to modern", "resources/read", read, `{"code":-32602,"message":"x","data":{"uri":"file:///\u0061"}}`, l, m, ReasonResource},
		{"another resource", "resources/read", read, `{"code":-32602,"message":"x","data":{"uri":"file:///b"}}`, l, m, `{"code":-32602,"message":"x","data":{"uri":"file:///b"}}`},
		{"no resource named", "resources/read", read, `{"code":-32602,"message":"x"}`, l, m, `{"code":-32602,"message":"x"}`},
		{"data is twice", "resources/read", read, `{"code":-32602,"message":"x","data":{"uri":1,"uri":2}}`, l, m, `{"code":-32602,"message":"x","data":{"uri":1,"uri":2}}`},
		{"no params", "resources/read", ``, `{"code":-32602,"message":"x","data":{"uri":"file:///a"}}`, l, m, `{"code":-32602,"message":"x","data":{"uri":"file:///a"}}`},
		{"resource, modern to legacy", "resources/read", read, `{"code":-32002,"message":"x"}`, m, l, ReasonResource},
		{"parameters, modern to legacy", "resources/read", read, `{"code":-32602,"message":"x","data":{"uri":"file:///a"}}`, m, l, `{"code":-32602,"message":"x","data":{"uri":"file:///a"}}`},
		{"resource, one era", "resources/read", read, `{"code":-32002,"message":"x"}`, l, l, `{"code":-32002,"message":"x"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reply, err := Read([]byte(tt.raw)).Reply(Case{tt.method, []byte(tt.params), tt.client, tt.upstream})
			got := string(reply.Error)
			if err != nil {
				got = fault.From(err).Reason
			}
			if got != tt.want || reply.Result != nil {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestDemands: only -32021, and only the extension that it names.
func TestDemands(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"code":-32021,"message":"x","data":{"requiredCapabilities":{"extensions":{"e/x":{}}}}}`: true,
		`{"code":-32021,"message":"x","data":{"requiredCapabilities":{"extensions":{"e/y":{}}}}}`: false,
		`{"code":-32020,"message":"x","data":{"requiredCapabilities":{"extensions":{"e/x":{}}}}}`: false,
		`{"code":-32021,"message":"x"}`: false,
	} {
		if got := Read([]byte(raw)).Demands("e/x"); got != want {
			t.Errorf("%s: %v", raw, got)
		}
	}
}

// TestPages is the row "Elicitation, url" of mcp.md section 4: the pages of -32042, those that are pages.
func TestPages(t *testing.T) {
	e := Read([]byte(`{"code":-32042,"message":"x","data":{"elicitations":[` +
		`{"mode":"url","url":"https://a","message":"First","elicitationId":"1"},{"mode":"form"},7,{"mode":"url"},{"mode":"url","url":"https://b"}]}}`))
	pages := e.Pages()
	if len(pages) != 2 || Links(pages) != "First: https://a\nhttps://b" {
		t.Fatalf("%d pages: %s", len(pages), Links(pages))
	}
	if !strings.Contains(string(pages[0].Params), `"elicitationId":"1"`) {
		t.Errorf("the first is %s", pages[0].Params)
	}
	for _, none := range []string{`{"code":-32042}`, `{"code":-32042,"data":[]}`, `{"code":-32042,"data":{"elicitations":{}}}`} {
		if pages := Read([]byte(none)).Pages(); pages != nil {
			t.Errorf("%s: %v", none, pages)
		}
	}
}
