// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/conformance/gate"
	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// TestShowClient: a client leg is one row, and whatever is not good in it fails the run.
func TestShowClient(t *testing.T) {
	leg := clientLegs()[0]
	checks := []suite.Check{
		{Scenario: "sse-retry", ID: "i", Name: "Retry", Status: suite.Success},
		{Scenario: "sse-retry", ID: "j", Name: "Last", Status: suite.Warning, Error: "no id"},
		{Scenario: "sse-retry", ID: "k", Name: "None", Status: suite.Skipped},
	}
	r := result{
		Leg: leg.Name, Set: leg.set, Upstream: ofSuite, Protocol: "auto", Client: leg.version, Gateway: countOf(checks),
		Verdict: gate.Exceptions{}.Judge(leg.Leg, nil, checks),
	}
	var out strings.Builder
	if err := show(&out, []result{r}); err != nil {
		t.Fatal(err)
	}
	want := `leg            requirements  upstream  protocol  path               passed  failed  warnings
client-legacy  2025-11-25    suite     auto      client 2025-11-25  1       0       1

client-legacy: sse-retry:j (Last)
  WARNING
  no id
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	if judge([]result{r}) == nil {
		t.Error("a warning is a pass")
	}
	r.Verdict = gate.Exceptions{}.Judge(leg.Leg, nil, checks[:1])
	if err := judge([]result{r}); err != nil {
		t.Error(err)
	}
}

// TestClientSettings: client legs need no reference upstream.
func TestClientSettings(t *testing.T) {
	s, err := parseSettings([]string{"-legs", "^client"})
	if err != nil {
		t.Fatal(err)
	}
	for _, leg := range clientLegs() {
		if !s.Legs.MatchString(leg.Name) {
			t.Errorf("%s is not run", leg.Name)
		}
	}
}
