// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, args := range [][]string{{"-callers", "0"}, {"-callers", "301"}, {"-steady", "0"}, {"-rounds", "0"}, {"-counted", "0"}, {"more"}, {"-none"}} {
		if err := run(t.Context(), args, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
}

// TestTable: a goal that is not met says so, and a run of too few callers says nothing of goals.
func TestTable(t *testing.T) {
	r := result{
		Callers: enough, Kinds: []kind{{Name: "a", gateway: plain, AddedMS: 2.9}, {Name: "b", gateway: plain, AddedMS: 3.1}, {Name: "c", gateway: keyed, AddedMS: 9}},
		Rooms:       []room{{Name: "d", NS: 1999, goalNS: 2000, goal: "≤ 2 µs"}, {Name: "e", NS: 2001, goalNS: 2000, goal: "≤ 2 µs"}, {Name: "f", NS: 5}},
		Allocations: []allocation{{Name: "g", Count: 45, goal: 45}, {Name: "h", Count: 45.1, goal: 45}, {Name: "i", Count: 90}},
	}
	var printed bytes.Buffer
	if err := r.writeTable(&printed); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"figure", "met", "MISSED", "", "met", "MISSED", "", "met", "MISSED", ""} {
		line := strings.Split(printed.String(), "\n")[i]
		if fields := strings.Fields(line); want != "" && i > 0 && fields[len(fields)-1] != want || want == "" && strings.Contains(line, "≤") {
			t.Errorf("line %d is %q, want %q at its end", i, line, want)
		}
	}
	r.Callers = 3
	printed.Reset()
	if err := r.writeTable(&printed); err != nil || strings.Contains(printed.String(), "met") || strings.Contains(printed.String(), "MISSED") {
		t.Errorf("three callers: %v\n%s", err, printed.String())
	}
	dir := filepath.Join(t.TempDir(), "out")
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "first.json")); err != nil || !strings.Contains(string(text), `"added_ms": 3.1`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestRegressed: a tenth above the baseline is noise, more is not, and few calls say nothing.
func TestRegressed(t *testing.T) {
	for _, tc := range []struct {
		count, baseline float64
		calls           int
		want            bool
	}{{109, 100, fewest, false}, {111, 100, fewest, true}, {111, 0, fewest, false}, {111, 100, fewest - 1, false}} {
		if err := regressed([]allocation{{Name: "a", Count: 1, Baseline: 1}, {Name: "b", Count: tc.count, Baseline: tc.baseline}}, tc.calls); (err != nil) != tc.want {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}

func TestNanoseconds(t *testing.T) {
	const printed = "goos: linux\nBenchmarkAccessToken/cached-2 \t 1000\t 850.5 ns/op\t 0 B/op\nBenchmarkHit \t 5\t 900 ns/op\nBenchmarkHit \t 5\t 100 ns/op\nBenchmarkHit \t 5\t 200 ns/op\nPASS\n"
	for name, want := range map[string]float64{"AccessToken/cached": 850.5, "Hit": 200} {
		if got, err := nanoseconds(printed, name, "ns/op"); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	const several = "BenchmarkFind/all-2 \t 10\t 900 ns/op\t 0 builds/op\t 300 p50-ns\t 1200.5 p99-ns\t 64 B/op\n"
	for unit, want := range map[string]float64{"ns/op": 900, "p50-ns": 300, "p99-ns": 1200.5} {
		if got, err := nanoseconds(several, "Find/all", unit); err != nil || got != want {
			t.Errorf("%s: %v, %v", unit, got, err)
		}
	}
	if _, err := nanoseconds(printed, "AccessToken/cold", "ns/op"); err == nil {
		t.Error("a figure that is not there was found")
	}
}
