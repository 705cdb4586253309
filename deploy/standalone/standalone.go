// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// Standalone is one process with everything. Run is called once.
type Standalone struct {
	c     Config
	ready chan struct{}
}

// New returns a Standalone. It reads and starts nothing.
func New(c Config) (*Standalone, error) {
	if err := c.absolute(); err != nil {
		return nil, err
	}
	return &Standalone{c: c, ready: make(chan struct{})}, nil
}

// Ready returns a channel that is closed when everything serves, the files of the data folder are written and, with
// Demo, the demo gateway answers calls.
func (s *Standalone) Ready() <-chan struct{} { return s.ready }

// Run starts the servers and, with Demo, the demo; it serves until ctx is canceled, stops cleanly and returns nil. A
// second process in the same data folder is refused.
func (s *Standalone) Run(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.c.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	unlock, err := lock(s.c.path("lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.c.checkPorts(); err != nil {
		return err
	}
	p, err := s.parts()
	if err != nil {
		return err
	}
	nodeEnded := make(chan struct{})
	tasks := []run.Task{
		outlasting(nodeEnded, run.Task{Name: "authserver", Run: p.authserver.Run}),
		outlasting(nodeEnded, run.Task{Name: "control plane", Run: p.controlplane.Run}),
		{Name: "node", Run: func(ctx context.Context) error {
			defer close(nodeEnded)
			return p.runNode(ctx)
		}},
	}
	d := &demonstration{c: s.c}
	if s.c.Demo {
		task, err := d.listen()
		if err != nil {
			return err
		}
		tasks = append(tasks, outlasting(nodeEnded, task))
	}
	tasks = append(tasks, run.Task{Name: "set-up", Run: func(ctx context.Context) error {
		return s.setUp(ctx, p, d)
	}})
	return run.Group(ctx, tasks...)
}

// outlasting returns the task such that it is stopped only when done is closed: the calls that the node finishes while it
// stops still need the servers they are sent to, and their credentials.
func outlasting(done <-chan struct{}, task run.Task) run.Task {
	return run.Task{Name: task.Name, Run: func(ctx context.Context) error {
		// Detached: the stop begins because ctx ended.
		inner, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		defer context.AfterFunc(ctx, func() {
			<-done
			stop()
		})()
		return task.Run(inner)
	}}
}

// runNode runs the node once the control plane takes nodes: in one process nothing is gained by serving before, and a
// person who starts Penstock for the first time would read of a stream that failed.
func (p parts) runNode(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-p.controlplane.Ready():
		return p.node.Run(ctx)
	}
}

// parts makes the three servers, which reach each other through memory.
func (s *Standalone) parts() (parts, error) {
	var plane *controlplane.ControlPlane
	c := withoutCredentialPort(s.c.authserver())
	// It is asked while both run. As for the node, nothing is gained by asking the control plane before it answers.
	c.DialControlPlane = func(ctx context.Context) ([]grpc.DialOption, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-plane.Ready():
			return plane.LocalAuthserver(), nil
		}
	}
	auth, err := authserver.New(c)
	if err != nil {
		return parts{}, err
	}
	control := s.c.controlplane()
	control.Credentials = auth.Local(ident.RoleControlPlane)
	plane, err = controlplane.New(control)
	if err != nil {
		return parts{}, err
	}
	n := s.c.node()
	n.Credentials, n.DialControlPlane = auth.Local(ident.RoleNode), plane.Local()
	node, err := dataplane.New(n)
	return parts{auth, plane, node}, err
}

// withoutCredentialPort turns the TLS port of the credential API off: in one process it is reached through memory.
func withoutCredentialPort(c authserver.Config) authserver.Config {
	c.Credential.Listen = ""
	return c
}

// setUp writes the files of the data folder once everything serves.
func (s *Standalone) setUp(ctx context.Context, p parts, d *demonstration) error {
	for _, ready := range []<-chan struct{}{p.controlplane.Ready(), p.node.Ready()} {
		select {
		case <-ctx.Done():
			return nil
		case <-ready:
		}
	}
	if err := s.writeEndpoints(); err != nil {
		return err
	}
	if s.c.Demo {
		if err := d.configure(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("set up the demo: %w", err)
		}
	}
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	close(s.ready)
	return nil
}

// waitReady waits until the node says that it is ready.
func (s *Standalone) waitReady(ctx context.Context) error {
	if s.c.Ops.DataPlane == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	client := oneCall()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.c.Ops.DataPlane+"/readyz", http.NoBody)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			ok := response.StatusCode == http.StatusOK
			if err := response.Body.Close(); err == nil && ok {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return errors.New("the node did not become ready within 30 s; its /readyz says why")
			}
			return nil
		case <-tick.C:
		}
	}
}

// oneCall returns a client that keeps no connection: one that is open and was never used makes a server that stops wait
// five seconds for its first request.
func oneCall() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
}

// checkPorts makes sure that every port is free before anything starts. The servers would notice too, but they know an
// address by their own settings' names, and a person needs the name of this program's.
func (c Config) checkPorts() (err error) {
	for _, one := range []struct{ addr, setting string }{
		{c.MCP.Listen, "mcp.listen"},
		{c.Admin.Listen, "admin.listen"},
		{c.Auth.Listen, "auth.listen"},
		{c.Ops.DataPlane, "ops.dataplane"},
		{c.Ops.ControlPlane, "ops.controlplane"},
		{c.Ops.Authserver, "ops.authserver"},
	} {
		if one.addr == "" {
			continue
		}
		l, listenErr := run.Listen(one.addr, one.setting)
		if listenErr != nil {
			return listenErr
		}
		// Not before the loop has ended: two settings may name one port.
		defer func() { err = errors.Join(err, l.Close()) }()
	}
	return nil
}

// lock keeps a second process out of the data folder.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		return nil, fault.Newf(fault.Precondition, "DATA_DIR_IN_USE",
			"The data folder %s is in use by another penstock-standalone: stop it, or set PENSTOCK_DATA_DIR to another folder.", path[:len(path)-len("/lock")])
	}
	return f.Close, nil
}
