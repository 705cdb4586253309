// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, args := range [][]string{
		{"-tools", "7", "-gateways", "2"}, {"-gateways", "1"}, {"-nodes", "0"}, {"-rate", "0"}, {"-for", "1ms"}, {"-real", "-1"}, {"more"}, {"-none"},
	} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
	if s, err := parseSettings([]string{"-nodes", "5", "-gateways", "100", "-tools", "2000"}); err != nil || s.Burst != 1000 || s.Real != 5 {
		t.Errorf("a burst of %d and %d whole nodes, %v; want half of the tools and all nodes", s.Burst, s.Real, err)
	}
}

func TestDistribution(t *testing.T) {
	var values []float64
	for n := range 1000 {
		values = append(values, float64(1000-n))
	}
	d := distributionOf(values)
	if d.Count != 1000 || d.P50 != 501 || d.P99 != 991 || d.P999 != 1000 || d.Max != 1000 {
		t.Errorf("got %d, %v, %v, %v, %v", d.Count, d.P50, d.P99, d.P999, d.Max)
	}
	if d := distributionOf(nil); d.Count != 0 {
		t.Errorf("nothing became %+v", d)
	}
}

func TestVerdicts(t *testing.T) {
	for want, l := range map[string]line{
		"ok, ≤ 10 ms":      {value: 10, goal: 10, unit: "ms"},
		"MISSED, ≤ 10 ms":  {value: 10.1, goal: 10, unit: "ms"},
		"ok, ≥ 150 tx/s":   {value: 150, goal: 150, unit: "tx/s", least: true},
		"MISSED, ≥ 9 tx/s": {value: 8, goal: 9, unit: "tx/s", least: true},
		", ":               {value: 1, unit: "ms"},
	} {
		if got := l.verdict() + ", " + l.bound(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPlotIsXML(t *testing.T) {
	r := &result{Steady: distributionOf([]float64{1, 20, 300}), Denial: distributionOf([]float64{5})}
	for text := xml.NewDecoder(strings.NewReader(r.plot())); ; {
		if _, err := text.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, r.plot())
		}
	}
}

// TestIntegrationDistribution runs a small measurement with real PostgreSQL and the real binaries: every figure is there,
// and all nodes agree.
func TestIntegrationDistribution(t *testing.T) {
	dir := t.TempDir()
	var table, log bytes.Buffer
	err := run(t.Context(), []string{"-smoke", "-out", dir}, &table, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Logf("\n%s", &table)
	text, err := os.ReadFile(filepath.Join(dir, "distribution.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	if !r.Agreed || r.Steady.Count != 30 || r.Denial.Count == 0 || r.BurstChanges < 400 {
		t.Errorf("agreed %v, %d changes, %d denials, %d in the burst", r.Agreed, r.Steady.Count, r.Denial.Count, r.BurstChanges)
	}
	for _, l := range r.lines() {
		if l.value <= 0 {
			t.Errorf("%s: %v %s", l.name, l.value, l.unit)
		}
	}
}
