// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"cmp"
	"slices"

	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// Missing is the status of a check that was not made.
const Missing suite.Status = "MISSING"

// Difference is a check that comes out worse through the gateway than directly.
type Difference struct {
	Scenario string       `json:"scenario"`
	ID       string       `json:"id"`
	Name     string       `json:"name"`
	Direct   suite.Status `json:"direct"`
	Gateway  suite.Status `json:"gateway"`
	// Error is what the suite says, of the run through the gateway.
	Error string `json:"error,omitempty"`
	// Reason is that of the exception that covers it; empty if none does.
	Reason string `json:"reason,omitempty"`
}

type key struct{ scenario, id, name string }

// Compare returns the checks that come out worse through the gateway, by scenario. A scenario may make several checks with one
// id and name; then the best are compared with the best.
func Compare(direct, gateway []suite.Check) []Difference {
	left, right := group(direct), group(gateway)
	keys := make([]key, 0, len(left)+len(right))
	for k := range left {
		keys = append(keys, k)
	}
	for k := range right {
		if _, ok := left[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b key) int {
		return cmp.Or(cmp.Compare(a.scenario, b.scenario), cmp.Compare(a.id, b.id), cmp.Compare(a.name, b.name))
	})
	var all []Difference
	for _, k := range keys {
		for i := range max(len(left[k]), len(right[k])) {
			a, b := at(left[k], i), at(right[k], i)
			if worse(a.Status, b.Status) {
				all = append(all, Difference{Scenario: k.scenario, ID: k.id, Name: k.name, Direct: a.Status, Gateway: b.Status, Error: b.Error})
			}
		}
	}
	return all
}

// Failures returns the checks that fail through the gateway and do so directly as well: no difference, but no pass either.
func Failures(direct, gateway []suite.Check) []Difference {
	left := group(direct)
	var all []Difference
	for k, checks := range group(gateway) {
		for i, c := range checks {
			if a := at(left[k], i).Status; c.Status == suite.Failure && !worse(a, c.Status) {
				all = append(all, Difference{Scenario: k.scenario, ID: k.id, Name: k.name, Direct: a, Gateway: c.Status, Error: c.Error})
			}
		}
	}
	slices.SortFunc(all, func(a, b Difference) int { return cmp.Or(cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.ID, b.ID)) })
	return all
}

// group sorts the checks of each key from good to bad.
func group(checks []suite.Check) map[key][]suite.Check {
	groups := make(map[key][]suite.Check)
	for _, c := range checks {
		k := key{c.Scenario, c.ID, c.Name}
		groups[k] = append(groups[k], c)
	}
	for _, group := range groups {
		slices.SortStableFunc(group, func(a, b suite.Check) int { return cmp.Compare(badness(a.Status), badness(b.Status)) })
	}
	return groups
}

func at(checks []suite.Check, i int) suite.Check {
	if i < len(checks) {
		return checks[i]
	}
	return suite.Check{Status: Missing}
}

// worse reports whether a check went from a to something worse. Skipped, missing and informative checks are alike: nothing was
// judged, which is worse than a pass and no worse than anything else.
func worse(a, b suite.Status) bool { return badness(b) > badness(a) }

func badness(s suite.Status) int {
	switch s {
	case suite.Success:
		return 0
	case suite.Warning:
		return 2
	case suite.Failure:
		return 3
	default:
		return 1
	}
}
