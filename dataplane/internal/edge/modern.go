// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/edge/method"
	"github.com/penstockhq/penstock/dataplane/internal/edge/profile"
	"github.com/penstockhq/penstock/dataplane/internal/edge/result"
	"github.com/penstockhq/penstock/dataplane/internal/edge/rpcerror"
	"github.com/penstockhq/penstock/dataplane/internal/edge/valid"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// modern answers one message of 2026-07-28 (M-22): every request stands for itself, sessions do not exist.
func (x *request) modern() {
	x.version = wire.Latest
	switch x.msg.Kind {
	case wire.Request:
		if x.method = x.methodOf(); x.method == method.Listen {
			x.subscribe()
			return
		}
		if !x.forwardRetry() && !x.forwardHome() {
			x.respond()
		}
	case wire.Notification:
		x.accept202() // HTTP defines none: ignored
	default:
		x.fail(rpcerror.InvalidRequest("The server has asked nothing: there is nothing to respond to."))
	}
}

func (x *request) executeModern(ctx context.Context, sink func([]byte) error) (outcome, error) {
	m, err := x.validate()
	if err != nil {
		return outcome{}, err
	}
	if err := x.scoped(); err != nil {
		return outcome{}, err
	}
	if x.method == method.Discover {
		return outcome{result: profile.Discover(x.gateway), listed: true}, nil
	}
	o, err := x.serve(ctx, sink)
	if err != nil || o.listed || o.result == nil {
		return o, err
	}
	x.asks = result.Request{
		Method: x.method, Row: m, Capabilities: x.client.Capabilities, Extensions: x.gateway.Capabilities.Extensions,
		Retry: x.msg.P.RequestState.Present() || x.msg.P.InputResponses.Present(),
	}
	return o, x.result.Read(&x.asks, o.result)
}

// validate is M-23 from _meta on; what comes before, the scan and the table of M-1 have seen to. What the request
// declares is what upstreams may ask of the client (M-52).
func (x *request) validate() (method.Method, error) {
	m, err := x.h.valid.Check(&valid.Request{
		Header: x.r.Header, Body: x.body, Message: &x.msg, Method: x.method, Snapshot: x.snapshot, Gateway: x.gateway,
	})
	if err != nil {
		return m, err
	}
	x.client = call.Client{Capabilities: x.msg.Meta.ClientCapabilities.Of(x.body)}
	x.client.LogLevel, _ = wire.DecodeString(x.msg.Meta.LogLevel.Of(x.body))
	return m, nil
}

// appendModern appends what comes before the part of the result that leaves as it is, and returns that part (M-26,
// M-27). A list gets its members in front, unread; any other result is spliced by what was read of it.
func (x *request) appendModern(b []byte, o *outcome) (head, rest []byte) {
	if !o.listed {
		x.info = profile.AppendServerInfo(x.info[:0], x.gateway, x.h.build)
		return x.result.Append(b, o.result, &x.asks, x.info), nil
	}
	if x.method == method.Discover {
		x.info = profile.AppendIdentity(x.info[:0], x.gateway, x.h.build, x.version)
	} else {
		x.info = profile.AppendServerInfo(x.info[:0], x.gateway, x.h.build)
	}
	return result.AppendHead(b, x.gateway.ListTTL, x.info, o.meta), o.result[1:]
}
