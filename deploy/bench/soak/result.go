// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
)

// Goals of performance.md section 2, in bytes.
const (
	goalSession    = 1 << 10  // P-5
	goalConnection = 20 << 10 // P-5
	goalStream     = 8 << 10  // P-6
)

// enough is from how many sessions on the cost of one can be told: below, what is made once weighs too much.
const enough = 1000

// tolerance is how much more the end may hold than the beginning: what is measured is not quite still.
const tolerance = 0.05

// result is the figures of one run.
type result struct {
	Time      string    `json:"time"` // RFC 3339
	Sessions  int       `json:"sessions"`
	Before    reading   `json:"before"`       // no session yet
	Idle      reading   `json:"idle"`         // each session was called once and has an upstream session; no stream is open
	Connected reading   `json:"connected"`    // each session has an idle connection besides
	Readings  []reading `json:"readings"`     // each session has a stream on that connection
	Calls     int       `json:"calls"`        // while the streams were open
	Lost      int       `json:"streams_lost"` // that ended by themselves
}

// perSession is the live memory of an idle session with its upstream session, in bytes.
func (r *result) perSession() int64 { return (r.Idle.Live - r.Before.Live) / int64(r.Sessions) }

// perConnection is the live memory of an idle connection, in bytes.
func (r *result) perConnection() int64 {
	return (r.Connected.Live - r.Idle.Live) / int64(r.Sessions)
}

// perStream is what an open stream adds to its connection, in bytes.
func (r *result) perStream() int64 {
	return (r.first().Live - r.Connected.Live) / int64(r.Sessions)
}

// first is the reading growth is counted from: the second one, when the first calls through open streams are over.
func (r *result) first() reading { return r.Readings[min(1, len(r.Readings)-1)] }

func (r *result) last() reading { return r.Readings[len(r.Readings)-1] }

// growth returns an error for each figure that grew.
func (r *result) growth() error {
	var errs []error
	check := func(what string, before, after int64) {
		if float64(after) > float64(before)*(1+tolerance) {
			errs = append(errs, fmt.Errorf("%s grew from %d to %d", what, before, after))
		}
	}
	check("goroutines", r.first().Goroutines, r.last().Goroutines)
	check("live memory", r.first().Live, r.last().Live)
	if r.Lost > 0 {
		errs = append(errs, fmt.Errorf("%d streams ended by themselves", r.Lost))
	}
	return errors.Join(errs...)
}

func (r *result) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value, goal string, met bool) {
		verdict := ""
		if goal != "" {
			verdict = map[bool]string{true: "met", false: "MISSED"}[met]
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", name, value, goal, verdict) // Flush tells
	}
	row("figure", "value", "", false)
	row("sessions with an open stream", fmt.Sprintf("%d for %.0f s, %d calls meanwhile", r.Sessions, r.last().Seconds, r.Calls), "", false)
	if r.Sessions >= enough {
		row("P-5 memory of an idle session with one upstream session", fmt.Sprintf("%d bytes", r.perSession()), "≤ 1 KiB", r.perSession() <= goalSession)
		row("P-5 memory of an idle connection", fmt.Sprintf("%d bytes", r.perConnection()), "≤ 20 KiB", r.perConnection() <= goalConnection)
		row("P-6 memory of an open stream, without its connection", fmt.Sprintf("%d bytes", r.perStream()), "≤ 8 KiB", r.perStream() <= goalStream)
	}
	row("goroutines, first and last", fmt.Sprintf("%d, %d", r.first().Goroutines, r.last().Goroutines), "no growth", r.growth() == nil)
	row("live memory, first and last", mebibytes(r.first().Live)+", "+mebibytes(r.last().Live), "no growth", r.growth() == nil)
	row("RSS, first and last", mebibytes(r.first().RSS)+", "+mebibytes(r.last().RSS), "", false)
	return t.Flush()
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// write writes soak.json and soak.svg.
func (r *result) write(dir string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "soak.json"), append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "soak.svg"), []byte(r.plot()), 0o600)
}

// plot draws live memory and goroutines over time, each as a share of its largest value.
func (r *result) plot() string {
	const left, top, width, height = 60.0, 50.0, 680.0, 220.0
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12" fill="#222">`+"\n", left+width+30, top+height+60)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%.0f" y="24" font-size="15" font-weight="bold">%d sessions with open streams</text>`+"\n", left, r.Sessions)
	fmt.Fprintf(&b, `<path d="M%.0f %.0fV%.0fH%.0f" fill="none" stroke="#222"/>`+"\n", left, top, top+height, left+width)
	lines := []struct {
		name, color string
		value       func(reading) float64
	}{
		{"live memory, MiB", "#2f6fde", func(x reading) float64 { return float64(x.Live) / (1 << 20) }},
		{"goroutines", "#d98e48", func(x reading) float64 { return float64(x.Goroutines) }},
	}
	for i, line := range lines {
		highest := 0.0
		for _, x := range r.Readings {
			highest = max(highest, line.value(x))
		}
		var points strings.Builder
		for _, x := range r.Readings {
			fmt.Fprintf(&points, "%.1f,%.1f ", left+width*x.Seconds/max(1, r.last().Seconds), top+height*(1-line.value(x)/highest*0.9))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", points.String(), line.color)
		fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" fill="%s">%s: %.1f at the end, %.1f at most</text>`+"\n",
			left, top+height+22+float64(i)*18, line.color, line.name, line.value(r.last()), highest)
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" text-anchor="end">%.0f s</text>`+"\n</svg>\n", left+width, top+height+16, r.last().Seconds)
	return b.String()
}
