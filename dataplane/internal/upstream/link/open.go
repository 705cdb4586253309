// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/sseclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Speech is how to speak to an upstream.
type Speech struct {
	Version wire.Version
	SSE     bool // HTTP+SSE
}

// Errors inside the faults of [Engine.Open].
var (
	// ErrEra: the answer contradicts what was thought of the upstream.
	ErrEra = errors.New("the upstream is of another era")
	// ErrModern: the upstream speaks 2026-07-28, as its refusal shows.
	ErrModern = errors.New("the upstream is modern")
)

// Open opens a legacy session: initialize, then notifications/initialized. The
// upstream may answer another legacy version than the one asked for. If it knows
// no POST, HTTP+SSE is tried (M-2 step 3).
func (e *Engine) Open(ctx context.Context, to *httpclient.Endpoint, t *peer.Target, sp Speech, purpose Purpose) (*Session, peer.ServerInfo, error) {
	ses := &Session{e: e, to: to, target: *t, kinds: peer.KindsOf(t.Capabilities), purpose: purpose, ended: make(chan struct{})}
	ses.box.Owner = ses
	if sp.SSE {
		return ses.openSSE(ctx, sp.Version)
	}
	a, err := ses.initialize(ctx, sp.Version)
	if err != nil {
		return nil, peer.ServerInfo{}, err
	}
	if a.Result != nil {
		return ses.opened(ctx, a)
	}
	if f := era.OfRefusedInitialize(a.Answer); f.Conclusion != era.NoServer {
		return nil, peer.ServerInfo{}, notInitialized(t, a)
	}
	ses, info, err := ses.openSSE(ctx, sp.Version)
	if err != nil {
		return nil, peer.ServerInfo{}, noServer(t, a, err)
	}
	return ses, info, nil
}

// openSSE opens the stream of an HTTP+SSE server, and a session on it.
func (ses *Session) openSSE(ctx context.Context, v wire.Version) (*Session, peer.ServerInfo, error) {
	if err := ses.connect(ctx); err != nil {
		return nil, peer.ServerInfo{}, err
	}
	a, err := ses.initialize(ctx, v)
	if err == nil && a.Result == nil {
		err = notInitialized(&ses.target, a)
	}
	if err != nil {
		ses.Hush()
		return nil, peer.ServerInfo{}, err
	}
	opened, info, err := ses.opened(ctx, a)
	if err != nil {
		ses.Hush()
	}
	return opened, info, err
}

// connect opens the stream of an HTTP+SSE server.
func (ses *Session) connect(ctx context.Context) error {
	t := &ses.target
	x := ses.e.Begin(ses.to, t, "", nil)
	defer x.Done()
	x.Own()
	x.Patience()
	conn, err := sseclient.Open(ctx, ses.e.life, &x.Exchange, t.URL, x.Timeout)
	if err != nil {
		return noStream(ctx, t, err)
	}
	ses.conn = conn
	if !ses.e.spawn(ses.run) {
		conn.Discard()
		return t.Unreachable().Because(httpclient.ErrClosed)
	}
	return nil
}

// opened completes the session that an answered initialize began.
func (ses *Session) opened(ctx context.Context, a exchange.Answer) (*Session, peer.ServerInfo, error) {
	t := &ses.target
	info, err := ReadInfo(t, a.Result)
	if err != nil {
		return nil, peer.ServerInfo{}, err
	}
	if info.Version.Era() != wire.Legacy {
		return nil, peer.ServerInfo{}, t.Garbage("initialize names a version that is none of the sessions' versions")
	}
	ses.version, info.SSE = info.Version, ses.conn != nil
	if ses.conn == nil && visibleASCII(a.Session) {
		ses.id = a.Session
	}
	fields, _ := wire.Fields(nil, info.Capabilities) // none if it declares nothing
	ses.logging = wire.Lookup(fields, "logging").Present()
	ses.ready.Store(true)
	if err := ses.Tell(ctx, wire.AppendNotification(nil, "notifications/initialized", nil)); err != nil {
		return nil, peer.ServerInfo{}, err
	}
	return ses, info, nil
}

// initialize sends initialize and nothing else.
func (ses *Session) initialize(ctx context.Context, v wire.Version) (exchange.Answer, error) {
	if v.Era() != wire.Legacy {
		v = wire.LatestLegacy
	}
	t := &ses.target
	x := ses.e.Begin(ses.to, t, "", nil)
	defer x.Done()
	if ses.conn != nil {
		x.ses, x.To, x.Listen = ses, ses.conn.Endpoint, true
	}
	x.Patience()
	params := wire.AppendString([]byte(`{"protocolVersion":`), string(v))
	params = append(params, `,"capabilities":`...)
	if len(t.Capabilities) > 0 {
		params = append(params, t.Capabilities...)
	} else {
		params = append(params, `{}`...)
	}
	params = append(append(params, `,"clientInfo":`...), ses.e.clientInfo...)
	x.SetParams(append(params, '}'))
	a, err := x.Send(ctx, "initialize")
	if err != nil {
		return a, NotSent(t, Failed(ctx, t, err))
	}
	return a, nil
}

// ReadInfo reads the result of initialize or server/discover.
func ReadInfo(t *peer.Target, result []byte) (peer.ServerInfo, error) {
	var m wire.Message
	if err := wire.ScanResult(result, &m); err != nil {
		return peer.ServerInfo{}, t.Garbage("its description of itself is broken").Because(err)
	}
	version, _ := wire.DecodeString(m.R.ProtocolVersion.Of(result))
	instructions, _ := wire.DecodeString(m.R.Instructions.Of(result))
	info := peer.ServerInfo{
		Version: wire.Version(version), Instructions: instructions,
		Capabilities: m.R.Capabilities.Of(result), ServerInfo: m.R.ServerInfo.Of(result),
	}
	if info.ServerInfo == nil {
		info.ServerInfo = m.Meta.ServerInfo.Of(result)
	}
	if !wire.IsObject(info.Capabilities) {
		info.Capabilities = nil
	}
	return info, nil
}

// visibleASCII reports whether s may be a session id.
func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 1024
}
