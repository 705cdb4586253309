// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// initialize opens a legacy session: initialize, then notifications/initialized.
// v is the version to ask for; the upstream may answer another legacy one.
func (p *Pool) initialize(ctx context.Context, s *site, t *Target, v wire.Version) (*session, ServerInfo, error) {
	if v.Era() != wire.Legacy {
		v = wire.LatestLegacy
	}
	a, err := p.sendInitialize(ctx, s, t, v)
	if err != nil {
		return nil, ServerInfo{}, err
	}
	if a.Result == nil {
		return nil, ServerInfo{}, t.notInitialized(a)
	}
	return p.opened(ctx, s, t, a)
}

// opened makes the session that an answered initialize began.
func (p *Pool) opened(ctx context.Context, s *site, t *Target, a exchange.Answer) (*session, ServerInfo, error) {
	info, err := readInfo(t, a.Result)
	if err != nil {
		return nil, ServerInfo{}, err
	}
	if info.Version.Era() != wire.Legacy {
		return nil, ServerInfo{}, t.garbage("initialize names a version that is none of the sessions' versions")
	}
	ses := &session{version: info.Version, target: *t}
	if visibleASCII(a.Session) {
		ses.id = a.Session
	}
	ses.used.Store(time.Now().UnixNano())
	ready := wire.AppendNotification(nil, "notifications/initialized", nil)
	if err := p.tell(ctx, s, t, ses.version, ses, ready); err != nil {
		return nil, ServerInfo{}, err
	}
	return ses, info, nil
}

// sendInitialize sends initialize and nothing else.
func (p *Pool) sendInitialize(ctx context.Context, s *site, t *Target, v wire.Version) (exchange.Answer, error) {
	x := p.begin(s, t, "", nil)
	defer x.done()
	x.Timeout = min(x.Timeout, p.cfg.ProbeTimeout)
	params := wire.AppendString([]byte(`{"protocolVersion":`), string(v))
	params = append(append(params, `,"capabilities":{},"clientInfo":`...), p.clientInfo...)
	x.SetParams(append(params, '}'))
	a, err := x.Request(ctx, "initialize")
	if err != nil {
		return a, t.notSent(t.failed(ctx, err))
	}
	return a, nil
}

// notSent turns an unknown outcome of something that does not matter, such as
// initialize, into the fault of a server that cannot be reached.
func (t *Target) notSent(f *fault.Fault) *fault.Fault {
	if f.Reason == ReasonOutcomeUnknown {
		return t.unreachable().Because(f)
	}
	return f
}

// notInitialized is the fault for an initialize that was answered without a
// result.
func (t *Target) notInitialized(a exchange.Answer) *fault.Fault {
	if a.Error == nil || a.Credential() {
		return t.refused(a.Status, true)
	}
	cause := error(era.Error(a.Error))
	if era.NotLegacy(a.Answer) {
		cause = fmt.Errorf("%w: %w", errEra, cause)
	}
	return t.fault(fault.Unavailable, ReasonUnreachable, "refused to initialize").Because(cause)
}

// readInfo reads the result of initialize or server/discover.
func readInfo(t *Target, result []byte) (ServerInfo, error) {
	var m wire.Message
	if err := wire.ScanResult(result, &m); err != nil {
		return ServerInfo{}, t.garbage("its description of itself is broken").Because(err)
	}
	version, _ := wire.DecodeString(m.R.ProtocolVersion.Of(result))
	instructions, _ := wire.DecodeString(m.R.Instructions.Of(result))
	info := ServerInfo{
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
