// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// errEra marks a fault as a contradiction to the era in use.
var errEra = errors.New("the upstream is of another era")

// version returns the version to use with the target: what a probe found, else
// what the view says, else what a probe finds now.
func (p *Pool) version(ctx context.Context, s *site, t *Target) (wire.Version, error) {
	if f := s.found.Load(); f != nil && f.instead == t.Version {
		return f.use, nil
	}
	if t.Version.Known() {
		return t.Version, nil
	}
	return p.reprobe(ctx, s, t)
}

// probePause is how long an answer that contradicts the version causes no new
// probe: a server that answers everything with 400 must not be probed for each.
const probePause = 30 * time.Second

func (s *site) probeDue() bool {
	return time.Now().UnixNano()-s.probed.Load() > int64(probePause)
}

// reprobe finds out the version of an upstream, once for all callers (M-3).
func (p *Pool) reprobe(ctx context.Context, s *site, t *Target) (wire.Version, error) {
	before := s.found.Load()
	err := s.probe.Do(ctx, func() error {
		if s.found.Load() != before {
			return nil // another caller was first
		}
		info, ses, err := p.detect(ctx, s, t)
		if err != nil {
			return err
		}
		s.probed.Store(time.Now().UnixNano())
		if ses != nil {
			p.background(ctx, func(ctx context.Context) { p.delete(ctx, ses) })
		}
		s.found.Store(&finding{instead: t.Version, use: info.Version})
		return nil
	})
	if err != nil {
		return "", err
	}
	return s.found.Load().use, nil
}

// detect finds out era and version of an upstream (M-2 steps 1 and 2). For a
// legacy upstream it returns the session that this opened.
func (p *Pool) detect(ctx context.Context, s *site, t *Target) (ServerInfo, *session, error) {
	info, ask, err := p.discover(ctx, s, t)
	if err != nil || ask == "" {
		return info, nil, err
	}
	a, err := p.sendInitialize(ctx, s, t, ask)
	if err != nil {
		return ServerInfo{}, nil, err
	}
	if a.Result != nil {
		ses, info, err := p.opened(ctx, s, t, a)
		return info, ses, err
	}
	switch f := era.OfRefusedInitialize(a.Answer); f.Conclusion {
	case era.Speaks:
		return ServerInfo{Version: f.Version}, nil, nil
	case era.NoServer:
		return ServerInfo{}, nil, t.fault(fault.Unavailable, ReasonUnreachable, "is not an MCP server at its URL").
			Because(fmt.Errorf("initialize: %w", statusError(a.Status)))
	default:
		return ServerInfo{}, nil, t.notInitialized(a)
	}
}

// discover is step 1: server/discover. It returns the version to ask for by
// initialize when the upstream is not modern, "" when it is.
func (p *Pool) discover(ctx context.Context, s *site, t *Target) (ServerInfo, wire.Version, error) {
	x := p.begin(s, t, wire.V20260728, nil)
	defer x.done()
	x.Timeout = min(x.Timeout, p.cfg.ProbeTimeout)
	if err := x.prepare(&Request{Method: "server/discover"}); err != nil {
		return ServerInfo{}, "", err
	}
	a, err := x.Request(ctx, "server/discover")
	if err != nil {
		f := t.failed(ctx, err)
		if f.Reason == ReasonTimeout && ctx.Err() == nil || f.Reason == ReasonProtocol {
			return ServerInfo{}, wire.LatestLegacy, nil // silence, or no MCP
		}
		return ServerInfo{}, "", t.notSent(f)
	}
	switch f := era.OfDiscover(a.Answer); f.Conclusion {
	case era.Speaks:
		info := ServerInfo{}
		if a.Result != nil {
			info, err = readInfo(t, a.Result)
		}
		info.Version = f.Version
		return info, "", err
	case era.Refused:
		return ServerInfo{}, "", t.refused(a.Status, true)
	case era.Broken:
		return ServerInfo{}, "", t.garbage("it refuses server/discover").Because(era.Error(a.Error))
	case era.Foreign:
		return ServerInfo{}, "", t.fault(fault.Unavailable, ReasonUnreachable,
			fmt.Sprintf("speaks only protocol versions %q, this node %q", f.Listed, wire.Supported()))
	default:
		return ServerInfo{}, f.Version, nil
	}
}

