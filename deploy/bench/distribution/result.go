// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
)

// result is the figures of one measurement.
type result struct {
	Time      string  `json:"time"` // RFC 3339
	CPUs      int     `json:"cpus"`
	Go        string  `json:"go"`
	Nodes     int     `json:"nodes"`
	Real      int     `json:"whole_nodes"` // of them; the others share what they hold
	Catalogue string  `json:"catalogue"`
	Seconds   float64 `json:"steady_seconds"`
	Rate      int     `json:"changes_per_second"`
	Procs     int     `json:"control_plane_gomaxprocs"`
	// Agreed says that all nodes ended with equal digests.
	Agreed bool `json:"agreed"`

	Steady       distribution `json:"commit_to_every_node_ms"`
	Denial       distribution `json:"denial_under_burst_ms"`
	BurstChanges int          `json:"burst_changes"`
	BurstSeconds float64      `json:"burst_last_node_seconds"`
	CPUPerChange float64      `json:"control_plane_cpu_ms_per_change"` // admin write included

	FlipBytes     float64 `json:"visibility_flip_bytes_per_node"`
	DescribeBytes float64 `json:"assignment_edit_bytes_per_node"`
	ProposeBytes  float64 `json:"tool_change_proposed_bytes_per_node"`
	EditBytes     float64 `json:"tool_edit_bytes_per_node"` // accepted, with the new definition
	IdleRead      float64 `json:"idle_read_bytes_per_second"`
	IdleWritten   float64 `json:"idle_written_bytes_per_second"`

	ControlAlone proc.Memory `json:"control_plane_without_nodes"`
	Control      proc.Memory `json:"control_plane_with_nodes"`
	ControlPeak  proc.Memory `json:"control_plane_at_the_end"` // of the process that was started for the resync
	Fleet        proc.Memory `json:"nodesim"`
	Node         proc.Memory `json:"node"`

	RestartSeconds   float64 `json:"control_plane_start_seconds"`
	ResyncSeconds    float64 `json:"resync_seconds"`        // from the start of the new control plane to the last node at head
	ResyncBytes      float64 `json:"resync_bytes_per_node"` // TLS payload and records, without the handshake
	HandshakeBytes   float64 `json:"handshake_bytes_per_node"`
	ColdFirst        int     `json:"cold_start_first_nodes"`
	ColdFirstSeconds float64 `json:"cold_start_first_seconds"` // until so many had everything, while all started
	ColdSeconds      float64 `json:"cold_start_seconds"`
	ColdBytes        float64 `json:"cold_start_bytes_per_node"`
	DiskSeconds      float64 `json:"node_from_disk_seconds"`
	DiskCPUSeconds   float64 `json:"node_from_disk_cpu_seconds"`
	WritesPerSecond  float64 `json:"admin_transactions_per_second"` // with the fleet following
	WritesAlone      float64 `json:"admin_transactions_per_second_without_nodes"`
	BatchedPerSecond float64 `json:"admin_resources_per_second_batched,omitempty"` // only of a run that filled the control plane
}

