// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// write writes the result as JSON, beside what the suite wrote.
func write(dir string, results []result) error {
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "result.json"), append(text, '\n'), 0o600)
}

// show prints the table, and under it every check that is worse through the gateway.
func show(out io.Writer, results []result) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "leg\trequirements\tupstream\tprotocol\tpath\tpassed\tfailed\twarnings") // a Builder takes everything
	for _, r := range results {
		for _, row := range []struct {
			path string
			count
		}{{"direct", r.Direct}, {"gateway", r.Gateway}} {
			protocol := r.Protocol
			switch {
			case r.Client != "" && row.path == "direct":
				continue // the suite is the upstream
			case r.Client != "":
				row.path = "client " + r.Client
			case row.path == "direct":
				protocol = r.Set
			}
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", r.Leg, r.Set, r.Upstream, protocol, row.path, row.Passed, row.Failed, row.Warnings)
		}
	}
	_ = table.Flush()
	showAuthorization(&text, results)
	for _, r := range results {
		for _, d := range r.Verdict.Differences {
			fmt.Fprintf(&text, "\n%s: %s:%s (%s)\n", r.Leg, d.Scenario, d.ID, d.Name)
			if r.Client == "" {
				fmt.Fprintf(&text, "  %s directly, %s through the gateway\n", d.Direct, d.Gateway)
			} else {
				fmt.Fprintf(&text, "  %s\n", d.Gateway)
			}
			if d.Error != "" {
				fmt.Fprintf(&text, "  %s\n", strings.ReplaceAll(d.Error, "\n", "\n  "))
			}
			if d.Reason != "" {
				fmt.Fprintf(&text, "  expected: %s\n", strings.TrimSpace(d.Reason))
			}
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// showAuthorization prints how many checks pass in each scenario in which the client gets access tokens, by leg.
func showAuthorization(text *strings.Builder, results []result) {
	var legs []result
	scenarios := make(map[string]bool)
	for _, r := range results {
		if len(r.Authorization) == 0 {
			continue
		}
		legs = append(legs, r)
		for scenario := range r.Authorization {
			scenarios[scenario] = true
		}
	}
	if len(legs) == 0 {
		return
	}
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(table, "\nscenario, checks passed")
	for _, r := range legs {
		_, _ = fmt.Fprint(table, "\t", r.Leg)
	}
	for _, scenario := range slices.Sorted(maps.Keys(scenarios)) {
		_, _ = fmt.Fprint(table, "\n", scenario)
		for _, r := range legs {
			c, ran := r.Authorization[scenario]
			cell := "-"
			if ran {
				cell = fmt.Sprintf("%d of %d", c.Passed, c.Passed+c.Failed+c.Warnings)
			}
			_, _ = fmt.Fprint(table, "\t", cell)
		}
	}
	_, _ = fmt.Fprintln(table)
	_ = table.Flush()
}

// judge is nil if every leg passes.
func judge(results []result) error {
	var wrong []error
	if len(results) == 0 {
		wrong = append(wrong, errors.New("no leg has run"))
	}
	for _, r := range results {
		if err := r.err(); err != nil {
			wrong = append(wrong, fmt.Errorf("leg %s: %w", r.Leg, err))
		}
	}
	return errors.Join(wrong...)
}
