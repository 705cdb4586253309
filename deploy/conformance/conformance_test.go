// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/conformance/gate"
)

// TestExceptions: the file can be read, and every leg that it names is there.
func TestExceptions(t *testing.T) {
	if _, err := gate.ReadExceptions(exceptions, known()); err != nil {
		t.Error(err)
	}
}

// TestShowAuthorization: one line for each scenario, one column for each leg that ran any.
func TestShowAuthorization(t *testing.T) {
	var out strings.Builder
	showAuthorization(&out, []result{
		{Leg: "legacy"},
		{Leg: "a", Authorization: map[string]count{"auth/x": {Passed: 2, Failed: 1, Warnings: 1}}},
		{Leg: "b", Authorization: map[string]count{"auth/y": {Passed: 3}}},
	})
	want := "\nscenario, checks passed  a       b\nauth/x                   2 of 4  -\nauth/y                   -       3 of 3\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestShow(t *testing.T) {
	r := result{
		Leg: "legacy", Set: legacy, Upstream: ours, Protocol: modern, Direct: count{Passed: 2}, Gateway: count{Passed: 1, Failed: 1}, Baseline: [...]int{2, 0},
		Verdict: gate.Verdict{Differences: []gate.Difference{{Scenario: "ping", ID: "i", Name: "Ping", Direct: "SUCCESS", Gateway: "FAILURE", Error: "one\ntwo"}}},
	}
	var out strings.Builder
	if err := show(&out, []result{r}); err != nil {
		t.Fatal(err)
	}
	want := `leg     requirements  upstream  protocol    path     passed  failed  warnings
legacy  2025-11-25    fixture   2025-11-25  direct   2       0       0
legacy  2025-11-25    fixture   2026-07-28  gateway  1       1       0

legacy: ping:i (Ping)
  SUCCESS directly, FAILURE through the gateway
  one
  two
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if err := judge([]result{r}); err == nil || !strings.Contains(err.Error(), "leg legacy") {
		t.Errorf("got %v, want the leg", err)
	}
	r.Verdict = gate.Verdict{}
	if err := judge([]result{r}); err != nil {
		t.Errorf("got %v, want a pass", err)
	}
	r.Direct.Passed++
	if err := judge([]result{r}); err == nil || !strings.Contains(err.Error(), "want 2 and 0") {
		t.Errorf("got %v, want the baseline", err)
	}
	if err := judge(nil); err == nil {
		t.Error("no leg is a pass")
	}
}

func TestSettings(t *testing.T) {
	for _, args := range [][]string{{}, {"-reference", "x", "y"}, {"-reference", "x", "-legs", "("}, {"-nonsense"}} {
		if _, err := parseSettings(args); err == nil {
			t.Errorf("%q: want an error", args)
		}
	}
}
