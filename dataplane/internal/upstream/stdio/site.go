// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/child"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/talk"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/turns"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

var errHung = errors.New("it does not answer")

const (
	whyStopping = "the node is stopping"
	notStarted  = "is not started any more, because the node is stopping"
)

// site is the place of one process after another. Its fields are guarded by Pool.mu.
type site struct {
	pool    *Pool
	key     siteKey
	process *talk.Talk // nil if there is none that takes calls
	start   *launch    // nil if none is under way
	users   int        // calls under way or waiting for the process
	used    time.Time
	audience
	turns turns.Turns // guards itself

	failures  int // in a row
	notBefore time.Time
	last      error
	pauses    *backoff.ExponentialBackOff
	errors    child.Ring // standard error, of all its processes
}

// launch is one start of a process, and all who wait for it.
type launch struct {
	done    chan struct{} // closed when the fields below are final
	process *talk.Talk
	live    map[string]struct{} // URIs that it is subscribed to
	err     error
}

// enter counts a call in at a site, and out by the function it returns.
func (p *Pool) enter(t *Target, k siteKey) (*site, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := p.at(t, k)
	if err != nil {
		return nil, nil, err
	}
	s.users++
	s.joined(t.Session)
	return s, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.users--
		s.used = time.Now()
		p.described(s)
	}, nil
}

// described ends the process of a description that nobody waits for any more. The caller holds mu.
func (p *Pool) described(s *site) {
	if s.key.describing && s.users == 0 && s.process != nil {
		p.end(s, "it is described")
	}
}

// at returns the site of a target. The caller holds mu.
func (p *Pool) at(t *Target, k siteKey) (*site, error) {
	if p.closed {
		return nil, t.unreachable(notStarted)
	}
	s := p.sites[k]
	if s == nil {
		s = &site{pool: p, key: k, pauses: backoff.NewExponentialBackOff(), audience: newAudience()}
		s.pauses.InitialInterval, s.pauses.MaxInterval, s.pauses.Multiplier = p.cfg.FirstPause, p.cfg.MaxPause, 2
		p.sites[k] = s
	}
	return s, nil
}

// inUse says whether the process must be kept. The caller holds mu.
func (s *site) inUse() bool { return s.users > 0 || s.start != nil || s.heard() }

// ready returns a process that takes calls; it starts one if there is none.
func (p *Pool) ready(ctx context.Context, s *site, t *Target) (*talk.Talk, error) {
	for {
		running, l, err := p.lookup(ctx, s, t)
		if running != nil || err != nil {
			return running, err
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, givenUp(ctx)
		}
		if l.err != nil {
			return nil, l.err
		}
		if !l.process.Ended() {
			return l.process, nil
		}
	}
}

func (p *Pool) lookup(ctx context.Context, s *site, t *Target) (*talk.Talk, *launch, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.retire(s)
	if s.process != nil {
		return s.process, nil, nil
	}
	if s.start != nil {
		return nil, s.start, nil
	}
	if p.closed {
		return nil, nil, t.unreachable(notStarted)
	}
	if wait := time.Until(s.notBefore); wait > 0 {
		return nil, nil, t.paused(wait, s.last)
	}
	if s.failures > 0 {
		p.restarts.Add(ctx, 1)
	}
	l := &launch{done: make(chan struct{})}
	s.start = l
	// Detached: others wait for it too. The start has time limits of its own.
	detached := context.WithoutCancel(ctx)
	p.group.Go(func() { p.launch(detached, s, t, l) })
	return nil, l, nil
}

// launch starts a process and publishes it, with the subscriptions that the one before it had.
func (p *Pool) launch(ctx context.Context, s *site, t *Target, l *launch) {
	defer close(l.done)
	started, err := p.begin(ctx, s, t)
	if err == nil {
		l.live = p.resubscribe(ctx, s, started)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.start = nil
	if err != nil {
		l.err = err
		p.failed(s, 0, err)
		p.log.WarnContext(ctx, "stdio server not started", obs.AttrServer, t.Server, obs.AttrConnection, t.Connection,
			obs.AttrAttempt, s.failures, obs.AttrError, err.Error())
		return
	}
	l.process, s.process, s.live, s.used = started, started, l.live, time.Now()
	if p.retire(s); s.process != nil && p.closed {
		p.end(s, whyStopping)
	}
	p.described(s)
}

// begin starts the process of a target and introduces the node to it. What was found out about its version is remembered.
func (p *Pool) begin(ctx context.Context, s *site, t *Target) (*talk.Talk, error) {
	known := t.Version
	memory := t.Connection + "\x00" + t.Key
	if known == "" && !s.key.describing {
		p.mu.Lock()
		known = p.versions[memory]
		p.mu.Unlock()
	}
	x, err := p.introduced(ctx, s, t, known)
	if errors.Is(err, talk.ErrExited) { // it may be a legacy server that server/discover is too much for (M-2)
		<-x.Over()
		x, err = p.introduced(ctx, s, t, wire.LatestLegacy)
	}
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.versions) >= maxVersions {
		clear(p.versions)
	}
	p.versions[memory] = x.Info().Version
	return x, nil
}

