// SPDX-License-Identifier: Apache-2.0

package exchange

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// read reads the answer in whatever form it comes.
func (x *Exchange) read(ctx context.Context, resp *httpclient.Response) (a Answer, err error) {
	a.Status = resp.Status
	a.Session = string(resp.Header("Mcp-Session-Id"))
	if resp.Status == http.StatusForbidden {
		a.Scope, a.Wanted = wantsScope(resp.Header("Www-Authenticate"))
	}
	kind, coding := resp.Header("Content-Type"), resp.Header("Content-Encoding")
	switch {
	case len(coding) > 0 && !bytes.EqualFold(coding, []byte("identity")):
		err = &Garbage{What: "it is compressed, which was not asked for"}
	case resp.Status == http.StatusOK && mediaType(kind, "text/event-stream"):
		err = x.readStream(ctx, resp, &a)
	case mediaType(kind, "application/json"):
		err = x.readJSON(ctx, resp, &a)
	case resp.Status == http.StatusOK:
		err = &Garbage{What: "its content type is neither JSON nor an event stream"}
	default:
		x.out, _ = resp.ReadAll(x.out[:0], refusalText)
	}
	return a, err
}

// maxWanted bounds the scopes of a challenge, in bytes. They go into a link.
const maxWanted = 1024

// scopeParam is the parameter scope of a challenge (RFC 6750 §3), of scope-tokens as RFC 6749 §3.3 has them.
var scopeParam = regexp.MustCompile(`(?i)[\s,]scope="([\x21\x23-\x5B\x5D-\x7E][ \x21\x23-\x5B\x5D-\x7E]*)"`)

// wantsScope reads whether a challenge asks for more scope, and for which, if it says so.
func wantsScope(challenge []byte) (wants bool, scope string) {
	if !bytes.Contains(challenge, []byte("insufficient_scope")) {
		return false, ""
	}
	if m := scopeParam.FindSubmatch(challenge); m != nil && len(m[1]) <= maxWanted {
		scope = string(m[1])
	}
	return true, scope
}

// mediaType compares a Content-Type without its parameters.
func mediaType(value []byte, want string) bool {
	value, _, _ = bytes.Cut(value, []byte{';'})
	return bytes.EqualFold(bytes.TrimSpace(value), []byte(want))
}

// readJSON reads an answer that is one document: a message, or, from servers
// of 2025-03-26, an array of them.
func (x *Exchange) readJSON(ctx context.Context, resp *httpclient.Response, a *Answer) error {
	text, err := resp.ReadAll(nil, x.Limit)
	if errors.Is(err, httpclient.ErrTooLarge) {
		return ErrTooLarge
	}
	if err != nil {
		return err
	}
	if resp.Status >= 300 && !wire.Valid(text) {
		return nil // a refusal in words
	}
	if !wire.IsBatch(text) {
		if _, err := x.message(ctx, resp, text, a); err != nil {
			return err
		}
	} else if err := x.batch(ctx, resp, text, a); err != nil {
		return err
	}
	if resp.Status < 300 && a.Result == nil && a.Error == nil {
		return &Garbage{What: "it does not belong to the request"}
	}
	return nil
}

func (x *Exchange) batch(ctx context.Context, resp *httpclient.Response, text []byte, a *Answer) error {
	spans, err := wire.Elements(nil, text)
	if err != nil {
		return &Garbage{What: "it is no JSON", Cause: err}
	}
	for _, s := range spans {
		if end, err := x.message(ctx, resp, s.Of(text), a); end || err != nil {
			return err
		}
	}
	return nil
}

// readStream reads events until the response to the request comes. A stream that
// ends before it is resumed if the upstream gave event ids (M-42).
func (x *Exchange) readStream(ctx context.Context, resp *httpclient.Response, a *Answer) error {
	_, err := x.readEvents(ctx, resp, a, false)
	if err != nil && x.resumable(err) {
		return x.resume(ctx, a, err)
	}
	return err
}

