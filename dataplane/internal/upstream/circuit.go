// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/breaker"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/sseclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// circuitKey tells circuits apart: whatever the credential, it is one upstream.
type circuitKey struct{ connection, url string }

// circuit is the breaker of a connection's upstream (G-51).
type circuit struct {
	*breaker.Circuit
	key    circuitKey
	server string
	sites  int // that use it; guarded by Pool.mu
}

// circuitOf returns the circuit for a new site. The caller holds mu.
func (p *Pool) circuitOf(t *Target) *circuit {
	key := circuitKey{t.Connection, t.URL}
	c := p.circuits[key]
	if c == nil {
		c = &circuit{key: key, server: t.Server}
		c.Circuit = breaker.New(breaker.Config{
			Failures: p.cfg.CircuitFailures, Pause: p.cfg.CircuitPause, Changed: func(to breaker.State) { p.changed(c, to) },
		})
		p.circuits[key] = c
	}
	c.sites++
	return c
}

// forget ends a site's use of its circuit. The caller holds mu.
func (p *Pool) forget(c *circuit) {
	if c.sites--; c.sites == 0 {
		delete(p.circuits, c.key)
	}
}

// changed logs a new state. A trial is no news: it follows each pause.
func (p *Pool) changed(c *circuit, to breaker.State) {
	ctx := p.link.Life()
	switch to {
	case breaker.Open:
		f := fault.From(c.Last())
		p.log.WarnContext(ctx, "upstream keeps failing, its circuit is open", obs.AttrServer, c.server, obs.AttrConnection, c.key.connection,
			obs.AttrFaultReason, f.Reason, obs.AttrError, f.Error())
	case breaker.Closed:
		p.log.InfoContext(ctx, "upstream answers again, its circuit is closed", obs.AttrServer, c.server, obs.AttrConnection, c.key.connection)
	case breaker.HalfOpen:
	}
}

// observeCircuits makes the metric. Circuits that are closed are not shown: a
// series is a server that something is wrong with.
func (p *Pool) observeCircuits(meter metric.Meter) error {
	_, err := meter.Int64ObservableGauge(obs.MetricUpstreamCircuit,
		metric.WithDescription("Upstream circuits that are open or half open, by server."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for of, n := range p.notClosed() {
				o.Observe(n, metric.WithAttributes(attribute.String("server", of.server), attribute.String("state", string(of.state))))
			}
			return nil
		}))
	return err
}

// trouble is what the metric counts by.
type trouble struct {
	server string
	state  breaker.State
}

func (p *Pool) notClosed() map[trouble]int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	found := make(map[trouble]int64)
	for _, c := range p.circuits {
		if state := c.State(); state != breaker.Closed {
			found[trouble{c.server, state}]++
		}
	}
	return found
}

// enter lets a call to the site through its circuit. The one that comes after
// the pause of an open circuit first asks the upstream for a sign of life, so
// that no call of a client is the trial: nothing runs of what fails here.
func (p *Pool) enter(ctx context.Context, s *site, t *Target) (breaker.Pass, error) {
	pass, refusal := s.circuit.Enter()
	if refusal != nil {
		return pass, t.Down(refusal.Wait, refusal.Last)
	}
	if !pass.Trial() {
		return pass, nil
	}
	err := p.ping(ctx, s, t)
	o := outcome(ctx, err)
	s.circuit.Leave(pass, o, err)
	switch o {
	case breaker.Failed:
		return pass, t.Down(p.cfg.CircuitPause, err)
	case breaker.Nothing:
		return pass, err
	case breaker.Answered:
	}
	if pass, refusal = s.circuit.Enter(); refusal != nil {
		return pass, t.Down(refusal.Wait, refusal.Last)
	}
	return pass, nil
}

// ping asks for any answer to a request that does nothing: even a refusal shows
// that the upstream is there. By HTTP+SSE, and where the version is not known,
// that is how a session begins.
func (p *Pool) ping(ctx context.Context, s *site, t *Target) error {
	sp := speechOf(t)
	if f := s.found.Load(); f != nil && f.instead == sp {
		sp = f.use
	}
	method := "ping"
	switch {
	case sp.SSE:
		ses, _, err := p.open(ctx, s, t, sp, link.Purpose{})
		if err == nil {
			p.finish(ctx, []*link.Session{ses})
		}
		return err
	case !sp.Version.Known():
		_, err := p.reprobe(ctx, s, t)
		return err
	case sp.Version.Era() == wire.Modern:
		method = "server/discover" // there is no ping any more
	}
	x := p.link.Begin(s.to, t, sp.Version, nil)
	defer x.Done()
	x.Patience()
	if err := x.Fill(&Request{Method: method}); err != nil {
		return err
	}
	a, err := x.Send(ctx, method)
	switch {
	case err != nil:
		return link.NotSent(t, link.Failed(ctx, t, err))
	case a.Result == nil && a.Error == nil:
		return t.Refused(a.Status, true)
	}
	return nil
}

// outcome says what the end of a call tells of the upstream's transport: not
// reached, silent, broken off and 5xx are failures; every answer of the server
// itself is none, a refused credential and an unknown session included.
func outcome(ctx context.Context, err error) breaker.Outcome {
	if err == nil {
		return breaker.Answered
	}
	if ctx.Err() != nil {
		return breaker.Nothing
	}
	f := fault.From(err)
	switch f.Reason {
	case ReasonTimeout:
		return breaker.Failed
	case ReasonUnauthorized, ReasonScope, ReasonProtocol, ReasonTooLarge:
		return breaker.Answered
	case ReasonUnreachable, ReasonOutcomeUnknown:
	default:
		return breaker.Nothing
	}
	if status := statusOf(err); status > 0 {
		if status >= 500 {
			return breaker.Failed
		}
		return breaker.Answered
	}
	var e *httpclient.Error
	if errors.As(err, &e) && !errors.Is(err, httpclient.ErrClosed) {
		return breaker.Failed
	}
	return breaker.Nothing
}

// statusOf returns the HTTP status that is the cause, 0 if there is none.
func statusOf(err error) int {
	var status peer.StatusError
	var ofStream *sseclient.StatusError
	switch {
	case errors.As(err, &status):
		return int(status)
	case errors.As(err, &ofStream):
		return ofStream.Status
	}
	return 0
}
