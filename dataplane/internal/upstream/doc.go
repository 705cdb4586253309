// SPDX-License-Identifier: Apache-2.0

// Package upstream is the MCP client of a node: it speaks Streamable HTTP of
// both eras, and HTTP+SSE, to the servers behind connections. It owns upstream sessions, the
// pool of HTTP connections (httpclient), request ids and progress tokens toward
// upstreams, era detection, a circuit for each connection, and the faults for all that can go wrong there.
//
//	p, err := upstream.New(upstream.Config{Dial: policy.DialContext})
//	go p.Run(ctx) // in a task group: idle sessions and connections end here
//	res, err := p.Call(ctx, target, upstream.Request{Method: "tools/call", Params: params}, sink)
//
// Raw JSON goes in and out (M-8). Messages reach the sink in the order in which
// the upstream sent them, before the response, and by one goroutine at a time. A
// request is sent again only where it cannot have run: the upstream answered that
// its session is gone, or that the era is wrong, or the connection took no byte of
// it. Idempotent requests are also sent once more when the connection broke or a
// 5xx came. After failures in a row calls fail at once for a while (G-51).
//
// Rooms below: peer (the words of it all), link (one upstream: requests, sessions,
// streams, questions), lease (who uses which session), watch (changes), catalog
// (lists); below link exchange (one message and its answer), inbox (whose a message
// on a session's stream is), stream (GET streams), sseclient (HTTP+SSE), rewrite
// (params and headers), httpclient (connections); era (what answers tell about the
// version), flight (one opens the session for all), breaker (fails fast). stdio speaks to processes.
//
// Called by bridge (calls, watches) and discover (descriptions), through the router. It must never know gateways,
// policies, principals beyond their key, or the client's HTTP.
package upstream
