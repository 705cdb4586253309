// SPDX-License-Identifier: Apache-2.0

package talk

import (
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/rewrite"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Keys of _meta for the trace context: a pipe has no headers (M-56).
const (
	parentKey = "traceparent"
	stateKey  = "tracestate"
)

// params returns the params to send, on one line, nil if there are none. The progress token becomes the request's id.
func (x *Talk) params(r *peer.Request, id int64) ([]byte, error) {
	to := x.info.Load().Version
	if to == "" {
		to = wire.LatestLegacy // of initialize itself, and server/discover makes its _meta by itself
	}
	in := rewrite.Input{
		Method: r.Method, Params: r.Params, To: to, From: r.ClientVersion, ClientInfo: x.cfg.ClientInfo, Capabilities: x.to.Capabilities,
		LogLevel: r.LogLevel, Traceparent: r.Traceparent, Tracestate: r.Tracestate,
	}
	if r.ProgressToken != nil {
		in.Token = strconv.AppendInt(nil, id, 10)
	}
	if r.Method == methodDiscover {
		in.To = wire.V20260728
	}
	var w rewrite.Rewriter
	params, _, err := w.Params(&in)
	if err == nil && r.Traceparent != "" && in.To.Era() == wire.Legacy {
		params, err = withTrace(params, r)
	}
	if params == nil || err != nil {
		return nil, err
	}
	return wire.AppendOneLine(make([]byte, 0, len(params)), params), nil
}

// withTrace sets the trace context in the _meta of a legacy request.
func withTrace(params []byte, r *peer.Request) ([]byte, error) {
	if params == nil {
		params = []byte(`{}`)
	}
	var m wire.Message
	if err := wire.ScanParams(params, &m); err != nil {
		return nil, err
	}
	var e wire.Edits
	if meta := m.P.Meta; meta.Present() {
		e.Set(meta.Span, m.Meta.Traceparent, parentKey, wire.Quote(r.Traceparent))
		if r.Tracestate != "" {
			e.Set(meta.Span, m.Meta.Tracestate, stateKey, wire.Quote(r.Tracestate))
		} else {
			e.Delete(m.Meta.Tracestate) // it belongs to another traceparent
		}
	} else {
		fresh := wire.AppendString([]byte(`{"`+parentKey+`":`), r.Traceparent)
		if r.Tracestate != "" {
			fresh = wire.AppendString(append(fresh, `,"`+stateKey+`":`...), r.Tracestate)
		}
		e.Insert(m.Params.Span, "_meta", append(fresh, '}'))
	}
	return e.AppendSpan(nil, params, m.Params.Span), nil
}
