// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// FuzzCursor: whatever a cursor says, also one that another build of the fleet has sealed, a list answers with a page of
// valid JSON or refuses the cursor, and asks no server that the gateway does not show (M-69, M-70).
func FuzzCursor(f *testing.F) {
	w := &world{watches: make(chan string, 16), reply: call.Reply{Result: []byte(`{"resources":[{"uri":"a:1"}],"nextCursor":"next"}`)}}
	d := newDispatcher(f, w)
	b := view.From(nil)
	for _, name := range []string{"shown", "hidden", "bare"} {
		b.PutServer(name, &view.Server{Name: name, Capabilities: compile.Capabilities{Prompts: true, Resources: name != "bare"}})
		b.PutConnection(name, &view.Connection{Name: name, UID: name, Server: name})
	}
	b.PutGateway(&view.Gateway{
		Gateway: compile.Gateway{Name: "eng", UID: "uid-eng", Features: []compile.Feature{
			{Server: "shown", Connection: "shown", Prompts: true, Resources: true}, {Server: "bare", Connection: "bare", Resources: true},
		}},
		Tools: []*view.Tool{echo()},
	})
	h := view.NewHolder()
	h.Publish(b.Build("epoch", 1))
	s := h.Load()
	for _, plain := range []string{
		"", "t", "tev__echo", "t\xff", "p", "mx", "r", "r[]", "rnull", `r[{"s":"shown","c":"x"}]`, `r[{"s":"hidden"}]`, `r[{"S":"shown","C":null}]`,
		`r[{"s":"shown"},{"s":"shown"}]`, `r[null,5]`, `r{"s":1}`,
	} {
		f.Add(plain, "uid-eng!"+plain)
	}
	f.Add("x", "uid-other!tx")
	f.Fuzz(func(t *testing.T, plain, token string) {
		for _, method := range []string{"tools/list", "prompts/list", "resources/templates/list", "resources/list"} {
			for _, cursor := range []string{"uid-eng!" + plain, token} {
				w.calls = nil
				page, err := d.List(t.Context(), caller(s, wire.V20260728), method, &cursor)
				sealed, ours := strings.CutPrefix(cursor, "uid-eng!")
				switch {
				case err == nil && (!ours || sealed == ""):
					t.Fatalf("%s: the cursor %q is taken", method, cursor)
				case err == nil && !json.Valid(page.Result):
					t.Fatalf("%s after %q: %s", method, cursor, page.Result)
				case err != nil && (fault.KindOf(err) != fault.Invalid || fault.From(err).Reason != ReasonBadCursor):
					t.Fatalf("%s after %q: %v", method, cursor, err)
				}
				for _, o := range w.calls {
					if o.Server.Name != "shown" {
						t.Fatalf("after %q the server %s is asked", cursor, o.Server.Name)
					}
				}
			}
		}
	})
}
