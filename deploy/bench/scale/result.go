// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"text/tabwriter"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
)

// Goals of distribution.md section 12, on one developer machine (column D).
const (
	goalNodeRSS    = 350 << 20 // bytes
	goalControlRSS = 600 << 20 // bytes
	goalDisk       = 1.0       // seconds
)

// result is the figures of one measurement.
type result struct {
	Time     string `json:"time"` // RFC 3339
	CPUs     int    `json:"cpus"`
	Gateways int    `json:"gateways"`
	Tools    int    `json:"tools"`
	Servers  int    `json:"servers"`
	Seed     uint64 `json:"seed"`
	// BodyBytes is the mean length of a tool's definition.
	BodyBytes float64 `json:"body_bytes"`

	FillSeconds         float64 `json:"fill_seconds"`          // of making everything through the admin API, until enforced
	ControlStartSeconds float64 `json:"control_start_seconds"` // from the start to ready, everything in the database
	StreamSeconds       float64 `json:"stream_seconds"`        // from the start of an empty node to its first allowed call
	DiskWriteSeconds    float64 `json:"disk_write_seconds"`    // from the same start to the state on disk
	DiskSeconds         float64 `json:"disk_seconds"`          // from the start without a control plane to the first allowed call
	DiskCPUSeconds      float64 `json:"disk_cpu_seconds"`      // CPU time until then: other work on the machine does not count
	DiskBytes           int64   `json:"disk_bytes"`            // of the node's folder

	ControlFilled proc.Memory `json:"control_filled"` // after it was filled
	Control       proc.Memory `json:"control"`        // after a start with everything in the database
	ControlServed proc.Memory `json:"control_served"` // after it sent everything to a node
	NodeFollowed  proc.Memory `json:"node_followed"`  // after it followed the filling, change by change
	Node          proc.Memory `json:"node"`           // after a start with an empty disk
	NodeFromDisk  proc.Memory `json:"node_from_disk"` // after a start from disk
}

func newResult(s settings, c synthetic.Catalogue) *result {
	sample, bytes := min(c.Tools, 1000), 0
	for n := range sample {
		bytes += len(c.Tool(n))
	}
	return &result{
		Time: time.Now().UTC().Format(time.RFC3339), CPUs: runtime.NumCPU(), Gateways: s.Gateways, Tools: s.Tools, Servers: s.Servers,
		Seed: s.Seed, BodyBytes: float64(bytes) / float64(sample),
	}
}

func (r *result) writeJSON(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o600)
}

// writeTable writes the figures next to their goals.
func (r *result) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value, goal string, met bool) {
		verdict := ""
		if goal != "" {
			verdict = map[bool]string{true: "met", false: "MISSED"}[met]
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, value, goal, verdict) // Flush tells
	}
	rss := func(name string, m proc.Memory, goal int64) {
		text := ""
		if goal > 0 {
			text = "≤ " + megabytes(goal)
		}
		row(name, fmt.Sprintf("%s (peak %s)", megabytes(m.RSS), megabytes(m.Peak)), text, m.RSS <= goal)
	}
	row("figure", "value", "", false)
	row("catalogue", fmt.Sprintf("%d gateways, %d tools of %.0f bytes", r.Gateways, r.Tools, r.BodyBytes), "", false)
	if r.FillSeconds > 0 {
		row("filling it through the admin API", seconds(r.FillSeconds), "", false)
	}
	row("control plane start to ready", seconds(r.ControlStartSeconds), "", false)
	rss("control plane RSS, started", r.Control, goalControlRSS)
	rss("control plane RSS, after a node loaded", r.ControlServed, goalControlRSS)
	if r.FillSeconds > 0 {
		rss("control plane RSS, after it was filled", r.ControlFilled, 0)
	}
	row("node start to first call, from the stream", seconds(r.StreamSeconds), "", false)
	row("node start to state on disk", seconds(r.DiskWriteSeconds), "", false)
	row("node folder", megabytes(r.DiskBytes), "", false)
	rss("node RSS, loaded from the stream", r.Node, goalNodeRSS)
	rss("node RSS, started from disk", r.NodeFromDisk, goalNodeRSS)
	if r.FillSeconds > 0 {
		rss("node RSS, followed every change", r.NodeFollowed, 0)
	}
	row("node start to first call, from disk", fmt.Sprintf("%s (%s of CPU time)", seconds(r.DiskSeconds), seconds(r.DiskCPUSeconds)), "≤ "+seconds(goalDisk), r.DiskSeconds <= goalDisk)
	return t.Flush()
}

func megabytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

func seconds(s float64) string { return fmt.Sprintf("%.2f s", s) }
