// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, args := range [][]string{{"more"}, {"-none"}, {"-packages", "testdata/none.json"}} {
		if err := run(t.Context(), args, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: got %v, want an error", args, err)
		}
	}
}

func TestReadPackages(t *testing.T) {
	file := filepath.Join(t.TempDir(), "packages.json")
	list := make([]pkg, packagesMax+1)
	for i := range list {
		list[i] = pkg{Server: fmt.Sprintf("s%d", i), Package: "p", Version: "1"}
	}
	many, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{`:                               "unexpected end of JSON input",
		`[{"package":"p","version":"1"}]`: `"": want server (once, without / and .), package and version`,
		`[{"server":"../x","package":"p","version":"1"}]`:                                         `"../x": want server`,
		`[{"server":"x","package":"p"}]`:                                                          `"x": want server`,
		`[{"server":"x","package":"p","version":"1"},{"server":"x","package":"q","version":"1"}]`: `"x": want server (once`,
		string(many): "41 packages, at most 40",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readPackages(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	if packages, err := readPackages("../packages.json"); err != nil || len(packages) < 30 {
		t.Errorf("the packages of the repository: %d, %v", len(packages), err)
	}
}

func TestEntry(t *testing.T) {
	for name, row := range map[string]struct{ manifest, bin, want, err string }{
		"text":        {`{"bin": "./a.js"}`, "", "a.js", ""},
		"first":       {`{"bin": {"b": "b.js", "a": "a.js"}}`, "", "a.js", ""},
		"named":       {`{"bin": {"b": "b.js", "a": "a.js"}}`, "b", "b.js", ""},
		"not there":   {`{"bin": {"b": "b.js"}}`, "c", "", `the package has no command "c"`},
		"none":        {`{}`, "", "", "the package has no command"},
		"unreadable":  {`{`, "", "", "read package.json: unexpected end of JSON input"},
		"no manifest": {"", "", "", "no such file or directory"},
	} {
		root := t.TempDir()
		folder := filepath.Join(root, "node_modules", "p")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if row.manifest != "" {
			if err := os.WriteFile(filepath.Join(folder, "package.json"), []byte(row.manifest), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := entry(root, pkg{Package: "p", Bin: row.bin})
		if row.err != "" {
			if err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("%s: got %v, want %s", name, err, row.err)
			}
			continue
		}
		if err != nil || got != filepath.Join(folder, row.want) {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

// TestIntegrationRecord: a real server over stdio, its package already installed; and servers that do not answer as they should.
func TestIntegrationRecord(t *testing.T) {
	t.Setenv("RECORD_TEST", "leaked")
	out := t.TempDir()
	for _, server := range []string{"good", "crash", "empty", "deaf", "endless"} {
		if err := os.CopyFS(filepath.Join(out, "_packages", server, "node_modules", "tiny"), os.DirFS("testdata/tiny")); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "packages.json")
	text := `[{"server":"good","package":"tiny","version":"1","bin":"tiny","args":["{home}"],"env":{"KEY":"{home}/key"},"files":{"key":"x"}},
		{"server":"crash","package":"tiny","version":"1","bin":"tiny","args":["crash"]},
		{"server":"deaf","package":"tiny","version":"1","bin":"tiny","args":["deaf"]},
		{"server":"endless","package":"tiny","version":"1","bin":"tiny","args":["endless"]},
		{"server":"empty","package":"tiny","version":"1","bin":"tiny","args":["empty"]}]`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if err := run(t.Context(), []string{"-packages", file, "-out", out, "-wait", "5s"}, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	for _, want := range []string{
		"tiny: 3 tools", "left out: initialize", "left out: the server has no tools", "left out: more than 50 pages of tools", "3 tools of 1 servers", "4 left out",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, &log)
		}
	}
	var l list
	body, err := os.ReadFile(filepath.Join(out, "good.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &l); err != nil || len(l.Tools) != 3 {
		t.Fatalf("%v\n%s", err, body)
	}
	home := filepath.Join(out, "_packages", "good", "home")
	if want := "home " + home + " key x inherited undefined"; !strings.Contains(string(body), want) {
		t.Errorf("want %q in the descriptions:\n%s", want, body)
	}
	if left, err := os.ReadDir(filepath.Join(out, "_packages")); err != nil || len(left) != 0 {
		t.Errorf("packages are left behind: %v, %v", left, err)
	}
	// What is there is not recorded again: the package is gone.
	if n, err := recorded(out, pkg{Server: "good", Package: "tiny", Version: "1"}); n != 3 || err != nil {
		t.Errorf("recorded: %d, %v", n, err)
	}
	if n, err := recorded(out, pkg{Server: "good", Package: "tiny", Version: "2"}); n != 0 || err != nil {
		t.Errorf("another version: %d, %v", n, err)
	}
}
