// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// printTable prints the rows of one load.
func printTable(w io.Writer, rows []row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "%s, %s\n", rows[0].Workload.Title, connections(rows[0].Concurrency))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "system\tcalls/s\tp50 ms\tp99 ms\tCPU µs/call\tCPU ÷ RP\t(rounds)\tadded p50 ÷ RP\tadded p99 ÷ RP\tRSS MiB\tCPU s\t")
	for _, r := range rows {
		if r.Void != "" {
			fmt.Fprintf(table, "%s\tvoid: %s\t\n", r.System, strings.ReplaceAll(r.Void, "\n", " "))
			continue
		}
		mark := ""
		if r.cpuSeconds() < 1 {
			mark = "<1 s"
		}
		fmt.Fprintf(table, "%s\t%.0f\t%.2f\t%.2f\t%.0f\t%s\t%s\t%s\t%s\t%.0f\t%.1f %s\t\n", r.System,
			medianBy(r.Samples, func(s sample) float64 { return float64(s.Calls) / s.Elapsed.Seconds() }),
			medianBy(r.Samples, func(s sample) float64 { return milliseconds(s.P50) }),
			medianBy(r.Samples, func(s sample) float64 { return milliseconds(s.P99) }),
			medianBy(r.Samples, func(s sample) float64 { return float64(s.cpuPerCall().Nanoseconds()) / 1000 }),
			figure(r.CPURatio), spread(r.CPURatios), figure(r.AddedP50Ratio), figure(r.AddedP99Ratio),
			medianBy(r.Samples, func(s sample) float64 { return float64(s.RSS) / (1 << 20) }),
			r.cpuSeconds(), mark)
	}
	_ = table.Flush()
	fmt.Fprintln(w)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// figure prints a ratio; a dash for none.
func figure(f float64) string {
	if math.IsNaN(f) {
		return "–"
	}
	return fmt.Sprintf("%.2f", f)
}

// spread prints the smallest and the largest.
func spread(values []float64) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f–%.2f", slices.Min(values), slices.Max(values))
}

// jsonRow is a row of results.json. Ratios are null where there is none.
type jsonRow struct {
	Workload      string       `json:"workload"`
	Concurrency   int          `json:"concurrency"`
	System        string       `json:"system"`
	CPURatio      *float64     `json:"cpu_ratio"`
	AddedP50Ratio *float64     `json:"added_p50_ratio"`
	AddedP99Ratio *float64     `json:"added_p99_ratio"`
	CPUSeconds    float64      `json:"cpu_seconds"`
	Void          string       `json:"void,omitempty"`
	Rounds        []jsonSample `json:"rounds"`
}

type jsonSample struct {
	Calls     int     `json:"calls"`
	ElapsedMS float64 `json:"elapsed_ms"`
	CPUMS     float64 `json:"cpu_ms"`
	P50US     int64   `json:"p50_us"`
	P99US     int64   `json:"p99_us"`
	RSSBytes  int64   `json:"rss_bytes"`
	Bad       int     `json:"bad"`
}

// writeFiles writes results.json and a plot per workload.
func writeFiles(dir string, info *machine, rows []row) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	document := struct {
		Machine *machine  `json:"machine"`
		Rows    []jsonRow `json:"rows"`
	}{info, nil}
	plots := map[string][]row{}
	for _, r := range rows {
		document.Rows = append(document.Rows, r.json())
		plots[r.Workload.Name] = append(plots[r.Workload.Name], r)
	}
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	for name, rows := range plots {
		if err := os.WriteFile(filepath.Join(dir, name+".svg"), []byte(plot(info, rows)), 0o600); err != nil {
			return fmt.Errorf("write plot: %w", err)
		}
	}
	return nil
}

// json is the row for results.json.
func (r row) json() jsonRow {
	number := func(f float64) *float64 {
		if math.IsNaN(f) || r.Void != "" {
			return nil
		}
		return &f
	}
	j := jsonRow{
		Workload: r.Workload.Name, Concurrency: r.Concurrency, System: r.System, CPUSeconds: r.cpuSeconds(), Void: r.Void,
		CPURatio: number(r.CPURatio), AddedP50Ratio: number(r.AddedP50Ratio), AddedP99Ratio: number(r.AddedP99Ratio),
	}
	for _, s := range r.Samples {
		j.Rounds = append(j.Rounds, jsonSample{
			Calls: s.Calls, ElapsedMS: milliseconds(s.Elapsed), CPUMS: milliseconds(s.CPU),
			P50US: s.P50.Microseconds(), P99US: s.P99.Microseconds(), RSSBytes: s.RSS, Bad: s.Bad,
		})
	}
	return j
}

// connections says how many.
func connections(n int) string {
	if n == 1 {
		return "1 connection"
	}
	return fmt.Sprintf("%d connections", n)
}
