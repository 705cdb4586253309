// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// LocalEndpoint is the endpoint of the node stream for a node or an authserver in the same process, together with
// [ControlPlane.Local] or [ControlPlane.LocalAuthserver].
const LocalEndpoint = "passthrough:///controlplane.local"

// localNode is the identity of a node in the same process.
func localNode(trustDomain string) ident.Workload {
	return ident.Workload{TrustDomain: trustDomain, Role: ident.RoleNode, Name: "local"}
}

// localAuthserver is the identity of an authserver in the same process.
func localAuthserver(trustDomain string) ident.Workload {
	return ident.Workload{TrustDomain: trustDomain, Role: ident.RoleAuthserver, Name: "local"}
}

// Local returns what a node in the same process dials [LocalEndpoint] with. No certificate is involved: whoever has it is
// the node "local".
func (p *ControlPlane) Local() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(p.local.dial),
		grpc.WithTransportCredentials(enroll.Local(localNode(p.c.TLS.TrustDomain))),
	}
}

// LocalAuthserver returns what an authserver in the same process dials [LocalEndpoint] with: for the node stream, for
// PublishRevocations and for penstock.directory.v1. No certificate is involved: whoever has it is the authserver "local".
func (p *ControlPlane) LocalAuthserver() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithContextDialer(p.localAuth.dial),
		grpc.WithTransportCredentials(enroll.Local(localAuthserver(p.c.TLS.TrustDomain))),
	}
}

// listening is what the control plane listens on; nil is off.
type listening struct{ admin, nodes, ops net.Listener }

// listen opens the listeners first of all, because a port in use is what goes wrong most often.
func (p *ControlPlane) listen(closers *run.Closers) (l listening, err error) {
	for _, one := range []struct {
		at            *net.Listener
		addr, setting string
	}{
		{&l.admin, p.c.Admin.Listen, "admin.listen"},
		{&l.nodes, p.c.Nodes.Listen, "nodes.listen"},
		{&l.ops, p.c.Ops.Listen, "ops.listen"},
	} {
		if one.addr == "" {
			continue
		}
		opened, err := run.Listen(one.addr, one.setting)
		if err != nil {
			return listening{}, err
		}
		*one.at = opened
		closers.Add(one.setting, func(context.Context) error { return closeListener(opened) })
	}
	return l, nil
}

// closeListener closes a listener that its server has closed already, unless starting failed before.
func closeListener(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// localListener is a net.Listener whose connections are pipes in memory.
type localListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newLocalListener() *localListener {
	return &localListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *localListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *localListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *localListener) Addr() net.Addr { return localAddr{} }

func (l *localListener) dial(ctx context.Context, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type localAddr struct{}

// Network implements net.Addr.
func (localAddr) Network() string { return "memory" }

// String implements net.Addr.
func (localAddr) String() string { return "local" }
