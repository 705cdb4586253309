// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// LocalURL is the base URL for clients that use [Server.Local]. The name is never looked up.
const LocalURL = "http://authserver.local"

// localName is the workload name of a caller in the same process.
const localName = "local"

// Local returns a client for the credential service, through memory, as a workload of the given role in the same process.
// No certificate is involved: whoever has the client is that workload. It may be made before Run; its requests wait until
// Run serves them, or their context ends, and fail once Run has ended.
func (s *Server) Local(role ident.Role) *http.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.local[role]
	if l == nil {
		l = newLocalListener()
		s.local[role] = l
		if s.ended {
			_ = l.Close() // it has nothing to fail with
		}
	}
	return &http.Client{Transport: &http.Transport{DialContext: l.dial, IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: 4}}
}

// localRoles are the roles that may use the service.
func localRoles() []ident.Role { return []ident.Role{ident.RoleControlPlane, ident.RoleNode} }

// serveLocal serves the listeners in memory until ctx ends, each with its role's identity.
func (s *Server) serveLocal(ctx context.Context, i *inside) error {
	var tasks []run.Task
	for _, role := range localRoles() {
		s.Local(role) // so that the listener exists
		s.mu.Lock()
		l := s.local[role]
		s.mu.Unlock()
		identity := ident.Workload{TrustDomain: s.c.TLS.TrustDomain, Role: role, Name: localName}
		h, err := i.handler(credentialapi.Fixed(identity))
		if err != nil {
			return err
		}
		tasks = append(tasks, run.HTTPServer(string(role), l, s.httpServer(h), s.c.Shutdown.Drain))
	}
	return run.Group(ctx, tasks...)
}

// endLocal makes present and later clients fail instead of wait.
func (s *Server) endLocal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for _, l := range s.local {
		_ = l.Close() // it has nothing to fail with
	}
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

// Accept implements [net.Listener].
func (l *localListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *localListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *localListener) Addr() net.Addr { return localAddr{} }

func (l *localListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
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

// Network implements [net.Addr].
func (localAddr) Network() string { return "memory" }

// String implements [net.Addr].
func (localAddr) String() string { return "local" }
