// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const methodDiscover = "server/discover"

// errRefused marks an initialize that was answered with an error.
var errRefused = errors.New("it refuses initialize")

// Introduce begins the conversation, and finds out how to speak unless known is a legacy version (M-2): server/discover
// tells a modern server; any other error and silence make it a legacy one, which gets initialize on the same process. A
// modern server is asked too when its version is known: the answer says that the process is ready. Until the server answers,
// anything on its standard output is taken for noise.
//
// Errors are faults: Unavailable with UPSTREAM_UNREACHABLE or UPSTREAM_PROTOCOL. [ErrExited] may be in them.
func (x *Talk) Introduce(ctx context.Context, known wire.Version) error {
	ctx, cancel := context.WithTimeout(ctx, x.cfg.StartTimeout)
	defer cancel()
	info, err := x.meet(ctx, known)
	if err == nil {
		x.info.Store(&info)
		return nil
	}
	words := ""
	if last := x.spec.Errors.LastLine(x.spec.Process.Secrets); last != "" {
		words = "; its last words: " + last
	}
	cause := fmt.Errorf("%w%s", err, words)
	f := fault.From(err)
	switch {
	case f.Reason == peer.ReasonProtocol:
		return f.Because(cause)
	case errors.Is(err, errRefused):
		return unreachable(x.to, "refused to initialize").Because(cause)
	case x.messages.Load() == 0 && x.junk.Load() > 0:
		return x.to.Garbage(fmt.Sprintf("it wrote %d lines to standard output, none of them a message; logs belong to standard error", x.junk.Load())).
			Because(cause)
	case errors.Is(err, context.DeadlineExceeded):
		return unreachable(x.to, "did not answer within "+x.cfg.StartTimeout.String()+" of its start").Because(cause)
	default:
		return unreachable(x.to, "ended before it was ready").Because(cause)
	}
}

// meet finds out what the server is.
func (x *Talk) meet(ctx context.Context, known wire.Version) (peer.ServerInfo, error) {
	if known.Era() != wire.Legacy {
		return x.discover(ctx)
	}
	info, refusal, err := x.initialize(ctx, known)
	if err == nil && era.NotLegacy(era.Answer{Error: refusal}) { // what was known is not so any more (M-3)
		return x.discover(ctx)
	}
	return info, refused(refusal, err)
}

// refused is the error of an initialize.
func refused(refusal []byte, err error) error {
	if err == nil && refusal != nil {
		return fmt.Errorf("%w: %w", errRefused, era.Error(refusal))
	}
	return err
}

// discover sends server/discover, and initialize if the answer, or silence, says so. A server that is slow to start may
// answer both late, in that order.
func (x *Talk) discover(ctx context.Context) (peer.ServerInfo, error) {
	e := x.unhurried()
	w, err := e.send(ctx, &peer.Request{Method: methodDiscover})
	if err != nil {
		return peer.ServerInfo{}, x.exited(err)
	}
	defer e.leave(w)
	silence := time.NewTimer(min(x.cfg.ProbeTimeout, x.cfg.StartTimeout/2))
	defer silence.Stop()
	ask := wire.LatestLegacy
	select {
	case <-ctx.Done():
		return peer.ServerInfo{}, givenUp(ctx)
	case <-silence.C:
	case <-w.queue.Wake:
		info, v, err := x.discovered(e, w)
		if err != nil || v == "" {
			return info, err
		}
		ask = v
	}
	info, refusal, err := x.initialize(ctx, ask)
	if err != nil || !era.NotLegacy(era.Answer{Error: refusal}) {
		return info, refused(refusal, err)
	}
	if w.ended() {
		if info, v, err := x.discovered(e, w); err == nil && v == "" {
			return info, nil
		}
	}
	return peer.ServerInfo{Version: wire.V20260728}, nil // modern without discover (ours)
}

// exited marks the error of a process that ended by itself.
func (x *Talk) exited(err error) error {
	if x.stopped.Load() {
		return err
	}
	return errors.Join(ErrExited, err)
}

// discovered reads the answer to server/discover: what the server is, or the version to initialize with.
func (x *Talk) discovered(e *Exchange, w *pending) (info peer.ServerInfo, ask wire.Version, err error) {
	a, err := e.answer(w)
	if e.lost {
		return peer.ServerInfo{}, "", x.exited(err)
	}
	if err != nil {
		return peer.ServerInfo{}, wire.LatestLegacy, nil //nolint:nilerr // broken, or too long: no answer about the era
	}
	const badRequest = 400 // a pipe has no status; errors of the modern era count as over HTTP
	f := era.OfDiscover(era.Answer{Status: badRequest, Result: a.Raw, Error: a.Error})
	switch f.Conclusion {
	case era.Ask:
		return peer.ServerInfo{}, f.Version, nil
	case era.Foreign:
		return peer.ServerInfo{}, "", x.to.Garbage(fmt.Sprintf("it speaks %v only; this node speaks %v", f.Listed, wire.Supported()))
	case era.Speaks, era.Broken, era.Refused, era.NoServer:
	}
	info.Version = wire.V20260728
	if a.Raw != nil {
		if info, err = link.ReadInfo(x.to, a.Raw); err != nil {
			return peer.ServerInfo{}, "", err
		}
	}
	if info.Version = wire.V20260728; f.Version != "" {
		info.Version = f.Version
	}
	return info, "", nil
}

// unhurried returns an exchange that only the time for the start ends.
func (x *Talk) unhurried() *Exchange {
	return &Exchange{Talk: x, Timeout: 2 * x.cfg.StartTimeout, Quiet: true}
}

// initialize opens the conversation with a legacy server: initialize, then notifications/initialized (MCP 2025-11-25
// basic/lifecycle). refusal is the raw error object that it may answer.
func (x *Talk) initialize(ctx context.Context, v wire.Version) (info peer.ServerInfo, refusal []byte, err error) {
	params := wire.AppendString([]byte(`{"protocolVersion":`), string(v))
	params = append(params, `,"capabilities":`...)
	if len(x.to.Capabilities) > 0 {
		params = append(params, x.to.Capabilities...)
	} else {
		params = append(params, `{}`...)
	}
	params = append(append(params, `,"clientInfo":`...), x.cfg.ClientInfo...)
	a, err := x.unhurried().Run(ctx, &peer.Request{Method: "initialize", Params: append(params, '}')})
	if err != nil || a.Error != nil {
		return peer.ServerInfo{}, a.Error, err
	}
	if info, err = link.ReadInfo(x.to, a.Raw); err != nil {
		return peer.ServerInfo{}, nil, err
	}
	if info.Version.Era() != wire.Legacy {
		return peer.ServerInfo{}, nil, x.to.Garbage("initialize names a version that is none of the sessions' versions")
	}
	ready := append(wire.AppendNotification(nil, "notifications/initialized", nil), '\n')
	if _, err := x.write(ctx, ready); err != nil {
		return peer.ServerInfo{}, nil, failed(x.to, err, false)
	}
	return info, nil, nil
}

// Declares reports whether raw server capabilities have a member, and in it, where named, another that is true.
func Declares(capabilities []byte, member string, inner ...string) bool {
	fields, err := wire.Fields(nil, capabilities)
	if err != nil || len(capabilities) == 0 {
		return false
	}
	found := wire.Lookup(fields, member)
	for _, name := range inner {
		raw := found.Of(capabilities)
		fields, err := wire.Fields(nil, raw)
		if err != nil || string(wire.Lookup(fields, name).Of(raw)) != "true" {
			return false
		}
	}
	return found.Present()
}
