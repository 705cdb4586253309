// SPDX-License-Identifier: Apache-2.0

package synthetic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/bench/synthetic"
)

// TestCatalogue: the same seed makes the same tools, of the size that the goals are about, each valid and none like another.
func TestCatalogue(t *testing.T) {
	c := synthetic.Catalogue{Gateways: 10, Tools: 100, Servers: 5, Seed: 1}
	seen, sum := map[string]bool{}, 0
	for n := range 1000 {
		text := c.Tool(n)
		if !json.Valid(text) {
			t.Fatalf("tool %d is no JSON: %s", n, text)
		}
		seen[string(text)] = true
		sum += len(text)
		if !bytes.Equal(text, c.Tool(n)) {
			t.Fatalf("tool %d is another one the second time", n)
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d different tools of 1000", len(seen))
	}
	if mean := sum / 1000; mean < 1650 || mean > 1850 {
		t.Errorf("a tool has %d bytes on average, want about 1750", mean)
	}
	if bytes.Equal(c.Tool(1), synthetic.Catalogue{Seed: 2}.Tool(1)) {
		t.Error("another seed made the same tool")
	}
}

// TestEveryToolOnOneGateway: the gateways' tools are all tools, and each is where its server says.
func TestEveryToolOnOneGateway(t *testing.T) {
	for _, zipf := range []bool{false, true} {
		checkOnce(t, synthetic.Catalogue{Gateways: 10, Tools: 100, Servers: 5, Seed: 1, Zipf: zipf})
	}
	few := synthetic.Catalogue{Gateways: 1000, Tools: 10_000, Servers: 5, Seed: 1, Zipf: true}
	if first, last := len(few.ToolsOn(0)), len(few.ToolsOn(999)); first < 100 || last < 1 || last > 20 {
		t.Errorf("the first gateway has %d tools, the last %d", first, last)
	}
}

func checkOnce(t *testing.T, c synthetic.Catalogue) {
	t.Helper()
	on := map[string]int{}
	for _, r := range c.Published(0, c.Gateways) {
		for _, a := range r.GetGateway().GetTools() {
			on[a.GetTool()]++
			if server, _, _ := strings.Cut(a.GetTool(), "/"); a.GetPinned().GetConnection() != server {
				t.Errorf("%s is pinned to %s", a.GetTool(), a.GetPinned().GetConnection())
			}
		}
	}
	for n := range c.Tools {
		if name := synthetic.ServerName(c.ServerOf(n)) + "/" + synthetic.ToolName(n); on[name] != 1 {
			t.Errorf("%s is on %d gateways", name, on[name])
		}
	}
}

// TestUpstreamPages: all tools of a server come, in pages, and no other.
func TestUpstreamPages(t *testing.T) {
	c := synthetic.Catalogue{Gateways: 10, Tools: 1200, Servers: 2, Seed: 1}
	web := httptest.NewServer(&synthetic.Upstream{Catalogue: c})
	defer web.Close()
	var names []string
	for cursor := ""; ; {
		res, err := http.Post(web.URL+"/1", "application/json", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"`+cursor+`"}}`))
		if err != nil {
			t.Fatal(err)
		}
		var page struct {
			Result struct {
				Tools      []struct{ Name string }
				NextCursor string
			}
		}
		err = json.NewDecoder(res.Body).Decode(&page)
		if err := errors.Join(err, res.Body.Close()); err != nil {
			t.Fatal(err)
		}
		for _, tool := range page.Result.Tools {
			names = append(names, tool.Name)
		}
		if cursor = page.Result.NextCursor; cursor == "" {
			break
		}
	}
	if len(names) != 600 || names[0] != synthetic.ToolName(600) || names[599] != synthetic.ToolName(1199) {
		t.Errorf("got %d tools", len(names))
	}
}
