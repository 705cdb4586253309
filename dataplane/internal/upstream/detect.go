// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// speechOf is what the view says about how to speak to the target.
func speechOf(t *Target) link.Speech { return link.Speech{Version: t.Version, SSE: t.SSE} }

// speech returns how to speak to the target: as a probe found, else as the view
// says, else as a probe finds now.
func (p *Pool) speech(ctx context.Context, s *site, t *Target) (link.Speech, error) {
	if f := s.found.Load(); f != nil && f.instead == speechOf(t) {
		return f.use, nil
	}
	if t.Version.Known() {
		return speechOf(t), nil
	}
	return p.reprobe(ctx, s, t)
}

// probePause is how long an answer that contradicts the version causes no new
// probe: a server that answers everything with 400 must not be probed for each.
const probePause = 30 * time.Second

func (s *site) probeDue() bool {
	return time.Now().UnixNano()-s.probed.Load() > int64(probePause)
}

// reprobe finds out how to speak to an upstream, once for all callers (M-3).
func (p *Pool) reprobe(ctx context.Context, s *site, t *Target) (link.Speech, error) {
	before := s.found.Load()
	err := s.probe.Do(ctx, func() error {
		if s.found.Load() != before {
			return nil // another caller was first
		}
		info, ses, err := p.detect(ctx, s, t, link.Purpose{})
		if err != nil {
			return err
		}
		s.probed.Store(time.Now().UnixNano())
		if ses != nil {
			p.finish(ctx, []*link.Session{ses})
		}
		s.found.Store(&finding{instead: speechOf(t), use: link.Speech{Version: info.Version, SSE: info.SSE}})
		return nil
	})
	if err != nil {
		return link.Speech{}, err
	}
	return s.found.Load().use, nil
}

// detect finds out era, version and transport of an upstream (M-2). For a legacy
// upstream it returns the session that this opened.
func (p *Pool) detect(ctx context.Context, s *site, t *Target, purpose link.Purpose) (ServerInfo, *link.Session, error) {
	ask := t.Version
	if !t.SSE {
		info, legacy, err := p.discover(ctx, s, t)
		if err != nil || legacy == "" {
			return info, nil, err
		}
		ask = legacy
	}
	ses, info, err := p.link.Open(ctx, s.to, t, link.Speech{Version: ask, SSE: t.SSE}, purpose)
	if errors.Is(err, link.ErrModern) {
		return ServerInfo{Version: wire.V20260728}, nil, nil
	}
	return info, ses, err
}

// discover is step 1: server/discover. It returns the version to ask for by
// initialize when the upstream is not modern, "" when it is.
func (p *Pool) discover(ctx context.Context, s *site, t *Target) (ServerInfo, wire.Version, error) {
	a, err := p.sendDiscover(ctx, s, t)
	f := era.OfDiscover(a.Answer)
	if err == nil && f.Conclusion == era.Broken {
		// Modern, and our request is wrong: it is corrected once.
		second := *t
		if need := era.RequiredCapabilities(a.Error); need != nil {
			second.Capabilities = need
		}
		a, err = p.sendDiscover(ctx, s, &second)
		f = era.OfDiscover(a.Answer)
	}
	if err != nil {
		f := link.Failed(ctx, t, err)
		if f.Reason == ReasonTimeout && ctx.Err() == nil || f.Reason == ReasonProtocol {
			return ServerInfo{}, wire.LatestLegacy, nil // silence, or no MCP
		}
		return ServerInfo{}, "", link.NotSent(t, f)
	}
	switch f.Conclusion {
	case era.Speaks:
		info := ServerInfo{}
		if a.Result != nil {
			info, err = link.ReadInfo(t, a.Result)
		}
		info.Version = f.Version
		return info, "", err
	case era.Refused:
		return ServerInfo{}, "", t.Refused(a.Status, true)
	case era.Broken:
		return ServerInfo{}, "", t.Garbage("it refuses server/discover").Because(era.Error(a.Error))
	case era.Foreign:
		return ServerInfo{}, "", t.Fault(fault.Unavailable, ReasonUnreachable,
			fmt.Sprintf("speaks only protocol versions %q, this node %q", f.Listed, wire.Supported()))
	default:
		return ServerInfo{}, f.Version, nil
	}
}

func (p *Pool) sendDiscover(ctx context.Context, s *site, t *Target) (exchange.Answer, error) {
	x := p.link.Begin(s.to, t, wire.V20260728, nil)
	defer x.Done()
	x.Patience()
	if err := x.Fill(&Request{Method: "server/discover"}); err != nil {
		return exchange.Answer{}, err
	}
	return x.Send(ctx, "server/discover")
}
