// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// Bounds of what a server takes.
const (
	maxHeader  = 160 << 10 // a client's, and a principal
	maxStreams = 1024      // of one connection; a peer opens another beyond that
	maxServed  = 16384     // requests of all peers
)

// ServerConfig is what a [Server] needs.
type ServerConfig struct {
	Self ident.Workload
	TLS  tlsx.Source
	// Refuse returns a fault for a peer that was banned; nil refuses nobody.
	Refuse func(ident.Workload) error
	// Draining reports whether this node shuts down.
	Draining func() bool
	// Serve answers a request of a client that another node has let in (edge). It checks anew what the principal may use.
	Serve func(w http.ResponseWriter, r *http.Request, c Carried)
	Log   *slog.Logger
}

// Server takes requests that other nodes forward. It is safe for concurrent use.
type Server struct {
	cfg     ServerConfig
	tls     *tls.Config
	serving atomic.Int64
}

// NewServer returns a server. The faults are those of tlsx.Server.
func NewServer(c ServerConfig) (*Server, error) {
	if c.TLS == nil || c.Serve == nil || c.Draining == nil || c.Log == nil || c.Self.Role != ident.RoleNode {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "a forward server needs all parts of its Config")
	}
	if c.Refuse == nil {
		c.Refuse = func(ident.Workload) error { return nil }
	}
	config, err := tlsx.Server(c.TLS, c.Self.TrustDomain, ident.RoleNode)
	if err != nil {
		return nil, fmt.Errorf("set up mutual TLS for other nodes: %w", err)
	}
	s := &Server{cfg: c, tls: config}
	verify := config.VerifyConnection
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verify(cs); err != nil {
			return err
		}
		_, err := s.peer(&cs)
		return err
	}
	return s, nil
}

// HTTP returns the HTTP server to run.
func (s *Server) HTTP() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler: s, TLSConfig: s.tls, MaxHeaderBytes: maxHeader, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * idleTime,
		Protocols: protocols,
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		ErrorLog:  slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelDebug),
	}
}

// peer returns who is at the other end, if it may be there: a node of this region that was not banned.
func (s *Server) peer(cs *tls.ConnectionState) (ident.Workload, error) {
	if cs == nil {
		return ident.Workload{}, fault.New(fault.Unauthenticated, tlsx.ReasonPeer, "The peer showed no certificate.")
	}
	w, err := tlsx.Peer(*cs)
	if err != nil {
		return w, err
	}
	if w.Region != s.cfg.Self.Region {
		return w, fault.New(fault.Denied, tlsx.ReasonPeer, "The peer is a node of another region.").Because(fmt.Errorf("%s", w))
	}
	return w, s.cfg.Refuse(w)
}

// hop is in the context of requests that came from a node.
type hop struct{}

// ServeHTTP answers one forwarded request. A connection may be older than a ban, so the peer is looked at each time.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer, err := s.peer(r.TLS)
	if err != nil {
		s.refuse(w, r, http.StatusForbidden, err)
		return
	}
	c, err := carried(r, peer)
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	if s.cfg.Draining() && !held(c.Why) {
		s.refuse(w, r, http.StatusServiceUnavailable, draining())
		return
	}
	defer s.serving.Add(-1)
	if s.serving.Add(1) > maxServed {
		s.refuse(w, r, http.StatusServiceUnavailable, busy())
		return
	}
	for _, name := range []string{headerFrom, headerWhy, headerGateway, headerPrincipal} {
		r.Header.Del(name)
	}
	s.cfg.Serve(w, r.WithContext(context.WithValue(r.Context(), hop{}, hop{})), c)
}

// carried reads what came with a request. The node that it names as its origin is the one that the certificate names.
func carried(r *http.Request, peer ident.Workload) (c Carried, err error) {
	one := func(name string) string {
		if values := r.Header[name]; len(values) == 1 {
			return values[0]
		}
		return ""
	}
	c = Carried{From: one(headerFrom), Why: one(headerWhy), GatewayUID: one(headerGateway)}
	if c.From != peer.Name || !isReason(c.Why) || c.GatewayUID == "" || len(r.Header["Authorization"]) > 0 {
		return c, refused(errMarker)
	}
	if c.Principal, err = decodePrincipal(one(headerPrincipal)); err != nil {
		return c, refused(err)
	}
	return c, nil
}

// refuse answers in place of the edge. The node that asked makes its client's answer of it.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, status int, err error) {
	s.cfg.Log.WarnContext(r.Context(), "forwarded request refused", obs.Fault(err))
	w.Header().Set(headerFault, fault.From(err).Reason)
	w.WriteHeader(status)
}
