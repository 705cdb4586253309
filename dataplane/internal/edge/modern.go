// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/edge/mirror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/profile"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// modern answers one message of 2026-07-28 (M-22): every request stands for itself, sessions do not exist.
func (x *request) modern() {
	x.version = wire.Latest
	switch x.msg.Kind {
	case wire.Request:
		x.respond()
	case wire.Notification:
		x.accept202() // HTTP defines none: ignored
	default:
		x.fail(rpcerror.InvalidRequest("The server has asked nothing: there is nothing to respond to."))
	}
}

func (x *request) executeModern(ctx context.Context, sink func([]byte) error) (outcome, error) {
	if err := x.validate(); err != nil {
		return outcome{}, err
	}
	switch x.method {
	case methodDiscover:
		return outcome{result: profile.Discover(x.gateway), listed: true}, nil
	case methodListTools:
		return x.listTools(ctx)
	case methodCallTool:
		o, err := x.callTool(ctx, sink)
		if err == nil && o.result != nil {
			err = wire.ScanResult(o.result, &x.result)
			if err != nil {
				// dispatch relays objects only; anything else must not reach a client.
				err = bug(err)
			}
		}
		return o, err
	}
	return outcome{}, rpcerror.MethodNotFound()
}

// validate is M-23 from _meta on; what comes before, the scan and the table of M-1 have seen to.
func (x *request) validate() error {
	meta := &x.msg.Meta
	v, ok := x.metaVersion()
	switch {
	case !ok:
		return rpcerror.MetaRequired("params._meta must hold " + wire.MetaProtocolVersion + ", a string")
	case !headerIs(x.r.Header[headerVersion], v):
		return rpcerror.HeaderMismatch("MCP-Protocol-Version does not match the body")
	case wire.Version(v).Era() != wire.Modern:
		return rpcerror.BadVersion(v)
	case !wire.IsObject(meta.ClientCapabilities.Of(x.body)):
		return rpcerror.MetaRequired("params._meta must hold " + wire.MetaClientCapabilities + ", an object")
	case !headerIs(x.r.Header[headerMethod], x.method):
		return rpcerror.HeaderMismatch("Mcp-Method does not match the body")
	}
	switch x.method {
	case methodDiscover, methodListTools, methodCallTool:
	default:
		return rpcerror.MethodNotFound()
	}
	if x.method == methodCallTool {
		if err := x.validateMirrored(); err != nil {
			return err
		}
	}
	if raw := meta.LogLevel.Of(x.body); raw != nil && !isLogLevel(raw) {
		return rpcerror.InvalidParams(wire.MetaLogLevel + " is no log level")
	}
	return nil
}

// metaVersion returns V, without allocating if it is the one that is served.
func (x *request) metaVersion() (string, bool) {
	raw := x.msg.Meta.ProtocolVersion.Of(x.body)
	if wire.EqualString(raw, string(wire.Latest)) {
		return string(wire.Latest), true
	}
	return wire.DecodeString(raw)
}

func headerIs(values []string, want string) bool { return len(values) == 1 && values[0] == want }

// validateMirrored compares the headers that repeat a part of the body for intermediaries (M-24, M-25): a request that
// a proxy let pass by its header must not run as another.
func (x *request) validateMirrored() error {
	if err := mirror.Value(x.r.Header[headerName], x.msg.P.Name.Of(x.body)); err != nil {
		return rpcerror.HeaderMismatch("Mcp-Name does not match the body: " + err.Error())
	}
	name, _ := wire.DecodeString(x.msg.P.Name.Of(x.body))
	if t := x.snapshot.Tool(x.gateway, name); t != nil {
		if err := mirror.Params(x.r.Header, t.Body.Bytes(), x.msg.P.Arguments.Of(x.body)); err != nil {
			return rpcerror.HeaderMismatch(err.Error())
		}
	}
	return nil
}

func isLogLevel(raw []byte) bool {
	for _, level := range [...]string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"} {
		if wire.EqualString(raw, level) {
			return true
		}
	}
	return false
}

// appendModern appends what comes before the part of the result that leaves as it is, and returns that part (M-26,
// M-27). A list gets its members in front, unread; the result of a tool is spliced by what the scan found.
func (x *request) appendModern(b []byte, o *outcome) (head, rest []byte) {
	if o.listed {
		b = append(b, `{"resultType":"complete","ttlMs":`...)
		b = strconv.AppendInt(b, x.gateway.ListTTL.Milliseconds(), 10)
		b = append(b, `,"cacheScope":"private","_meta":{"`+wire.MetaServerInfo+`":`...)
		if x.method == methodDiscover {
			b = profile.AppendIdentity(b, x.gateway, x.h.build, x.version)
		} else {
			b = profile.AppendServerInfo(b, x.gateway, x.h.build)
		}
		return append(b, `},`...), o.result[1:]
	}
	m, e := &x.result, &x.edits
	e.Reset()
	if m.R.Meta.Present() {
		x.info = profile.AppendServerInfo(x.info[:0], x.gateway, x.h.build)
		e.Set(m.R.Meta.Span, m.Meta.ServerInfo, wire.MetaServerInfo, x.info)
	} else {
		x.info = append(x.info[:0], `{"`+wire.MetaServerInfo+`":`...)
		x.info = append(profile.AppendServerInfo(x.info, x.gateway, x.h.build), '}')
		e.Insert(m.Result.Span, "_meta", x.info)
	}
	if !m.R.ResultType.Present() {
		e.Insert(m.Result.Span, "resultType", x.h.complete)
	}
	return e.AppendTo(b, o.result), nil
}
