// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestTreeUsage: the CPU time of a child counts as its parent's, while it runs and after it ended.
func TestTreeUsage(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `i=0; (while [ $i -lt 100000 ]; do i=$((i+1)); done); echo half
		(while :; do i=$((i+1)); done) & echo started; wait`)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	if _, err := io.ReadFull(stdout, make([]byte, len("half\nstarted\n"))); err != nil {
		t.Fatal(err)
	}
	first, err := treeUsage(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if first.CPU == 0 || first.RSS == 0 {
		t.Errorf("got %+v, want the CPU time of the child that has ended, and memory", first)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		now, err := treeUsage(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if now.CPU >= first.CPU+50*time.Millisecond {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %v after %v, want more: a child is running", now.CPU, first.CPU)
		}
	}
}

func TestParseStat(t *testing.T) {
	const tail = " S 7 3 4 5 6 7 8 9 10 11 100 20 3 4 20 0 1 0 12 13 250 18"
	tests := []struct {
		name, line string
		want       process
		fails      bool
	}{
		{"plain", "42 (go)" + tail, process{pid: 42, parent: 7, ticks: 127, pages: 250}, false},
		{"command with spaces and parentheses", "42 (a) (b c) S)" + tail, process{pid: 42, parent: 7, ticks: 127, pages: 250}, false},
		{"short", "42 (go) S 7", process{}, true},
		{"no command", "42 go S 7", process{}, true},
		{"no number", "42 (go) S x" + tail[4:], process{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.fails || (!tt.fails && got != tt.want) {
				t.Errorf("got %+v, %v; want %+v, error: %t", got, err, tt.want, tt.fails)
			}
		})
	}
	if _, err := treeUsage(1 << 30); err == nil {
		t.Error("got no error for a process that does not exist")
	}
}

func TestDescriptionErrors(t *testing.T) {
	tests := []struct {
		name, description, want string
	}{
		{"no JSON", `{`, "read system"},
		{"unknown field", `{"nmae":"x"}`, "nmae"},
		{"missing field", `{"name":"x"}`, "required"},
		{"no such program", `{"name":"x","command":["/no/such/program"],"url":"http://127.0.0.1:1/","tool":"t"}`, "no such file"},
		{"ends at once", `{"name":"x","command":["/bin/sh","-c","echo last words; exit 3"],"ready":"http://127.0.0.1:{port:1}/","url":"http://127.0.0.1:1/","tool":"t"}`, "last words"},
		{"setup fails", `{"name":"x","command":["/bin/sleep","60"],"setup":[["/bin/sh","-c","echo why >&2; exit 1"]],"url":"http://127.0.0.1:1/","tool":"t"}`, "why"},
		{"template missing", `{"name":"x","command":["/bin/sleep","60"],"templates":{"{dir}/none":"{data}/x"},"url":"http://127.0.0.1:1/","tool":"t"}`, "template"},
		{"url without port", `{"name":"x","command":["/bin/sleep","60"],"url":"http://127.0.0.1/","tool":"t"}`, "want http://host:port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "system.json")
			if err := os.WriteFile(file, []byte(tt.description), 0o600); err != nil {
				t.Fatal(err)
			}
			config, err := ReadDescription(file, "/root", "http://127.0.0.1:1/mcp")
			if err == nil {
				_, err = config.Start(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if config != nil && config.data != "" {
				if _, err := os.Stat(config.data); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the folder %s is left: %v", config.data, err)
				}
			}
		})
	}
}

// TestPenstockDescription: the description that `make bench` uses can be read and filled in.
func TestPenstockDescription(t *testing.T) {
	config, err := ReadDescription("../systems/penstock.json", "/root", "http://127.0.0.1:1234/mcp")
	if err != nil {
		t.Fatal(err)
	}
	config.values["data"] = t.TempDir()
	target := filepath.Join(config.values["data"], "bench.yaml")
	for source := range config.Templates {
		if err := config.writeTemplate(source, target); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(`"http://127.0.0.1:1234/mcp"`)) || bytes.Contains(text, []byte("{upstream}")) {
		t.Errorf("the upstream's URL is not filled in:\n%s", text)
	}
}
