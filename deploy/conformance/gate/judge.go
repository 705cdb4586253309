// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// Leg is one requirement set at one upstream, run directly and through a gateway.
type Leg struct {
	// Name is how exceptions call it.
	Name string
	// Cross says that client and upstream are of different eras, so that the gateway translates.
	Cross bool
	// Complete says that the upstream has everything that the suite looks for: what fails on both sides counts too.
	Complete bool
}

// Exception says of a leg that a check may come out worse, and why.
type Exception struct {
	// Leg is the leg's name.
	Leg string
	// Check is "scenario", for all checks of it, or "scenario:check id".
	Check string
	// Reason is for people who wonder whether it is a defect.
	Reason string
}

// covers reports whether the entry is about the check. One for a whole scenario says nothing about the form of messages: that
// is right or wrong whatever the scenario is after.
func (e Exception) covers(d Difference) bool {
	return e.Check == d.Scenario && d.ID != idSchema || e.Check == d.Scenario+":"+d.ID
}

// idSchema is the check of every message against the schema of its revision.
const idSchema = "wire-schema-valid"

// Exceptions are all there are.
type Exceptions []Exception

// ReadExceptions reads a YAML list of {leg, checks, reason}, where several checks may have one reason. Each entry needs a leg of
// legs, a check and a reason; two entries for one check are an error.
func ReadExceptions(text []byte, legs []Leg) (Exceptions, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var entries []struct {
		Leg    string   `yaml:"leg"`
		Checks []string `yaml:"checks"`
		Reason string   `yaml:"reason"`
	}
	if err := d.Decode(&entries); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the exceptions: %w", err)
	}
	var all Exceptions
	var wrong []error
	seen := make(map[[2]string]int)
	for i, e := range entries {
		if !slices.ContainsFunc(legs, func(leg Leg) bool { return leg.Name == e.Leg }) {
			wrong = append(wrong, fmt.Errorf("exception %d: there is no leg %q", i+1, e.Leg))
		}
		if len(e.Checks) == 0 || slices.Contains(e.Checks, "") || strings.TrimSpace(e.Reason) == "" {
			wrong = append(wrong, fmt.Errorf("exception %d: a check and a reason are required", i+1))
		}
		for _, check := range e.Checks {
			all = append(all, Exception{e.Leg, check, e.Reason})
			seen[[2]string{e.Leg, check}]++
		}
	}
	for _, e := range all {
		scenario, _, one := strings.Cut(e.Check, ":")
		if one && seen[[2]string{e.Leg, scenario}] > 0 {
			wrong = append(wrong, fmt.Errorf("%s in leg %s is covered by the entry for its scenario", e.Check, e.Leg))
		}
		if seen[[2]string{e.Leg, e.Check}] > 1 {
			wrong = append(wrong, fmt.Errorf("%s in leg %s is there twice", e.Check, e.Leg))
		}
	}
	return all, errors.Join(wrong...)
}

// Verdict is the judgement on one leg.
type Verdict struct {
	// Differences are the checks that are worse through the gateway, and in a complete leg those that fail on both sides.
	Differences []Difference `json:"differences"`
	// Stale are the exceptions that cover nothing any more.
	Stale []string `json:"stale,omitempty"`
}

// Judge compares the two runs of a leg. In a leg of one era an exception covers no failure: that is a defect, whatever anybody
// says about it.
func (all Exceptions) Judge(leg Leg, direct, gateway []suite.Check) Verdict {
	v := Verdict{Differences: Compare(direct, gateway)}
	if leg.Complete {
		v.Differences = append(v.Differences, Failures(direct, gateway)...)
	}
	for _, e := range all {
		if e.Leg != leg.Name {
			continue
		}
		used := false
		for i := range v.Differences {
			d := &v.Differences[i]
			if e.covers(*d) && (leg.Cross || d.Gateway != suite.Failure) {
				d.Reason, used = e.Reason, true
			}
		}
		if !used {
			v.Stale = append(v.Stale, e.Check)
		}
	}
	return v
}

// Err is nil if the leg passes: every difference is covered and no exception is stale.
func (v Verdict) Err() error {
	var wrong []error
	open := 0
	for _, d := range v.Differences {
		if d.Reason == "" {
			open++
		}
	}
	if open > 0 {
		wrong = append(wrong, fmt.Errorf("%d checks are worse through the gateway", open))
	}
	for _, check := range v.Stale {
		wrong = append(wrong, fmt.Errorf("the exception for %s covers nothing: remove it", check))
	}
	return errors.Join(wrong...)
}
