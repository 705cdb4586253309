// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// startTimeout is how long a system may take until it can be called.
const startTimeout = 60 * time.Second

// A System is something that runs and can be called.
type System struct {
	Name      string
	Endpoint  Endpoint
	Workloads map[string]bool // names of those it can do; nil: all
	child     *child
}

// Can reports whether the system takes part in a workload, by its name.
func (s *System) Can(workload string) bool { return s.Workloads == nil || s.Workloads[workload] }

// Usage is what the system's process tree has used.
func (s *System) Usage() (Usage, error) { return treeUsage(s.child.cmd.Process.Pid) }

// Stop asks the system to end, kills what is left after 10 s, and removes its folder.
func (s *System) Stop() { s.child.stop() }

// An Endpoint is where a system is called.
type Endpoint struct {
	Host  string // host:port
	Path  string
	Token string // bearer token; empty: none is sent
	Tool  string // name of the echo tool there
}

// URL is the endpoint's URL.
func (e Endpoint) URL() string { return "http://" + e.Host + e.Path }

// A child is a process that we started, with a process group of its own.
type child struct {
	cmd  *exec.Cmd
	name string
	held io.Closer     // closed after its end
	done chan struct{} // closed when it has ended
	err  error         // how, after done
}

// startChild starts a command and waits for it in the background.
func startChild(name string, cmd *exec.Cmd, held io.Closer) (*child, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{cmd: cmd, name: name, held: held, done: make(chan struct{})}
	go func() {
		c.err = cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

// stop asks the process to end, kills its group after 10 s, and waits for it.
func (c *child) stop() {
	group := -c.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL) // what is left of the group
	<-c.done
	_ = c.held.Close()
}

// StartOwn starts one of our own servers: `bench serve KIND UPSTREAM`, this same program.
func StartOwn(ctx context.Context, name, kind, upstream string) (*System, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	cmd := exec.CommandContext(ctx, program, "serve", kind, upstream)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c, err := startChild(name, cmd, stdin)
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err == nil {
		var e Endpoint
		if e, err = NewEndpoint(strings.TrimSpace(line), "", "echo"); err == nil {
			return &System{Name: name, Endpoint: e, child: c}, nil
		}
	}
	c.stop()
	return nil, fmt.Errorf("start %s: no URL: %w", name, errors.Join(err, c.err))
}

// NewEndpoint makes an endpoint of an absolute http URL with a port.
func NewEndpoint(address, token, tool string) (Endpoint, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Endpoint{}, fmt.Errorf("url %q: %w", address, err)
	}
	if u.Scheme != "http" || u.Port() == "" {
		return Endpoint{}, fmt.Errorf("url %q: want http://host:port/path", address)
	}
	return Endpoint{Host: u.Host, Path: u.RequestURI(), Token: token, Tool: tool}, nil
}
