// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// drain is how long the pipes are read after the end of the process. What it wrote is in them already; a descendant that
// left the group may hold the other ends for ever.
const drain = time.Second

// Process is a running program. Its methods are safe for concurrent use.
type Process struct {
	// In is its standard input, Out its standard output: pipes, with deadlines.
	In, Out *os.File

	diag   *os.File // its standard error
	cmd    *exec.Cmd
	exited chan struct{}

	mu     sync.Mutex // guards what follows
	reaped bool       // its id may belong to somebody else
}

// Start starts the program. Its owner must call [Process.Wait], and let [Process.CopyErrors] run beside it.
func Start(s *Spec) (*Process, error) {
	path, err := s.path()
	if err != nil {
		return nil, err
	}
	env, err := s.environ()
	if err != nil {
		return nil, err
	}
	ps, err := newPipes()
	if err != nil {
		return nil, err
	}
	p := &Process{In: ps.in, Out: ps.out, diag: ps.diag, exited: make(chan struct{}), cmd: &exec.Cmd{
		Path: path, Args: append([]string{path}, s.Args...), Env: env, Dir: s.Dir,
		Stdin: ps.childIn, Stdout: ps.childOut, Stderr: ps.childErr, SysProcAttr: ownGroup(),
	}}
	if err := p.cmd.Start(); err != nil {
		ps.close()
		return nil, err
	}
	for _, f := range []*os.File{ps.childIn, ps.childOut, ps.childErr} {
		_ = f.Close() // the process has its own
	}
	return p, nil
}

// Wait returns when the process has ended and what was left of its group is killed: with the text of its exit, for example
// "exit status 1". Out can be read for a second more.
func (p *Process) Wait() string {
	err := p.reap()
	close(p.exited)
	_ = p.Out.SetReadDeadline(time.Now().Add(drain))  // it may be closed already
	_ = p.diag.SetReadDeadline(time.Now().Add(drain)) // it may be closed already
	if p.cmd.ProcessState == nil {
		return err.Error()
	}
	return p.cmd.ProcessState.String()
}

// Exited is closed when Wait has seen the end.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// CopyErrors writes what the process writes to standard error to w, until there is no more.
func (p *Process) CopyErrors(w io.Writer) {
	_, _ = io.Copy(w, p.diag) // it ends with the pipe
}

// Close closes our ends of the pipes.
func (p *Process) Close() {
	for _, f := range []*os.File{p.In, p.Out, p.diag} {
		_ = f.Close() // it may be closed already
	}
}

// Stop ends the process: its input is closed; unless it ends within grace its group gets SIGTERM, and after grace once more
// SIGKILL. It returns when the process has ended or the last signal was sent.
func (p *Process) Stop(grace time.Duration) {
	_ = p.In.Close() // it may have been closed by Close
	for _, next := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		timer := time.NewTimer(grace)
		select {
		case <-p.exited:
			timer.Stop()
			return
		case <-timer.C:
			p.signal(next)
		}
	}
}

// Kill kills the group at once.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

func (p *Process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, s) // it may just have ended
	}
}

// pipes are the standard streams of a process: our ends, and its own.
type pipes struct{ in, out, diag, childIn, childOut, childErr *os.File }

func newPipes() (ps pipes, err error) {
	for _, pair := range []struct{ read, write **os.File }{{&ps.childIn, &ps.in}, {&ps.out, &ps.childOut}, {&ps.diag, &ps.childErr}} {
		if *pair.read, *pair.write, err = os.Pipe(); err != nil {
			ps.close()
			return pipes{}, errors.Join(errors.New("make a pipe"), err)
		}
	}
	return ps, nil
}

func (ps pipes) close() {
	for _, f := range []*os.File{ps.in, ps.out, ps.diag, ps.childIn, ps.childOut, ps.childErr} {
		_ = f.Close() // nil or unused: there is nothing to lose
	}
}
