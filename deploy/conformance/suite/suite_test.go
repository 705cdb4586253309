// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pretend makes a suite of a shell script, which finds its output folder in the last argument.
func pretend(t *testing.T, script string) *Suite {
	t.Helper()
	program := filepath.Join(t.TempDir(), "suite.sh")
	if err := os.WriteFile(program, []byte(`for out; do :; done; `+script), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Suite{node: "/bin/sh", program: program, preload: "/nonexistent"}
}

const report = `mkdir -p "$out/$1"; echo '[{"id":"i","name":"n","status":"FAILURE","errorMessage":" wrong "},{"id":"j","name":"m","status":"SUCCESS"}]' >"$out/$1/checks.json"; `

func TestRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "an out")
	if err := os.MkdirAll(filepath.Join(out, "server-old-2026-01-01T00-00-00-000Z"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := pretend(t, report+`echo "$PLACE"; exit 1`)
	got, err := s.Run(t.Context(), Run{Args: []string{"server-tools-list-2026-11-28T19-07-27-477Z"}, Env: []string{"PLACE=here"}, Out: out, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := []Check{
		{Scenario: "tools-list", ID: "i", Name: "n", Status: Failure, Error: "wrong"}, {Scenario: "tools-list", ID: "j", Name: "m", Status: Success},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(out, logFile)); err != nil || string(text) != "here\n" {
		t.Errorf("log %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(out, "server-old-2026-01-01T00-00-00-000Z")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was in the folder is there still: %v", err)
	}
}

// TestLines: whoever listens gets whole lines while the suite runs, and the log has everything.
func TestLines(t *testing.T) {
	out := t.TempDir()
	s := pretend(t, report+`printf 'one\n\ntw'; while ! [ -e "$out/go" ]; do :; done; printf 'o\nthree'`)
	var got []string
	_, err := s.Run(t.Context(), Run{Args: []string{"server-x-2026-11-28T19-07-27-477Z"}, Out: out, Timeout: time.Minute, Line: func(line string) {
		got = append(got, line)
		if line == "" { // the suite waits for what the listener does
			if err := os.WriteFile(filepath.Join(out, "go"), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "", "two"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(out, logFile)); err != nil || string(text) != "one\n\ntwo\nthree" {
		t.Errorf("log %q, %v", text, err)
	}
}

func TestScenarioNames(t *testing.T) {
	for folder, want := range map[string]string{
		"server-server-initialize-2026-11-28T19-07-27-232Z":   "server-initialize",
		"server-json-schema-2020-12-2026-11-28T19-07-27-232Z": "json-schema-2020-12",
		"auth/basic-cimd-2026-11-28T19-07-27-232Z":            "auth/basic-cimd",
		"tools_call-2026-11-28T19-07-27-232Z":                 "tools_call",
	} {
		got, err := pretend(t, report).Run(t.Context(), Run{Args: []string{folder}, Out: t.TempDir(), Timeout: time.Minute})
		if err != nil || got[0].Scenario != want {
			t.Errorf("%s: %v %v, want scenario %s", folder, got, err, want)
		}
	}
}

func TestRunErrors(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"no check", "exit 3", "made no check"},
		{"no JSON", `mkdir -p "$out/a-2026-11-28T19-07-27-232Z"; echo '[' >"$out/a-2026-11-28T19-07-27-232Z/checks.json"`, "read the checks"},
		{"folder of no scenario", `mkdir "$out/a"; echo '[]' >"$out/a/checks.json"`, "named after a scenario"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pretend(t, tt.script).Run(t.Context(), Run{Out: t.TempDir(), Timeout: time.Minute})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestTimeout: a suite that hangs ends with all of its children.
func TestTimeout(t *testing.T) {
	out := t.TempDir()
	_, err := pretend(t, `sleep 600 & echo $! >"$out/child"; wait`).Run(t.Context(), Run{Out: out, Timeout: 300 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline", err)
	}
	text, err := os.ReadFile(filepath.Join(out, "child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for alive(child) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the child of the suite is running")
		}
	}
}

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ") && syscall.Kill(pid, 0) == nil
}

func TestFind(t *testing.T) {
	if _, err := Find(t.TempDir()); err == nil || !strings.Contains(err.Error(), "make clients") {
		t.Errorf("got %v, want what installs the suite", err)
	}
}
