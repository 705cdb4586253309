// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/deploy/conformance/gate"
	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// checks reads "scenario:id:name STATUS", one a line.
func checks(lines string) []suite.Check {
	var all []suite.Check
	for line := range strings.Lines(lines) {
		name, status, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		parts := strings.Split(name, ":")
		all = append(all, suite.Check{Scenario: parts[0], ID: parts[1], Name: parts[2], Status: suite.Status(status)})
	}
	return all
}

// lines writes differences as "scenario:id:name DIRECT GATEWAY", followed by the reason of what is excused.
func lines(all []gate.Difference) []string {
	found := []string{}
	for _, d := range all {
		line := d.Scenario + ":" + d.ID + ":" + d.Name + " " + string(d.Direct) + " " + string(d.Gateway)
		found = append(found, strings.TrimSpace(line+" "+d.Reason))
	}
	return found
}

func TestCompare(t *testing.T) {
	tests := []struct {
		name, direct, gateway string
		want                  []string
	}{
		{"equal", "a:b:c SUCCESS\na:b:d FAILURE", "a:b:d FAILURE\na:b:c SUCCESS", []string{}},
		{"fails", "a:b:c SUCCESS", "a:b:c FAILURE", []string{"a:b:c SUCCESS FAILURE"}},
		{"warns", "a:b:c SUCCESS", "a:b:c WARNING", []string{"a:b:c SUCCESS WARNING"}},
		{"a warning becomes a failure", "a:b:c WARNING", "a:b:c FAILURE", []string{"a:b:c WARNING FAILURE"}},
		{"better", "a:b:c FAILURE\na:b:d WARNING", "a:b:c SUCCESS\na:b:d SUCCESS", []string{}},
		{"not made", "a:b:c SUCCESS\na:b:d SUCCESS", "a:b:c SUCCESS", []string{"a:b:d SUCCESS MISSING"}},
		{"skipped", "a:b:c SUCCESS", "a:b:c SKIPPED", []string{"a:b:c SUCCESS SKIPPED"}},
		{"says nothing any more", "a:b:c SUCCESS", "a:b:c INFO", []string{"a:b:c SUCCESS INFO"}},
		{"not made, did not pass", "a:b:c FAILURE\na:b:d WARNING\na:b:e INFO", "", []string{}},
		{"made only through the gateway", "", "a:b:c SUCCESS\na:b:d INFO\na:b:e WARNING\na:b:f FAILURE", []string{"a:b:e MISSING WARNING", "a:b:f MISSING FAILURE"}},
		{"same name in another scenario", "a:b:c SUCCESS\nx:b:c FAILURE", "a:b:c FAILURE\nx:b:c SUCCESS", []string{"a:b:c SUCCESS FAILURE"}},
		{
			"one of several", "a:b:c SUCCESS\na:b:c FAILURE\na:b:c SUCCESS", "a:b:c FAILURE\na:b:c SUCCESS\na:b:c WARNING",
			[]string{"a:b:c SUCCESS WARNING"},
		},
		{"fewer of several", "a:b:c SUCCESS\na:b:c SUCCESS\na:b:c SUCCESS", "a:b:c SUCCESS\na:b:c SUCCESS", []string{"a:b:c SUCCESS MISSING"}},
		{"order", "", "b:b:b FAILURE\na:b:b FAILURE\na:a:b FAILURE", []string{"a:a:b MISSING FAILURE", "a:b:b MISSING FAILURE", "b:b:b MISSING FAILURE"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, lines(gate.Compare(checks(tt.direct), checks(tt.gateway)))); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

func allLegs() []gate.Leg {
	return []gate.Leg{{Name: "same"}, {Name: "cross", Cross: true, Complete: true}, {Name: "complete", Complete: true}}
}

func TestJudge(t *testing.T) {
	tests := []struct {
		name, leg, direct, gateway, exceptions string
		want                                   []string
		stale                                  []string
		passes                                 bool
	}{
		{"nothing", "same", "a:b:c SUCCESS", "a:b:c SUCCESS", "", []string{}, nil, true},
		{"a failure", "same", "a:b:c SUCCESS", "a:b:c FAILURE", "", []string{"a:b:c SUCCESS FAILURE"}, nil, false},
		{"fails on both sides", "same", "a:b:c FAILURE", "a:b:c FAILURE", "", []string{}, nil, true},
		{
			"nothing excuses a failure of one era", "same", "a:b:c SUCCESS", "a:b:c FAILURE", "- {leg: same, checks: ['a:b'], reason: why}",
			[]string{"a:b:c SUCCESS FAILURE"},
			[]string{"a:b"},
			false,
		},
		{"a warning", "same", "a:b:c SUCCESS", "a:b:c WARNING", "", []string{"a:b:c SUCCESS WARNING"}, nil, false},
		{
			"a warning with a reason", "same", "a:b:c SUCCESS", "a:b:c WARNING", "- {leg: same, checks: ['a:b'], reason: why}",
			[]string{"a:b:c SUCCESS WARNING why"},
			nil, true,
		},
		{
			"a reason for another check", "same", "a:b:c SUCCESS", "a:b:c WARNING", "- {leg: same, checks: ['a:x'], reason: why}",
			[]string{"a:b:c SUCCESS WARNING"},
			[]string{"a:x"},
			false,
		},
		{
			"a reason for another leg", "same", "a:b:c SUCCESS", "a:b:c WARNING", "- {leg: cross, checks: ['a:b'], reason: why}",
			[]string{"a:b:c SUCCESS WARNING"},
			nil, false,
		},
		{
			"a check", "cross", "a:b:c SUCCESS\na:d:c SUCCESS", "a:b:c FAILURE\na:d:c FAILURE", "- {leg: cross, checks: ['a:b'], reason: why}",
			[]string{"a:b:c SUCCESS FAILURE why", "a:d:c SUCCESS FAILURE"},
			nil, false,
		},
		{
			"a scenario", "cross", "a:b:c SUCCESS\na:d:c SUCCESS", "a:b:c FAILURE", "- {leg: cross, checks: [a], reason: why}",
			[]string{"a:b:c SUCCESS FAILURE why", "a:d:c SUCCESS MISSING why"},
			nil, true,
		},
		{
			"a scenario does not excuse messages of a wrong form", "cross", "a:wire-schema-valid:c SUCCESS\na:b:c SUCCESS", "a:wire-schema-valid:c FAILURE\na:b:c FAILURE",
			"- {leg: cross, checks: [a], reason: why}",
			[]string{"a:b:c SUCCESS FAILURE why", "a:wire-schema-valid:c SUCCESS FAILURE"},
			nil, false,
		},
		{"stale", "cross", "a:b:c SUCCESS", "a:b:c SUCCESS", "- {leg: cross, checks: ['a:b'], reason: why}", []string{}, []string{"a:b"}, false},
		{"fails on both sides of a complete leg", "complete", "a:b:c FAILURE", "a:b:c FAILURE", "", []string{"a:b:c FAILURE FAILURE"}, nil, false},
		{
			"fails on both sides with a reason", "cross", "a:b:c FAILURE", "a:b:c FAILURE", "- {leg: cross, checks: ['a:b'], reason: why}",
			[]string{"a:b:c FAILURE FAILURE why"},
			nil, true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			exceptions, err := gate.ReadExceptions([]byte("# exceptions\n"+tt.exceptions+"\n"), allLegs())
			if err != nil {
				t.Fatal(err)
			}
			for _, leg := range allLegs() {
				if leg.Name != tt.leg {
					continue
				}
				v := exceptions.Judge(leg, checks(tt.direct), checks(tt.gateway))
				if diff := cmp.Diff(tt.want, lines(v.Differences)); diff != "" {
					t.Errorf("differences (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(tt.stale, v.Stale); diff != "" {
					t.Errorf("stale (-want +got):\n%s", diff)
				}
				if err := v.Err(); (err == nil) != tt.passes {
					t.Errorf("verdict %v, want it to pass: %t", err, tt.passes)
				}
			}
		})
	}
}

func TestReadExceptions(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"none", "", ""},
		{"empty list", "[]", ""},
		{"two", "- {leg: same, checks: [a], reason: why}\n- {leg: cross, checks: ['a:b'], reason: why}", ""},
		{"unknown leg", "- {leg: sam, checks: [a], reason: why}", `no leg "sam"`},
		{"no reason", "- {leg: same, checks: [a], reason: ' '}", "reason"},
		{"no check", "- {leg: same, reason: why}", "check"},
		{"empty check", "- {leg: same, checks: [a, ''], reason: why}", "check"},
		{"several", "- {leg: same, checks: [a, 'b:c', 'b:d'], reason: why}", ""},
		{"twice in one", "- {leg: same, checks: [a, a], reason: why}", "twice"},
		{"unknown field", "- {leg: same, checks: [a], because: why}", "because"},
		{"no YAML", "- {", "read the exceptions"},
		{"twice", "- {leg: same, checks: [a], reason: why}\n- {leg: same, checks: [a], reason: still}", "twice"},
		{"covered", "- {leg: same, checks: ['a:b'], reason: why}\n- {leg: same, checks: [a], reason: why}", "covered"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := gate.ReadExceptions([]byte(tt.text), allLegs())
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
