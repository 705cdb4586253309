// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"strconv"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/rewrite"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// traceKey is the key of _meta for the trace context: a pipe has no headers (M-56).
const traceKey = "traceparent"

// paramsOf returns the params to send, on one line, nil if there are none. The progress token becomes the request's id.
func paramsOf(r *upstream.Request, id int64) ([]byte, error) {
	in := rewrite.Input{Method: r.Method, Params: r.Params, To: wire.LatestLegacy, From: r.ClientVersion}
	if r.ProgressToken != nil {
		in.Token = strconv.AppendInt(nil, id, 10)
	}
	var w rewrite.Rewriter
	params, _, err := w.Params(&in)
	if err == nil && r.Traceparent != "" {
		params, err = withTrace(params, r.Traceparent)
	}
	if params == nil || err != nil {
		return nil, err
	}
	return wire.AppendOneLine(make([]byte, 0, len(params)), params), nil
}

func withTrace(params []byte, trace string) ([]byte, error) {
	if params == nil {
		params = []byte(`{}`)
	}
	var m wire.Message
	if err := wire.ScanParams(params, &m); err != nil {
		return nil, err
	}
	var e wire.Edits
	if meta := m.P.Meta; meta.Present() {
		e.Set(meta.Span, m.Meta.Traceparent, traceKey, wire.Quote(trace))
	} else {
		fresh := wire.AppendString([]byte(`{"`+traceKey+`":`), trace)
		e.Insert(m.Params.Span, "_meta", append(fresh, '}'))
	}
	return e.AppendSpan(nil, params, m.Params.Span), nil
}