// maxVersions bounds what is remembered of servers' versions; beyond it they are asked again.
const maxVersions = 4096

// introduced starts one process. If the introduction fails the process is returned too, ended.
func (p *Pool) introduced(ctx context.Context, s *site, t *Target, known wire.Version) (*talk.Talk, error) {
	if err := p.takeRoom(ctx, t); err != nil {
		return nil, err
	}
	x, err := talk.Start(&p.talks, s, &talk.Spec{
		Process: t.process(p.cfg.Dir), To: t.peer(p.cfg.MaxMessage), Shared: t.shared(), Describing: s.key.describing, Errors: &s.errors,
	})
	if err != nil {
		<-p.room
		return nil, err
	}
	p.mu.Lock()
	p.processes[x] = s
	closed := p.closed
	p.mu.Unlock()
	if closed {
		x.Stop(whyStopping)
	}
	if err := x.Introduce(ctx, known); err != nil {
		x.Stop("it did not initialize")
		return x, err
	}
	return x, nil
}

// failed notes the failure of a process that lived for a while. After the first of a row the next start may follow at
// once: most crashes are single. The caller holds mu.
func (p *Pool) failed(s *site, lived time.Duration, why error) {
	if lived >= stableAfter {
		s.failures = 0
	}
	s.failures++
	s.last = why
	if s.failures == 1 {
		s.pauses.Reset()
		return
	}
	s.notBefore = time.Now().Add(s.pauses.NextBackOff())
}

// retire takes a process that ended by itself out of use, and counts it as failed. The caller holds mu.
func (p *Pool) retire(s *site) {
	x := s.process
	if x == nil || !x.Ended() {
		return
	}
	s.process = nil
	lived := time.Since(x.Started)
	p.failed(s, lived, x.Cause())
	server, connection := x.Names()
	p.log.Warn("stdio server ended by itself", obs.AttrServer, server, obs.AttrConnection, connection,
		obs.AttrDuration, lived, obs.AttrAttempt, s.failures, obs.AttrError, x.Cause().Error())
	p.keep(s)
}

// Over implements talk.Owner: it forgets a process of which nothing is left.
func (s *site) Over(x *talk.Talk) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.process == x {
		p.retire(s)
	}
	delete(p.processes, x)
	<-p.room
}

// Hung implements talk.Owner: it ends a process that does not answer, and counts it as failed.
func (s *site) Hung(x *talk.Talk) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.process == x {
		p.failed(s, time.Since(x.Started), errHung)
		p.end(s, errHung.Error())
		p.keep(s)
		return
	}
	x.Stop(errHung.Error())
}

// end takes a process out of use and stops it. The caller holds mu.
func (p *Pool) end(s *site, why string) {
	x := s.process
	s.process = nil
	server, connection := x.Names()
	p.log.Info("stdio server ended", obs.AttrServer, server, obs.AttrConnection, connection, obs.AttrReason, why)
	x.Stop(why)
}

// endAll ends the chosen processes, those included that are not ready yet. The caller holds mu.
func (p *Pool) endAll(chosen func(*talk.Talk) bool, why string) {
	for x, s := range p.processes {
		switch {
		case !chosen(x):
		case s.process == x:
			p.end(s, why)
		default:
			x.Stop(why)
		}
	}
}

// stopIdle ends the processes that nobody used lately, and forgets sites without one.
func (p *Pool) stopIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := time.Now().Add(-p.cfg.Idle)
	for k, s := range p.sites {
		if s.inUse() || s.used.After(before) {
			continue
		}
		if s.process != nil {
			p.end(s, "idle")
		}
		delete(p.sites, k)
	}
}

// takeRoom waits until the node may run one more process. If none may, the longest idle one is ended.
func (p *Pool) takeRoom(ctx context.Context, t *Target) error {
	select {
	case p.room <- struct{}{}:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, evictTimeout)
	defer cancel()
	if p.evict() {
		select {
		case p.room <- struct{}{}:
			return nil
		case <-ctx.Done():
		}
	}
	return t.busy("cannot be started, because the node runs as many processes as it may")
}

// evict ends the longest idle process and reports whether there was one, or one that is ending already.
func (p *Pool) evict() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	var oldest *site
	serving := 0
	for _, s := range p.sites {
		if s.process == nil {
			continue
		}
		serving++
		if !s.inUse() && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	if oldest == nil {
		return serving < len(p.processes)
	}
	p.end(oldest, "it made room for another")
	return true
}
