// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/deploy/conformance/client"
	"github.com/penstockhq/penstock/deploy/conformance/gate"
	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// commandClient is the argument with which the suite starts this program as a client.
const commandClient = "client"

// clientLeg is one row of the table in which the suite is the upstream: it looks at the node as a client.
type clientLeg struct {
	gate.Leg
	set     string // what is required, which says what the upstream speaks
	version string // what the client of the gateway speaks
}

// clientLegs are all there are. A failure is a defect in each of them, also where the eras differ: the servers are the suite's,
// and the client can do what they ask for.
func clientLegs() []clientLeg {
	return []clientLeg{
		{gate.Leg{Name: "client-legacy"}, legacy, legacy},
		{gate.Leg{Name: "client-modern"}, modern, modern},
		{gate.Leg{Name: "client-legacy-to-modern"}, modern, legacy},
		{gate.Leg{Name: "client-modern-to-legacy"}, legacy, modern},
	}
}

// authorization counts the checks of each scenario in which the client gets access tokens.
func authorization(checks []suite.Check) map[string]count {
	of := make(map[string][]suite.Check)
	for _, c := range checks {
		if strings.HasPrefix(c.Scenario, "auth/") {
			of[c.Scenario] = append(of[c.Scenario], c)
		}
	}
	counts := make(map[string]count, len(of))
	for scenario, checks := range of {
		counts[scenario] = countOf(checks)
	}
	return counts
}

// runClient runs the client scenarios of a requirement set. There is nothing to compare with: what is not good is a difference.
func (c *conformance) runClient(ctx context.Context, l clientLeg, excepted gate.Exceptions) (_ result, err error) {
	excluded, err := client.Excluded(l.set)
	if err != nil {
		return result{}, err
	}
	required, err := c.suite.ClientScenarios(l.set)
	if err != nil {
		return result{}, err
	}
	site, err := client.Start(ctx, client.Config{Publisher: c.penstock, Protector: c.penstock, Version: l.version, Excluded: excluded})
	if err != nil {
		return result{}, err
	}
	defer func() { err = errors.Join(err, site.Stop()) }()
	environment, err := site.Environment()
	if err != nil {
		return result{}, err
	}
	checks, err := c.suite.Run(ctx, suite.Run{
		Args: []string{"client", "--command", client.Command(commandClient), "--requirements", l.set},
		Env:  environment, Out: filepath.Join(c.Out, l.Name), Timeout: c.Timeout,
	})
	if err != nil {
		return result{}, err
	}
	checks = client.Judged(required, checks, excluded, site.Outcomes())
	return result{
		Leg: l.Name, Set: l.set, Upstream: ofSuite, Protocol: "auto", Client: l.version, Excluded: slices.Sorted(maps.Keys(excluded)),
		Gateway: countOf(checks), Verdict: excepted.Judge(l.Leg, nil, checks), Authorization: authorization(checks),
	}, nil
}
