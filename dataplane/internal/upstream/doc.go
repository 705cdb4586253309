// SPDX-License-Identifier: Apache-2.0

// Package upstream is the MCP client of a node: it speaks Streamable HTTP of
// both eras to the servers behind connections. It owns upstream sessions, the
// pool of HTTP connections (httpclient), request ids and progress tokens toward
// upstreams, era detection, and the faults for all that can go wrong there.
//
//	p, err := upstream.New(upstream.Config{Dial: policy.DialContext})
//	go p.Run(ctx) // in a task group: idle sessions and connections end here
//	res, err := p.Call(ctx, target, upstream.Request{Method: "tools/call", Params: params}, sink)
//
// Raw JSON goes in and out (M-8). A call runs on the caller's goroutine, and so
// does everything it relays: messages reach the sink in the order in which the
// upstream sent them, before the response. A request is sent again only where
// it cannot have run: the upstream answered that its session is gone, or that
// the era is wrong. Idempotent requests are also sent once more when the
// connection broke.
//
// Rooms below: httpclient (connections), exchange (one message and its answer),
// rewrite (params and headers), era (what answers tell about the version),
// flight (one opens the session for all). stdio speaks to processes.
//
// Called by dispatch (calls) and discover (tools). It must never know gateways,
// policies, principals beyond their key, or the client's HTTP.
package upstream
