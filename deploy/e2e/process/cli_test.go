// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestCommandLine runs the scripts in testdata/cli one after the other on one fleet: what a person types, what is
// printed where, and the exit codes. Besides testscript's own commands there are:
//
//	exits CODE PROGRAM ARGUMENT…      runs a program that must end with that code
//	calls TOKEN-FILE GATEWAY TOOL STATUS   calls a tool on a gateway; the HTTP status must be that, and with 200 the answer good
//	change                            changes the tools of the upstream: see upstream.change
//	expand FILE…                      replaces $NAME in files by the variables of the script
func TestCommandLine(t *testing.T) {
	f := newFleet(t)
	f.startAll()
	open, locked := newUpstream(t, ""), newUpstream(t, "s3cret")
	changing := newUpstream(t, "")
	scripts := sequence{T: t}
	testscript.RunT(scripts, testscript.Params{
		Dir: "testdata/cli", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars,
				"PATH="+os.Getenv(binVariable)+":"+os.Getenv("PATH"), "PENSTOCK_ADDR=http://"+address(8081+f.offset),
				"PENSTOCK_TOKEN="+readFile(t, f.path("admin.token")), "URL="+open.URL, "LOCKED="+locked.URL, "CHANGING="+changing.URL,
				"GATEWAYS=http://"+address(8080+f.offset)+"/v1/mcp/", "KEY=s3cret", "HOME="+e.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"calls":  func(ts *testscript.TestScript, _ bool, args []string) { callGateway(ts, f, args) },
			"change": func(*testscript.TestScript, bool, []string) { changing.change() },
			"expand": expand,
		},
	})
}

// sequence runs subtests one after the other, where testscript would run them at once: they share a configuration.
type sequence struct{ *testing.T }

// Parallel does nothing.
func (s sequence) Parallel() {}

// Verbose implements testscript.T.
func (s sequence) Verbose() bool { return testing.Verbose() }

// Run implements testscript.T.
func (s sequence) Run(name string, script func(testscript.T)) {
	s.T.Run(name, func(t *testing.T) { script(sequence{t}) })
}

// exits is the command of that name.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d\n%s%s", strings.Join(args[1:], " "), got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// callGateway is the command calls.
func callGateway(ts *testscript.TestScript, f *fleet, args []string) {
	c := caller{token: strings.TrimSpace(ts.ReadFile(args[0])), url: f.gateway(8080, args[1])}
	a, err := c.tool(context.Background(), args[2], map[string]any{"message": "hello"})
	ts.Check(err)
	if strconv.Itoa(a.status) != args[3] || a.status == 200 && a.failed {
		ts.Fatalf("%s on %s: status %d, want %s: %s", args[2], args[1], a.status, args[3], a.body)
	}
}

// expand is the command that replaces $NAME and ${NAME} in files by variables of the script.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), func(name string) string {
			value := ts.Getenv(name)
			if value == "" {
				ts.Fatalf("%s: $%s is not set", file, name)
			}
			return value
		})
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}
