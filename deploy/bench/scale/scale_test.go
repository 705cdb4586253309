// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/bench/proc"
)

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
