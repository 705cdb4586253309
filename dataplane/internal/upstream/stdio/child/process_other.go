// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package child

import "syscall"

// ownGroup puts a process into a group of its own, so that it can be ended with all it started.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the end of the process and kills what is left of its group. Here it can only do so right after the
// process id has become free.
func (p *Process) reap() error {
	err := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // there may be nobody left
	p.reaped = true
	return err
}
