// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

const (
	dialTime      = time.Second
	handshakeTime = 2 * time.Second
	// A peer that is silent this long is asked for a sign of life, and given up after as long again.
	pingAfter = 5 * time.Second
	idleTime  = 2 * time.Minute
	// A peer that failed this often in a row is left alone for a while.
	tripAfter = 3
	openTime  = 2 * time.Second
)

// peer is the way to one process of one node.
type peer struct {
	node      Node
	transport *http.Transport
	breaker   *gobreaker.TwoStepCircuitBreaker[struct{}]
	running   atomic.Int64 // requests
}

// newPeer makes the way to a node, whose certificate must say that it is that node, whatever answers at the address.
func newPeer(n Node, base *tls.Config, want ident.Workload, refuse func(ident.Workload) error) *peer {
	config := base.Clone()
	verify := base.VerifyConnection
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if err := verify(cs); err != nil {
			return err
		}
		got, err := tlsx.Peer(cs)
		if err != nil {
			return err
		}
		if got != want {
			return fault.New(fault.Denied, tlsx.ReasonPeer, "The peer is not the node that was asked for.").
				Because(fmt.Errorf("%s answers in place of %s", got, want))
		}
		return refuse(got)
	}
	dialer := &net.Dialer{Timeout: dialTime}
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	return &peer{
		node: n,
		transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: handshakeTime, IdleConnTimeout: idleTime,
			DisableCompression: true, Protocols: protocols,
			HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		},
		breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
			Name: "peer", MaxRequests: 1, Timeout: openTime,
			ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
			IsExcluded:  func(err error) bool { return fault.KindOf(err) == fault.Canceled },
		}),
	}
}

// allow asks the breaker and the bound on concurrent requests. done must be called once the head of the answer is there, with
// nil, or will not be; release when the request is over.
func (p *peer) allow(most int64) (done func(error), release func(), err error) {
	if p.running.Add(1) > most {
		p.running.Add(-1)
		return nil, nil, busy()
	}
	release = func() { p.running.Add(-1) }
	done, err = p.breaker.Allow()
	if err != nil {
		release()
		return nil, nil, unreachable(err)
	}
	return done, release, nil
}

// isCurrent reports whether the way still leads to the node as the registry knows it.
func (p *peer) isCurrent(n Node) bool {
	return p.node.Address == n.Address && p.node.Generation == n.Generation
}

// gone is the fault of a request whose client has left.
func gone(ctx context.Context) error {
	return fault.New(fault.Canceled, fault.ReasonCanceled, "The client has left.").Because(context.Cause(ctx))
}
