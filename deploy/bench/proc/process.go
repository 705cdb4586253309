// SPDX-License-Identifier: Apache-2.0

// Package proc runs servers as processes of a measurement, and reads what the kernel says of them.
//
// The measurements under bench use it, and deploy/conformance for its servers. It must never know what it measures.
package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end when it is asked to.
const stopTimeout = time.Minute

// Process is one server.
type Process struct {
	Name  string        // of its log file and in errors
	Began time.Time     // when it was started
	Done  chan struct{} // closed when it has ended

	cmd *exec.Cmd
	log *os.File
}

// Start starts a server, which must not outlive this program. Its log and its home are in dir.
func Start(dir, name, path string, args ...string) (*Process, error) {
	return Options{}.Start(dir, name, path, args...)
}

// Options are what few processes need.
type Options struct {
	Env  []string            // beside PATH and HOME
	User *syscall.Credential // nil: who runs this program
}

// Start is [Start] with options.
func (o Options) Start(dir, name, path string, args ...string) (*Process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{Name: name, cmd: exec.Command(path, args...), log: log, Done: make(chan struct{})} //nolint:noctx // Stop and kill end it
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	p.cmd.Env = append(p.cmd.Env, o.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: o.User}
	p.Began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.Done)
	}()
	return p, nil
}

// Stop asks the process to end and waits for it.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.Done:
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("%s did not end within %s", p.Name, stopTimeout)
	}
	return p.log.Close()
}

// Kill is kill -9.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.Done
	_ = p.log.Close() // nothing more comes
}

// Until polls until ok returns nil; it gives up when the process or ctx ends, with the end of the process's log.
func (p *Process) Until(ctx context.Context, every time.Duration, ok func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.Done:
			return fmt.Errorf("%s ended: %w\n%s", p.Name, err, tail(p.log.Name()))
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w\n%s", p.Name, ctx.Err(), err, tail(p.log.Name()))
		case <-tick.C:
		}
	}
}

// Ready waits for the readiness page.
func (p *Process) Ready(ctx context.Context, ops string) error {
	return p.Until(ctx, 10*time.Millisecond, func(ctx context.Context) error {
		body, err := Fetch(ctx, "http://"+ops+"/readyz")
		if err != nil {
			return fmt.Errorf("not ready: %w: %s", err, body)
		}
		return nil
	})
}

// Tail returns the end of the process's log.
func (p *Process) Tail() []byte { return tail(p.log.Name()) }

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return text[max(0, len(text)-3000):]
}

// Fetch gets a page; another status than 200 is an error.
func Fetch(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{}).Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return body, fmt.Errorf("status %d", response.StatusCode)
	}
	return body, nil
}

// Memory is what the kernel says a process holds, in bytes.
type Memory struct {
	RSS  int64 `json:"rss_bytes"`
	Peak int64 `json:"peak_rss_bytes"`
}

// Memory reads /proc/PID/status, see proc_pid_status(5).
func (p *Process) Memory() (Memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return Memory{}, err
	}
	m := Memory{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		into := map[string]*int64{"VmRSS": &m.RSS, "VmHWM": &m.Peak}[name]
		if into == nil {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return Memory{}, fmt.Errorf("read %s of %s: %w", name, p.Name, err)
		}
		*into = kilobytes << 10
	}
	if m.RSS == 0 {
		return Memory{}, fmt.Errorf("%s has no memory: it ended", p.Name)
	}
	return m, lines.Err()
}

// FreeAddress returns a loopback address that nobody listens on now.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
