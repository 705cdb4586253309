// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 20 * time.Second
)

// program is a started process. It is killed when the test ends, if it has not ended before.
type program struct {
	t              *testing.T
	name           string
	cmd            *exec.Cmd
	stdout, stderr *transcript
	done           chan struct{} // closed when the process has ended
}

// options of a program; the zero value starts it with an empty environment but for PATH and HOME.
type options struct {
	dir  string              // working directory
	env  []string            // besides PATH and HOME
	user *syscall.Credential // somebody else than who runs the tests
}

// start starts a program in a process group of its own.
func start(t *testing.T, o options, name string, args ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, stdout: newTranscript(), stderr: newTranscript(), done: make(chan struct{})}
	path := name
	if !strings.ContainsRune(name, '/') {
		path = binary(name)
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = o.dir, p.stdout, p.stderr
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}, o.env...)
	// It must not outlive the tests, whatever happens to them.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: o.user}
	// A child that keeps the pipes open must not keep the test.
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says how it ended
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s\nstdout:\n%s\nstderr:\n%s", name, p.cmd.ProcessState, p.stdout.tail(), p.stderr.tail())
		}
	})
	return p
}

// kill is kill -9, for the whole group.
func (p *program) kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // it may end at this moment
	<-p.done
}

func (p *program) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("signal %s: %v", p.name, err)
	}
}

// wait returns the exit code of a program that ends by itself.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.t.Fatalf("%s has not ended within %s", p.name, stopTimeout)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop asks the program to end and wants exit code 0.
func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(); code != 0 {
		p.t.Errorf("%s ended with exit code %d, want 0; its last words:\n%s", p.name, code, p.stderr.tail())
	}
}

// ended reports whether the process has ended.
func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// said waits until a stream holds a text.
func (p *program) said(stream *transcript, text string) {
	p.t.Helper()
	deadline := time.After(startTimeout)
	for {
		grown := stream.grown()
		if strings.Contains(stream.String(), text) {
			return
		}
		select {
		case <-grown:
		case <-p.done:
			if !strings.Contains(stream.String(), text) {
				p.t.Fatalf("%s ended (%s) before it said %q", p.name, p.cmd.ProcessState, text)
			}
		case <-deadline:
			p.t.Fatalf("%s has not said %q within %s", p.name, text, startTimeout)
		}
	}
}

// transcript keeps what a program writes.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next write
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

// Write implements io.Writer.
func (s *transcript) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(b)
	close(s.more)
	s.more = make(chan struct{})
	return len(b), nil
}

func (s *transcript) grown() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.more
}

// String returns everything so far.
func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *transcript) tail() string {
	text := s.String()
	return text[max(0, len(text)-6000):]
}

// finished is how a program ended.
type finished struct {
	code           int
	stdout, stderr string
}

// run runs a program to its end.
func run(t *testing.T, o options, name string, args ...string) finished {
	t.Helper()
	p := start(t, o, name, args...)
	return finished{code: p.wait(), stdout: p.stdout.String(), stderr: p.stderr.String()}
}

// eventually polls until ok returns nil.
func eventually(t *testing.T, within time.Duration, ok func() error) {
	t.Helper()
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("after %s: %v", within, err)
		}
	}
}

// defaultPorts are those that PENSTOCK_PORT_OFFSET shifts, and those of a second node here.
func defaultPorts() []int {
	return []int{8080, 8081, 8082, 8083, 8085, 9080, 9081, 9083, secondMCP, secondOps}
}

// freeOffset returns an offset with which all ports are free now and none is one that the kernel gives away by itself.
func freeOffset(t *testing.T) int {
	t.Helper()
	for range 200 {
		offset := 11000 + rand.IntN(12000)
		if portsAreFree(offset) {
			return offset
		}
	}
	t.Fatal("no offset with which all default ports are free")
	return 0
}

func portsAreFree(offset int) bool {
	var err error
	for _, port := range defaultPorts() {
		l, listenErr := net.Listen("tcp", address(port+offset))
		if listenErr != nil {
			err = listenErr
			break
		}
		err = errors.Join(err, l.Close())
	}
	return err == nil
}

// address is a port on loopback.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// portOffset is the variable that shifts all default ports.
func portOffset(offset int) string { return fmt.Sprintf("PENSTOCK_PORT_OFFSET=%d", offset) }
