// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"bytes"
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/era"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// maxPages bounds a list (M-70).
const maxPages = 100

// initialize opens the conversation: initialize, then notifications/initialized (MCP 2025-11-25 basic/lifecycle).
func (x *process) initialize(ctx context.Context, t *Target) (upstream.ServerInfo, error) {
	version := t.Version
	if version.Era() != wire.Legacy {
		version = wire.LatestLegacy
	}
	params := wire.AppendString([]byte(`{"protocolVersion":`), string(version))
	params = append(append(params, `,"capabilities":{},"clientInfo":`...), x.pool.clientInfo...)
	unhurried := *t
	unhurried.CallTimeout = 2 * x.pool.cfg.StartTimeout // the context ends it before
	e := exchange{x: x, t: &unhurried, quiet: true}
	a, err := e.run(ctx, &upstream.Request{Method: "initialize", Params: append(params, '}')})
	if err != nil {
		return upstream.ServerInfo{}, err
	}
	if a.Error != nil {
		return upstream.ServerInfo{}, t.unreachable("refused to initialize").Because(era.Error(a.Error))
	}
	var m wire.Message
	if err := wire.ScanResult(a.Raw, &m); err != nil {
		return upstream.ServerInfo{}, t.garbage("its description of itself is broken").Because(err)
	}
	text, _ := wire.DecodeString(m.R.ProtocolVersion.Of(a.Raw))
	info := upstream.ServerInfo{
		Version: wire.Version(text), Capabilities: m.R.Capabilities.Of(a.Raw), ServerInfo: m.R.ServerInfo.Of(a.Raw),
	}
	if info.Version.Era() != wire.Legacy {
		return upstream.ServerInfo{}, t.garbage("initialize names a version that is none of the sessions' versions")
	}
	if !wire.IsObject(info.Capabilities) {
		info.Capabilities = nil
	}
	info.Instructions, _ = wire.DecodeString(m.R.Instructions.Of(a.Raw))
	ready := append(wire.AppendNotification(nil, "notifications/initialized", nil), '\n')
	if _, err := x.write(ctx, ready); err != nil {
		return upstream.ServerInfo{}, t.failed(err, false)
	}
	return info, nil
}

// ask sends a request of the node's own.
func (x *process) ask(ctx context.Context, t *Target, method string, params []byte) (upstream.Result, error) {
	e := exchange{x: x, t: t}
	return e.run(ctx, &upstream.Request{Method: method, Params: params})
}

// ListTools asks the server of a target for what it is and for all its tools, each raw, byte for byte, in the server's
// order. It asks a process of its own, which ends afterwards: what is installed may have changed since another started. At most 100 pages are read; a cursor that comes again ends the list (M-70). Errors are those of [Pool.Call]; a
// server that answers tools/list with a JSON-RPC error is Unavailable with UPSTREAM_PROTOCOL.
func (p *Pool) ListTools(ctx context.Context, t Target) ([][]byte, upstream.ServerInfo, error) {
	k := p.keyOf(&t)
	k.listing = true
	s, leave, err := p.enter(&t, k)
	if err != nil {
		return nil, upstream.ServerInfo{}, err
	}
	defer leave()
	x, err := p.ready(ctx, s, &t)
	if err != nil {
		return nil, upstream.ServerInfo{}, err
	}
	x.allow(&t, p.cfg.MaxMessage)
	fields, err := wire.Fields(nil, x.info.Capabilities)
	if err == nil && !wire.Lookup(fields, "tools").Present() {
		return nil, x.info, nil // it declares capabilities, and tools are none of them
	}
	tools, err := x.listTools(ctx, &t)
	return tools, x.info, err
}

func (x *process) listTools(ctx context.Context, t *Target) ([][]byte, error) {
	var tools [][]byte
	var params []byte
	seen := make(map[string]bool)
	for range maxPages {
		a, err := x.ask(ctx, t, "tools/list", params)
		if err != nil {
			return nil, err
		}
		if a.Error != nil {
			return nil, t.garbage("it refuses to list its tools").Because(era.Error(a.Error))
		}
		page, next, err := readPage(t, a.Raw)
		if err != nil {
			return nil, err
		}
		tools = append(tools, page...)
		if next == nil || seen[string(next)] {
			break
		}
		seen[string(next)] = true
		params = append(append([]byte(`{"cursor":`), next...), '}')
	}
	return tools, nil
}

// readPage returns the tools of a page and the raw cursor of the next, nil at the end.
func readPage(t *Target, raw []byte) (tools [][]byte, next []byte, err error) {
	var m wire.Message
	if err := wire.ScanResult(raw, &m); err != nil {
		return nil, nil, t.garbage("its list of tools is broken").Because(err)
	}
	list := m.R.Tools.Of(raw)
	spans, err := wire.Elements(nil, list)
	if err != nil {
		return nil, nil, t.garbage("its list of tools is no array").Because(err)
	}
	for _, s := range spans {
		tool := s.Of(list)
		if !wire.IsObject(tool) {
			return nil, nil, t.garbage("one of its tools is no object")
		}
		tools = append(tools, bytes.Clone(tool))
	}
	if next = m.R.NextCursor.Of(raw); !wire.IsString(next) {
		next = nil // absent or null
	}
	return tools, next, nil
}
