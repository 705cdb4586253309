// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/penstockhq/penstock/deploy/conformance/gate"
	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// MCP revisions.
const (
	legacy = "2025-11-25"
	modern = "2026-07-28"
)

// leg is one row pair of the table: what the suite runs, at which upstream.
type leg struct {
	gate.Leg
	set      string   // what is required, in the table
	args     []string // the same, for the suite
	upstream upstream
	protocol string // to which the gateway pins the upstream
	// baseline is what the run without a gateway passes and fails. Anything else would be compared with too little.
	baseline [2]int
}

// upstream is an MCP server that the legs are run at.
type upstream string

// The reference server is the Go SDK's. It asks by requests in some tools and cannot be asked in the other era's way, so legs
// that cross eras have a server of our own.
const (
	referenceStateful  upstream = "reference"
	referenceStateless upstream = "reference, stateless"
	ours               upstream = "fixture"
	ofSuite            upstream = "suite" // one for each scenario
)

// legs are all there are, in the order of the table.
func legs() []leg {
	requirements := func(set string) []string { return []string{"--requirements", set} }
	// There are no requirement sets for older revisions.
	revision := func(version string) []string { return []string{"--suite", "all", "--spec-version", version} }
	return []leg{
		{gate.Leg{Name: "legacy"}, legacy, requirements(legacy), referenceStateful, legacy, [...]int{82, 0}},
		// The reference server does not have the tasks extension.
		{gate.Leg{Name: "modern"}, modern, requirements(modern), referenceStateless, modern, [...]int{165, 30}},
		{gate.Leg{Name: "2025-06-18"}, "2025-06-18", revision("2025-06-18"), referenceStateful, legacy, [...]int{56, 0}},
		{gate.Leg{Name: "2025-03-26"}, "2025-03-26", revision("2025-03-26"), referenceStateful, legacy, [...]int{3, 0}},
		{gate.Leg{Name: "legacy-fixture", Complete: true}, legacy, requirements(legacy), ours, legacy, [...]int{80, 0}},
		{gate.Leg{Name: "modern-fixture", Complete: true}, modern, requirements(modern), ours, modern, [...]int{195, 0}},
		{gate.Leg{Name: "legacy-to-modern", Cross: true, Complete: true}, legacy, requirements(legacy), ours, modern, [...]int{80, 0}},
		{gate.Leg{Name: "2025-06-18-to-modern", Cross: true, Complete: true}, "2025-06-18", revision("2025-06-18"), ours, modern, [...]int{56, 0}},
		{gate.Leg{Name: "modern-to-legacy", Cross: true, Complete: true}, modern, requirements(modern), ours, legacy, [...]int{195, 0}},
	}
}

// result is what came out of a leg.
type result struct {
	Leg      string   `json:"leg"`
	Set      string   `json:"requirements"`
	Upstream upstream `json:"upstream"`
	Protocol string   `json:"protocol"`
	Client   string   `json:"client,omitempty"`   // of a client leg: what the client of the gateway speaks
	Excluded []string `json:"excluded,omitempty"` // scenarios that a client leg leaves out
	Direct   count    `json:"direct,omitzero"`
	Gateway  count    `json:"gateway"`
	Baseline [2]int   `json:"baseline,omitzero"` // passed, failed
	// Authorization has what came of each scenario in which the client gets access tokens.
	Authorization map[string]count `json:"authorization,omitempty"`
	Verdict       gate.Verdict     `json:"verdict"`
}

// err is nil if the leg passes.
func (r result) err() error {
	var wrong error
	if got := [...]int{r.Direct.Passed, r.Direct.Failed}; got != r.Baseline {
		wrong = fmt.Errorf("directly %d checks pass and %d fail, want %d and %d: the comparison is worth less than it was",
			got[0], got[1], r.Baseline[0], r.Baseline[1])
	}
	return errors.Join(wrong, r.Verdict.Err())
}

// count counts checks.
type count struct {
	Passed   int `json:"passed"`
	Failed   int `json:"failed"`
	Warnings int `json:"warnings"`
}

func countOf(checks []suite.Check) count {
	c := count{}
	for _, check := range checks {
		switch check.Status {
		case suite.Success:
			c.Passed++
		case suite.Failure:
			c.Failed++
		case suite.Warning:
			c.Warnings++
		default: // judges nothing
		}
	}
	return c
}