// maxPages bounds a list that an upstream cuts into pages (M-70).
const maxPages = 100

// ListTools asks the upstream for what it is and for all its tools, each raw,
// byte for byte, in the upstream's order. The era is probed unless t.Version is
// set (M-2). At most 100 pages are read; a cursor that comes again ends the
// list (M-70). Errors are those of [Pool.Call]; an upstream that answers
// tools/list with a JSON-RPC error is Unavailable with [ReasonProtocol].
func (p *Pool) ListTools(ctx context.Context, t Target) ([][]byte, ServerInfo, error) {
	s, err := p.site(&t)
	if err != nil {
		return nil, ServerInfo{}, err
	}
	defer s.users.Add(-1)
	info, ses, err := p.describe(ctx, s, &t)
	if err != nil {
		return nil, ServerInfo{}, err
	}
	if ses != nil {
		defer p.background(ctx, func(ctx context.Context) { p.delete(ctx, ses) })
	}
	fields, err := wire.Fields(nil, info.Capabilities)
	if err == nil && !wire.Lookup(fields, "tools").Present() {
		return nil, info, nil // it declares capabilities, and tools are none of them
	}
	l := lister{p: p, s: s, t: &t, session: ses, version: info.Version}
	tools, err := l.all(ctx)
	return tools, info, err
}

// describe asks the upstream what it is, with a session of its own if legacy.
func (p *Pool) describe(ctx context.Context, s *site, t *Target) (ServerInfo, *session, error) {
	switch t.Version.Era() {
	case wire.Legacy:
		ses, info, err := p.initialize(ctx, s, t, t.Version)
		return info, ses, err
	case wire.Modern:
		info, ask, err := p.discover(ctx, s, t)
		if err == nil && ask != "" {
			info = ServerInfo{Version: t.Version} // pinned, but it knows no discover
		}
		return info, nil, err
	case wire.Unknown:
	}
	return p.detect(ctx, s, t)
}

// lister reads the pages of tools/list.
type lister struct {
	p       *Pool
	s       *site
	t       *Target
	session *session
	version wire.Version
}

func (l *lister) all(ctx context.Context) ([][]byte, error) {
	var tools [][]byte
	var cursor []byte
	seen := make(map[string]bool)
	for range maxPages {
		page, next, err := l.page(ctx, cursor)
		if err != nil {
			return nil, err
		}
		tools = append(tools, page...)
		if next == nil || seen[string(next)] {
			break
		}
		seen[string(next)] = true
		cursor = next
	}
	return tools, nil
}

// page reads one page and returns its tools and the raw cursor of the next,
// nil at the end.
func (l *lister) page(ctx context.Context, cursor []byte) ([][]byte, []byte, error) {
	x := l.p.begin(l.s, l.t, l.version, l.session)
	defer x.done()
	var r Request
	if cursor != nil {
		r.Params = append(append([]byte(`{"cursor":`), cursor...), '}')
	}
	if err := x.prepare(&r); err != nil {
		return nil, nil, err
	}
	a, err := x.Request(ctx, "tools/list")
	if err != nil {
		return nil, nil, l.t.notSent(l.t.failed(ctx, err))
	}
	if a.Error != nil && !a.Credential() {
		return nil, nil, l.t.garbage("it refuses to list its tools").Because(era.Error(a.Error))
	}
	if a.Result == nil {
		return nil, nil, l.t.refused(a.Status, true)
	}
	var m wire.Message
	if err := wire.ScanResult(a.Result, &m); err != nil {
		return nil, nil, l.t.garbage("its list of tools is broken").Because(err)
	}
	raw := m.R.Tools.Of(a.Result)
	spans, err := wire.Elements(nil, raw)
	if err != nil {
		return nil, nil, l.t.garbage("its list of tools is no array").Because(err)
	}
	tools := make([][]byte, 0, len(spans))
	for _, s := range spans {
		tool := s.Of(raw)
		if !wire.IsObject(tool) {
			return nil, nil, l.t.garbage("one of its tools is no object")
		}
		tools = append(tools, bytes.Clone(tool))
	}
	next := m.R.NextCursor.Of(a.Result)
	if !wire.IsString(next) {
		next = nil // absent or null
	}
	return tools, next, nil
}
