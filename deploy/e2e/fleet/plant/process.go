// SPDX-License-Identifier: Apache-2.0

package plant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/topology"
)

const (
	startTimeout = time.Minute
	stopTimeout  = time.Minute
)

// Process is one process of the fleet. It can be started again after it ended, with the same addresses and folder.
type Process struct {
	Name     string
	Instance topology.Instance

	tb     testing.TB
	binary string
	args   []string
	env    []string
	log    string // file, of all generations
	user   *syscall.Credential
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
}

// Start starts the process and returns at once.
func (p *Process) Start() {
	p.tb.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.cmd = exec.Command(p.binary, p.args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}, p.env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: p.user}
	if err := p.cmd.Start(); err != nil {
		p.tb.Fatalf("start %s: %v", p.Name, err)
	}
	done, cmd := make(chan struct{}), p.cmd
	p.done = done
	go func() {
		_ = cmd.Wait() // the state says how it ended
		_ = log.Close()
		close(done)
	}()
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill is kill -9.
func (p *Process) Kill() {
	if p.Running() {
		_ = syscall.Kill(-p.PID(), syscall.SIGKILL) // it may end at this moment
		<-p.done
	}
}

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.tb.Errorf("signal %s: %v", p.Name, err)
	}
}

// Stop asks the process to end, waits, and returns how long that took. It must end with exit code 0.
func (p *Process) Stop() time.Duration {
	p.tb.Helper()
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(stopTimeout):
		p.tb.Errorf("%s has not ended %s after SIGTERM", p.Name, stopTimeout)
		p.Kill()
		return time.Since(began)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.tb.Errorf("%s ended with exit code %d after SIGTERM; its last words:\n%s", p.Name, code, p.Tail())
	}
	return time.Since(began)
}

// Freeze stops the process where it is, as a machine that hangs; Thaw lets it go on.
func (p *Process) Freeze() { p.tb.Helper(); p.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw() { p.tb.Helper(); p.Signal(syscall.SIGCONT) }

// Ready waits until the process is ready and returns how long that took.
func (p *Process) Ready() time.Duration {
	p.tb.Helper()
	began := time.Now()
	Eventually(p.tb, startTimeout, p.Name+" is ready", func() error {
		if !p.Running() {
			p.tb.Fatalf("%s ended (%s); its last words:\n%s", p.Name, p.cmd.ProcessState, p.Tail())
		}
		return p.ready()
	})
	return time.Since(began)
}

func (p *Process) ready() error {
	status, body := p.Page("/readyz")
	if status != http.StatusOK {
		return fmt.Errorf("%s: status %d: %s", p.Name, status, body)
	}
	return nil
}

// Page fetches a page of the ops port; 0 if nobody answers.
func (p *Process) Page(path string) (status int, body string) {
	ctx, cancel := context.WithTimeout(p.tb.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Instance.Listen["ops"]+path, http.NoBody)
	if err != nil {
		p.tb.Fatal(err)
	}
	r.Close = true
	res, err := (&http.Client{}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(text)
}

// Metric sums a metric over its labels; 0 if it is not there.
func (p *Process) Metric(name string) float64 {
	_, page := p.Page("/metrics")
	sum := 0.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(page, -1) {
		if value, err := strconv.ParseFloat(m[1], 64); err == nil {
			sum += value
		}
	}
	return sum
}

// Tail is the end of the log.
func (p *Process) Tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Eventually polls until ok returns nil, and fails the test if that takes too long.
func Eventually(tb testing.TB, within time.Duration, what string, ok func() error) {
	tb.Helper()
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
			tb.Fatalf("%s: not after %s: %v", what, within, err)
		}
	}
}

// Build builds the three servers into a folder.
func Build(dir string) error {
	const ours = "github.com/penstockhq/penstock/"
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/",
		ours+"controlplane/cmd/controlplane", ours+"dataplane/cmd/dataplane", ours+"authserver/cmd/authserver")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the binaries: %w\n%s", err, out)
	}
	return nil
}

// Help returns what a binary prints for --help.
func Help(bin string, role topology.Role) (string, error) {
	out, err := exec.Command(filepath.Join(bin, string(role)), "--help").Output()
	return string(out), err
}
