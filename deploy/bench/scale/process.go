// SPDX-License-Identifier: Apache-2.0

package main

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

// process is one server.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   *os.File
	began time.Time
	done  chan struct{} // closed when it has ended
}

// start starts a server, which must not outlive this program.
func start(dir, name, path string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: exec.Command(path, args...), log: log, done: make(chan struct{})} //nolint:noctx // stop and kill end it
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.done)
	}()
	return p, nil
}

// stop asks the process to end and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.kill()
		return fmt.Errorf("%s did not end within %s", p.name, stopTimeout)
	}
	return p.log.Close()
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
	_ = p.log.Close() // nothing more comes
}

// until polls until ok returns nil; it gives up when the process or ctx ends, with the end of the process's log.
func (p *process) until(ctx context.Context, every time.Duration, ok func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := ok(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.name, err, tail(p.log.Name()))
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w\n%s", p.name, ctx.Err(), err, tail(p.log.Name()))
		case <-tick.C:
		}
	}
}

// ready waits for the readiness page.
func (p *process) ready(ctx context.Context, ops string) error {
	return p.until(ctx, 10*time.Millisecond, func(ctx context.Context) error {
		body, err := fetch(ctx, "http://"+ops+"/readyz")
		if err != nil {
			return fmt.Errorf("not ready: %w: %s", err, body)
		}
		return nil
	})
}

func tail(path string) []byte {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return text[max(0, len(text)-3000):]
}

// fetch gets a page; another status than 200 is an error.
func fetch(ctx context.Context, url string) ([]byte, error) {
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

// memory is what the kernel says a process holds, in bytes.
type memory struct {
	RSS  int64 `json:"rss_bytes"`
	Peak int64 `json:"peak_rss_bytes"`
}

// memory reads /proc/PID/status, see proc_pid_status(5).
func (p *process) memory() (memory, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return memory{}, err
	}
	m := memory{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		into := map[string]*int64{"VmRSS": &m.RSS, "VmHWM": &m.Peak}[name]
		if into == nil {
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("read %s of %s: %w", name, p.name, err)
		}
		*into = kilobytes << 10
	}
	if m.RSS == 0 {
		return memory{}, fmt.Errorf("%s has no memory: it ended", p.name)
	}
	return m, lines.Err()
}

// freeAddress returns a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
