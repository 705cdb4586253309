// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// npmServer is how one server of clients/upstreams.json is started over one transport.
type npmServer struct {
	Command string
	Args    []string
	Env     map[string]string
	URL     string
	Ready   string // "stream: words it says there when it listens"
}

func clientsDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("clients")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal("the npm packages of deploy/e2e/clients are missing: run make clients")
	}
	return dir
}

// readNPM reads how to start a server, with the port and the data folder filled in.
func readNPM(t *testing.T, name, transport, port, data string) npmServer {
	t.Helper()
	dir := clientsDir(t)
	text, err := os.ReadFile(filepath.Join(dir, "upstreams.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]map[string]npmServer
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("upstreams.json: %v", err)
	}
	s, ok := all[name][transport]
	if !ok {
		t.Fatalf("upstreams.json has no %s over %s", name, transport)
	}
	fill := strings.NewReplacer("{port}", port, "{clients}", dir, "{data}", data).Replace
	for i, arg := range s.Args {
		if s.Args[i] = fill(arg); strings.HasSuffix(arg, "js") {
			s.Args[i] = filepath.Join(dir, s.Args[i])
		}
	}
	for name, value := range s.Env {
		s.Env[name] = fill(value)
	}
	s.URL = fill(s.URL)
	return s
}

// startNPM starts a server that listens for a transport, http or sse, waits until it says so, and returns its URL. It ends with the test.
func startNPM(t *testing.T, name, transport string) (url string) {
	t.Helper()
	s := readNPM(t, name, transport, freePort(t), t.TempDir())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // it ends in the clean-up
	command := exec.CommandContext(ctx, s.Command, s.Args...)
	command.Dir, command.Env, command.WaitDelay = clientsDir(t), environment(s.Env), 5*time.Second
	pipe := command.StderrPipe
	stream, words, _ := strings.Cut(s.Ready, ": ")
	if stream == "stdout" {
		pipe = command.StdoutPipe
	}
	out, err := pipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		announce := sync.OnceFunc(func() { close(ready) })
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if strings.Contains(lines.Text(), words) {
				announce()
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = command.Wait() // it was killed
	})
	await(t, name+" to listen", ready)
	return s.URL
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		t.Fatal(err)
	}
	return port
}

func environment(more map[string]string) []string {
	env := os.Environ()
	for name, value := range more {
		env = append(env, name+"="+value)
	}
	return env
}

// node runs a program of the clients folder to its end and returns its standard output; what it says on standard error is
// shown if it ends with anything but one of the statuses allowed.
func node(t *testing.T, stdin io.Reader, env map[string]string, allowed []int, args ...string) string {
	t.Helper()
	command := exec.CommandContext(within(t, 2*time.Minute), "node", args...)
	command.Dir, command.Env, command.Stdin, command.WaitDelay = clientsDir(t), environment(env), stdin, 5*time.Second
	var out, diagnostics strings.Builder
	command.Stdout, command.Stderr = &out, &diagnostics
	err := command.Run()
	if err != nil && !slices.Contains(allowed, command.ProcessState.ExitCode()) {
		t.Fatalf("node %s: %v\n%s%s", args[0], err, out.String(), diagnostics.String())
	}
	return out.String()
}
