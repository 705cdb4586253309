// SPDX-License-Identifier: Apache-2.0

package child

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup puts a process into a group of its own, so that it can be ended with all it started, and lets the kernel kill
// it when the node dies. The kernel means the thread that started it; threads of a Go program end only with a goroutine
// that exits while locked to one, which a node has none of.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// reap waits for the end of the process and kills what is left of its group. Until a process is reaped its id, and so that
// of its group, cannot belong to another.
func (p *Process) reap() error {
	pid := p.cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break // another error means that there is nothing to wait for
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-pid, syscall.SIGKILL) // there may be nobody left
	p.reaped = true
	return p.cmd.Wait()
}
