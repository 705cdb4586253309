// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/child"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	whyStopping = "the node is stopping"
	notStarted  = "is not started any more, because the node is stopping"
)

// siteKey is what a process belongs to. print tells one set of settings from another: a change of the server's
// settings starts a new process, and the old one ends when idle.
type siteKey struct {
	key, principal, connection string
	print                      uint64
	listing                    bool // for one listing of tools, which must not ask a process of yesterday
}

// keyOf returns the site of a target.
func (p *Pool) keyOf(t *Target) siteKey {
	k := siteKey{key: t.Key, principal: t.PrincipalKey, connection: t.Connection}
	if t.Stateless {
		k.principal = ""
	}
	var h maphash.Hash
	h.SetSeed(p.seed)
	add := func(text string) {
		_, _ = h.WriteString(text) // it never fails
		_ = h.WriteByte(0)         // it never fails
	}
	add(t.Command)
	for _, a := range t.Args {
		add(a)
	}
	add("")
	for _, name := range slices.Sorted(maps.Keys(t.Env)) {
		add(name)
		add(t.Env[name])
	}
	for _, name := range slices.Sorted(maps.Keys(t.SecretEnv)) {
		add(name)
		add(t.SecretEnv[name].Reveal())
	}
	k.print = h.Sum64()
	return k
}

// site is the place of one process after another. Its fields are guarded by Pool.mu.
type site struct {
	process *process // nil if there is none that takes calls
	start   *launch  // nil if none is under way
	users   int      // calls under way or waiting for the process
	used    time.Time

	failures  int // in a row
	notBefore time.Time
	last      error
	pauses    *backoff.ExponentialBackOff
	errors    child.Ring // standard error, of all its processes
}

// launch is one start of a process, and all who wait for it.
type launch struct {
	done    chan struct{} // closed when the fields below are final
	process *process
	err     error
}

// enter counts a call in at a site, and out by the function it returns.
func (p *Pool) enter(t *Target, k siteKey) (*site, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, t.unreachable(notStarted)
	}
	s := p.sites[k]
	if s == nil {
		s = &site{pauses: backoff.NewExponentialBackOff()}
		s.pauses.InitialInterval, s.pauses.MaxInterval, s.pauses.Multiplier = p.cfg.FirstPause, p.cfg.MaxPause, 2
		p.sites[k] = s
	}
	if t.MaxConcurrent > 0 && s.users >= t.MaxConcurrent {
		return nil, nil, t.busy("has as many calls under way as its connection allows")
	}
	s.users++
	return s, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.users--
		s.used = time.Now()
		if k.listing && s.users == 0 && s.process != nil {
			p.end(s, "its tools are listed")
		}
	}, nil
}

// ready returns a process that takes calls; it starts one if there is none.
func (p *Pool) ready(ctx context.Context, s *site, t *Target) (*process, error) {
	for {
		running, l, err := p.lookup(ctx, s, t)
		if running != nil || err != nil {
			return running, err
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			return nil, t.givenUp(ctx)
		}
		if l.err != nil {
			return nil, l.err
		}
		if !l.process.ended() {
			return l.process, nil
		}
	}
}

func (p *Pool) lookup(ctx context.Context, s *site, t *Target) (*process, *launch, error) {
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

// launch starts a process and publishes it.
func (p *Pool) launch(ctx context.Context, s *site, t *Target, l *launch) {
	defer close(l.done)
	started, err := p.start(ctx, s, t)
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
	l.process, s.process, s.used = started, started, time.Now()
	if p.retire(s); s.process != nil && p.closed {
		p.end(s, whyStopping)
	}
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
	if x == nil || !x.ended() {
		return
	}
	s.process = nil
	lived := time.Since(x.started)
	p.failed(s, lived, x.cause())
	p.log.Warn("stdio server ended by itself", obs.AttrServer, x.server, obs.AttrConnection, x.connection,
		obs.AttrDuration, lived, obs.AttrAttempt, s.failures, obs.AttrError, x.cause().Error())
}

// over forgets a process of which nothing is left.
func (p *Pool) over(x *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if x.site.process == x {
		p.retire(x.site)
	}
	delete(p.processes, x)
	<-p.room
}

// end takes a process out of use and stops it. The caller holds mu.
func (p *Pool) end(s *site, why string) {
	x := s.process
	s.process = nil
	p.log.Info("stdio server ended", obs.AttrServer, x.server, obs.AttrConnection, x.connection, obs.AttrReason, why)
	x.stop(why)
}

// endAll ends the chosen processes, those included that are not ready yet. The caller holds mu.
func (p *Pool) endAll(chosen func(*process) bool, why string) {
	for x := range p.processes {
		if !chosen(x) {
			continue
		}
		if x.site.process == x {
			p.end(x.site, why)
		} else {
			x.stop(why)
		}
	}
}

// hung ends a process that does not answer, and counts it as failed.
func (p *Pool) hung(x *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := x.site; s.process == x {
		p.failed(s, time.Since(x.started), errHung)
		p.end(s, errHung.Error())
		return
	}
	x.stop(errHung.Error())
}

// stopIdle ends the processes that nobody used lately, and forgets sites without one.
func (p *Pool) stopIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := time.Now().Add(-p.cfg.Idle)
	for k, s := range p.sites {
		if s.users > 0 || s.start != nil || s.used.After(before) {
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
		if s.users == 0 && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	if oldest == nil {
		return serving < len(p.processes)
	}
	p.end(oldest, "it made room for another")
	return true
}