// readEvents reads the events of one HTTP answer and reports whether any came.
// A resumed stream is not waited for to end after the response: to the upstream
// it is a stream from GET, on which it may go on to send other messages, and for
// those the node has streams that it reads.
func (x *Exchange) readEvents(ctx context.Context, resp *httpclient.Response, a *Answer, resumed bool) (fruitful bool, err error) {
	x.events.Reset(resp, int(x.Limit))
	for {
		e, err := x.events.Next()
		if id := x.events.LastID(); id != "" && id != x.lastID {
			x.lastID, fruitful = id, true
		}
		if wait := x.events.Retry(); wait > 0 {
			x.retry = wait
		}
		switch {
		case errors.Is(err, sse.ErrTooLarge):
			return fruitful, ErrTooLarge
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			// A clean end of HTTP, but not of MCP: the response is missing.
			return fruitful, &httpclient.Error{Op: "body", Sent: true, Err: httpclient.ErrTruncated}
		case err != nil:
			return fruitful, err
		}
		if len(e.Data) == 0 || !e.IsMessage() {
			continue
		}
		fruitful = true
		end, err := x.message(ctx, resp, e.Data, a)
		if err != nil {
			return fruitful, err
		}
		if end {
			a.Result, a.Error = bytes.Clone(a.Result), bytes.Clone(a.Error)
			if !resumed {
				resp.Release()
			}
			return fruitful, nil
		}
	}
}

// message handles one message of the upstream and reports whether it is the
// response, which it then puts into a.
func (x *Exchange) message(ctx context.Context, resp *httpclient.Response, text []byte, a *Answer) (bool, error) {
	m := &x.msg
	if err := wire.Scan(text, m); err != nil {
		if resp.Status >= 300 {
			return false, nil // JSON, but of another protocol: the status says it
		}
		return false, &Garbage{What: "a message is broken", Cause: err}
	}
	switch m.Kind {
	case wire.Notification:
		return false, x.relay(ctx, resp, text)
	case wire.Request:
		return false, x.question(ctx, text)
	case wire.Response, wire.ErrorResponse:
		// An error without an id can only mean this request: nothing else is
		// asked on this connection.
		if m.ID.Present() && string(m.ID.Of(text)) != string(x.idText()) {
			x.Receiver.Dropped(ctx)
			return false, nil
		}
	case wire.Invalid:
	}
	if m.Kind == wire.ErrorResponse {
		a.Error = m.Error.Of(text)
		return true, nil
	}
	if resp.Status >= 300 {
		return false, nil // the status contradicts the result
	}
	if a.Result = m.Result.Of(text); !wire.IsObject(a.Result) {
		return false, &Garbage{What: "its result is no object"}
	}
	return true, nil
}

// relay passes a notification on. Progress restarts the timeout (M-49) and
// gets the client's token back; progress of anything else is dropped.
func (x *Exchange) relay(ctx context.Context, resp *httpclient.Response, text []byte) error {
	m := &x.msg
	in := Inbound{Raw: text, Params: m.Params.Of(text)}
	in.Method, _ = wire.DecodeString(m.Method.Of(text))
	if in.Method == "notifications/progress" {
		if x.Token == nil || string(m.P.ProgressToken.Of(text)) != string(x.idText()) {
			x.Receiver.Dropped(ctx)
			return nil
		}
		x.until = x.deadline()
		resp.SetDeadline(x.until)
		x.edits.Reset()
		x.edits.Replace(m.P.ProgressToken.Span, x.Token)
		x.out = x.edits.AppendTo(x.out[:0], text)
		grown := len(x.out) - len(text)
		in.Raw, in.Params = x.out, x.out[m.Params.Start:m.Params.End+grown]
	}
	x.Relayed = true
	if err := x.Receiver.Notification(ctx, in); err != nil {
		return &SinkError{err}
	}
	return nil
}

// question hands on a request of the upstream. Modern ones must not ask at all.
func (x *Exchange) question(ctx context.Context, text []byte) error {
	if x.Version.Era() == wire.Modern {
		x.Receiver.Dropped(ctx)
		return nil
	}
	m := &x.msg
	in := Inbound{ID: m.ID.Of(text), Params: m.Params.Of(text), Raw: text}
	in.Method, _ = wire.DecodeString(m.Method.Of(text))
	x.Relayed = x.Relayed || in.Method != "ping"
	if err := x.Receiver.Question(ctx, in); err != nil {
		return &SinkError{err}
	}
	return nil
}
