// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
)

// Goal P-7 of performance.md: the first call on a new session less a steady one.
const goalFirstMS = 3.0

// enough is how many callers a figure needs.
const enough = 50

// result is the figures of one run.
type result struct {
	Callers int    `json:"callers"`
	Kinds   []kind `json:"kinds"`
	Rooms   []room `json:"rooms"`

	Allocations []allocation `json:"allocations"`
}

// writeTable prints a line for each figure.
func (r *result) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value, goal string, met bool) {
		verdict := ""
		if goal != "" && r.Callers >= enough {
			verdict = map[bool]string{true: "met", false: "MISSED"}[met]
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, value, goal, verdict) // Flush tells
	}
	row("figure", "value", "", false)
	for _, k := range r.Kinds {
		goal := ""
		if k.gateway == plain {
			goal = "≤ 3 ms"
		}
		row("P-7 first call of a new caller less a steady one, "+k.Name, fmt.Sprintf("%.2f ms (%.2f − %.2f)", k.AddedMS, k.FirstMS, k.SteadyMS), goal, k.AddedMS <= goalFirstMS)
	}
	for _, one := range r.Rooms {
		row(one.Name, microseconds(one.NS), one.goal, one.NS <= one.goalNS)
	}
	for _, a := range r.Allocations {
		goal := ""
		if a.goal > 0 {
			goal = fmt.Sprintf("≤ %.0f", a.goal)
		}
		row(a.Name, fmt.Sprintf("%.1f", a.Count), goal, a.Count <= a.goal)
	}
	return t.Flush()
}

func microseconds(ns float64) string { return fmt.Sprintf("%.2f µs", ns/1000) }

// write writes first.json.
func (r *result) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "first.json"), append(text, '\n'), 0o600)
}
