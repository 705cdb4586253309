// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// A machine is what a figure was measured on, and how.
type machine struct {
	Time       string   `json:"time"` // RFC 3339
	Commit     string   `json:"commit"`
	CPU        string   `json:"cpu"`
	CPUs       int      `json:"cpus"`
	GOMAXPROCS int      `json:"gomaxprocs"`
	Kernel     string   `json:"kernel"`
	Go         string   `json:"go"`
	LoadBefore string   `json:"load_before"` // 1, 5, 15 minutes
	LoadAfter  string   `json:"load_after"`
	Rounds     int      `json:"rounds"`
	DurationMS int64    `json:"duration_ms"`
	Smoke      bool     `json:"smoke"`
	Systems    []string `json:"systems,omitempty"` // descriptions of further systems
}

// describeMachine is called before anything is started.
func describeMachine(ctx context.Context, s settings) *machine {
	return &machine{
		Time:       time.Now().UTC().Format(time.RFC3339),
		Commit:     commit(ctx, s.Root),
		CPU:        cpuModel(),
		CPUs:       runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		Kernel:     firstLine("/proc/sys/kernel/osrelease"),
		Go:         runtime.Version(),
		LoadBefore: loadAverage(),
		Rounds:     s.Rounds,
		DurationMS: s.Duration.Milliseconds(),
		Smoke:      s.Smoke,
		Systems:    s.Systems,
	}
}

// finish is called when everything has been measured.
func (m *machine) finish() { m.LoadAfter = loadAverage() }

// print writes it for people.
func (m *machine) print(w io.Writer) {
	fmt.Fprintf(w, "%s · %d CPUs (GOMAXPROCS %d) · Linux %s · %s · commit %s\n", m.CPU, m.CPUs, m.GOMAXPROCS, m.Kernel, m.Go, m.Commit)
	fmt.Fprintf(w, "%s · %d rounds of %d ms · load average before %s, after %s\n", m.Time, m.Rounds, m.DurationMS, m.LoadBefore, m.LoadAfter)
	if m.Smoke {
		fmt.Fprintln(w, "smoke run: every system answered rightly; these figures mean nothing")
	}
}

// commit is the short name of the commit, with a mark if the work tree differs.
func commit(ctx context.Context, root string) string {
	out, err := exec.CommandContext(ctx, "git", "-C", root, "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func loadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg"))
	return strings.Join(fields[:min(3, len(fields))], " ")
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func cpuModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
