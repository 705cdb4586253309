// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/bench/proc"
)

// TestCatalogue: the same seed makes the same tools, of the size that the goals are about, each valid and none like another.
func TestCatalogue(t *testing.T) {
	c := catalogue{gateways: 10, tools: 100, servers: 5, seed: 1}
	seen, sum := map[string]bool{}, 0
	for n := range 1000 {
		text := c.tool(n)
		if !json.Valid(text) {
			t.Fatalf("tool %d is no JSON: %s", n, text)
		}
		seen[string(text)] = true
		sum += len(text)
		if !bytes.Equal(text, c.tool(n)) {
			t.Fatalf("tool %d is another one the second time", n)
		}
	}
	if len(seen) != 1000 {
		t.Errorf("%d different tools of 1000", len(seen))
	}
	if mean := sum / 1000; mean < 1650 || mean > 1850 {
		t.Errorf("a tool has %d bytes on average, want about 1750", mean)
	}
	if bytes.Equal(c.tool(1), catalogue{seed: 2}.tool(1)) {
		t.Error("another seed made the same tool")
	}
}

// TestEveryToolOnOneGateway: the gateways' tools are all tools, and each is where its server says.
func TestEveryToolOnOneGateway(t *testing.T) {
	c := catalogue{gateways: 10, tools: 100, servers: 5, seed: 1}
	on := map[string]int{}
	for _, r := range c.published(0, c.gateways) {
		for _, a := range r.GetGateway().GetTools() {
			on[a.GetTool()]++
			if server, _, _ := strings.Cut(a.GetTool(), "/"); a.GetPinned().GetConnection() != server {
				t.Errorf("%s is pinned to %s", a.GetTool(), a.GetPinned().GetConnection())
			}
		}
	}
	for n := range c.tools {
		if name := serverName(c.serverOf(n)) + "/" + toolName(n); on[name] != 1 {
			t.Errorf("%s is on %d gateways", name, on[name])
		}
	}
}

// TestUpstreamPages: all tools of a server come, in pages, and no other.
func TestUpstreamPages(t *testing.T) {
	c := catalogue{gateways: 10, tools: 1200, servers: 2, seed: 1}
	web := httptest.NewServer(upstream{c})
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
	if len(names) != 600 || names[0] != toolName(600) || names[599] != toolName(1199) {
		t.Errorf("got %d tools", len(names))
	}
}

func TestSettings(t *testing.T) {
	for _, args := range [][]string{{"-tools", "7", "-gateways", "2"}, {"-gateways", "0"}, {"more"}, {"-none"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
}

// TestIntegrationScale runs a small measurement with the real binaries: every figure is there.
func TestIntegrationScale(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scale.json")
	var table, log bytes.Buffer
	err := run(t.Context(), []string{"-gateways", "20", "-tools", "200", "-servers", "4", "-settle", "0s", "-out", file, "-profiles", filepath.Join(t.TempDir(), "pprof")}, &table, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Logf("\n%s", &table)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]proc.Memory{
		"control": r.Control, "control served": r.ControlServed, "control filled": r.ControlFilled, "node": r.Node,
		"node from disk": r.NodeFromDisk, "node followed": r.NodeFollowed,
	} {
		if m.RSS < 1<<20 || m.Peak < m.RSS {
			t.Errorf("memory of %s: %+v", name, m)
		}
	}
	if r.DiskSeconds <= 0 || r.StreamSeconds <= 0 || r.ControlStartSeconds <= 0 || r.DiskWriteSeconds <= 0 || r.FillSeconds <= 0 || r.DiskBytes == 0 {
		t.Errorf("a figure is missing: %+v", r)
	}
	if !strings.Contains(table.String(), "node RSS, loaded from the stream") || !strings.Contains(table.String(), "met") {
		t.Errorf("no verdict in the table:\n%s", &table)
	}
}
