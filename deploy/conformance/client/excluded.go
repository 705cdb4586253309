// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

//go:embed excluded.yaml
var excludedYAML []byte

// Excluded returns the scenarios of a requirement set that are not run; excluded.yaml says why.
func Excluded(set string) (map[string]bool, error) {
	var all map[string][]string
	if err := yaml.NewDecoder(bytes.NewReader(excludedYAML)).Decode(&all); err != nil {
		return nil, fmt.Errorf("read excluded.yaml: %w", err)
	}
	excluded := make(map[string]bool)
	for _, scenario := range all[set] {
		if excluded[scenario] {
			return nil, fmt.Errorf("excluded.yaml has %s twice", scenario)
		}
		excluded[scenario] = true
	}
	return excluded, nil
}

// checkID is of the checks that this package adds.
const checkID = "penstock-client"

// Judged returns the checks of the scenarios that are not excluded, and one that failed for each scenario with which something is
// wrong that the suite does not notice: a request of the client was answered badly, the client did not run, nothing was checked,
// or it is excluded and the requirement set does not have it.
func Judged(required []string, checks []suite.Check, excluded map[string]bool, outcomes map[string]error) []suite.Check {
	var judged []suite.Check
	checked := make(map[string]bool)
	for _, c := range checks {
		if excluded[c.Scenario] {
			continue
		}
		judged = append(judged, c)
		checked[c.Scenario] = checked[c.Scenario] || c.Status == suite.Success
	}
	failed := func(scenario, problem string) {
		judged = append(judged, suite.Check{Scenario: scenario, ID: checkID, Name: "Client", Status: suite.Failure, Error: problem})
	}
	for _, scenario := range required {
		if excluded[scenario] {
			continue
		}
		err, ran := outcomes[scenario]
		switch {
		case err != nil:
			failed(scenario, err.Error())
		case !ran:
			failed(scenario, "The suite did not run the client.")
		case !checked[scenario]:
			failed(scenario, "The suite found nothing good.")
		}
	}
	for _, scenario := range slices.Sorted(maps.Keys(excluded)) {
		if !slices.Contains(required, scenario) {
			failed(scenario, "It is not in the requirement set: take it out of excluded.yaml.")
		}
	}
	return judged
}