// distribution is a sample, in milliseconds.
type distribution struct {
	Count  int       `json:"count"`
	P50    float64   `json:"p50"`
	P99    float64   `json:"p99"`
	P999   float64   `json:"p999"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // in order
}

func distributionOf(values []float64) distribution {
	if len(values) == 0 {
		return distribution{}
	}
	slices.Sort(values)
	at := func(q float64) float64 { return values[min(len(values)-1, int(q*float64(len(values))))] }
	return distribution{len(values), at(0.5), at(0.99), at(0.999), values[len(values)-1], values}
}

func newResult(s settings, c synthetic.Catalogue) *result {
	return &result{
		Time: time.Now().UTC().Format(time.RFC3339), CPUs: runtime.NumCPU(), Go: runtime.Version(), Nodes: s.Nodes, Real: s.Real, Catalogue: c.String(),
		Seconds: s.For.Seconds(), Rate: s.Rate, Procs: s.Procs, ColdFirst: s.someNodes(),
	}
}

// writeFiles writes the figures and the plot.
func (r *result) writeFiles(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o750),
		os.WriteFile(filepath.Join(dir, "distribution.json"), append(text, '\n'), 0o600),
		os.WriteFile(filepath.Join(dir, "distribution.svg"), []byte(r.plot()), 0o600))
}

// line is one figure next to its goal, of distribution.md section 12, column D.
type line struct {
	name  string
	value float64
	unit  string
	goal  float64 // 0 for none
	least bool    // the goal is a lower bound
}

func (l line) verdict() string {
	switch {
	case l.goal == 0:
		return ""
	case l.least && l.value >= l.goal, !l.least && l.value <= l.goal:
		return "ok"
	}
	return "MISSED"
}

func (l line) bound() string {
	switch {
	case l.goal == 0:
		return ""
	case l.least:
		return fmt.Sprintf("≥ %.0f %s", l.goal, l.unit)
	}
	return fmt.Sprintf("≤ %g %s", l.goal, l.unit)
}

const mebibyte = 1 << 20

func (r *result) lines() []line {
	rss := func(m proc.Memory) float64 { return float64(m.RSS) / mebibyte }
	list := []line{
		{"commit → every node, p50", r.Steady.P50, "ms", 150, false},
		{"commit → every node, p99", r.Steady.P99, "ms", 750, false},
		{"commit → every node, p99.9", r.Steady.P999, "ms", 2000, false},
		{"denial under the burst → every node, p99", r.Denial.P99, "ms", 1000, false},
		{fmt.Sprintf("burst of %d changes → last node", r.BurstChanges), r.BurstSeconds, "s", 15, false},
		{"visibility flip, per node", r.FlipBytes, "B", 300, false},
		{"assignment edit, per node", r.DescribeBytes, "B", 0, false},
		{"tool change proposed, per node", r.ProposeBytes, "B", 0, false},
		{"tool edit, per node", r.EditBytes, "B", 1000, false},
		{"idle, read per node", r.IdleRead, "B/s", 64, false},
		{"idle, written per node", r.IdleWritten, "B/s", 0, false},
		{"control plane RSS, without nodes", rss(r.ControlAlone), "MiB", 0, false},
		{"control plane RSS, with nodes", rss(r.Control), "MiB", 600, false},
		{"control plane RSS, at the end", rss(r.ControlPeak), "MiB", 600, false},
		{"control plane CPU per change, write included", r.CPUPerChange, "ms", 0, false},
		{"nodesim RSS, at its highest", float64(r.Fleet.Peak) / mebibyte, "MiB", 0, false},
		{"node RSS, whole catalogue", rss(r.Node), "MiB", 350, false},
		{"control plane start to ready", r.RestartSeconds, "s", 0, false},
		{"resync of all nodes after kill -9", r.ResyncSeconds, "s", 10, false},
		{"resync, per node", r.ResyncBytes, "B", 1024, false},
		{"its TLS handshake, per node", r.HandshakeBytes, "B", 0, false},
		{fmt.Sprintf("cold start of %d nodes: the first %d", r.Nodes, r.ColdFirst), r.ColdFirstSeconds, "s", 60, false},
		{"cold start: all", r.ColdSeconds, "s", 0, false},
		{"cold start, per node", r.ColdBytes / mebibyte, "MiB", 0, false},
		{"node start from disk to first call", r.DiskSeconds, "s", 1, false},
		{"the same in CPU time", r.DiskCPUSeconds, "s", 0, false},
		{"admin writes, all nodes following", r.WritesPerSecond, "tx/s", 150, true},
		{"admin writes, no nodes", r.WritesAlone, "tx/s", 150, true},
	}
	if r.BatchedPerSecond > 0 {
		list = append(list, line{"admin writes, batched", r.BatchedPerSecond, "resources/s", 0, false})
	}
	return list
}

// writeTable writes the figures next to their goals.
func (r *result) writeTable(w io.Writer) error {
	_, _ = fmt.Fprintf(w, "%d nodes, %d of them whole, %s; %d changes in %.0f s; %d CPUs for everything, GOMAXPROCS %d for the control plane\n",
		r.Nodes, r.Real, r.Catalogue, r.Steady.Count, r.Seconds, r.CPUs, r.Procs) // Flush tells
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "figure\tvalue\tgoal\t") // Flush tells
	for _, l := range r.lines() {
		_, _ = fmt.Fprintf(t, "%s\t%s %s\t%s\t%s\n", l.name, figure(l.value), l.unit, l.bound(), l.verdict()) // Flush tells
	}
	return t.Flush()
}

func figure(v float64) string {
	if v < 10 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
