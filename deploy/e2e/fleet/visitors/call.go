// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"
)

// result is how an attempt ended; without a reason it succeeded.
type result struct {
	reason  string
	unknown bool
	address string
}

// resumes is how often an answer that broke off is asked for again.
const resumes = 8

// attempt calls a tool once. An answer of a session that breaks off as a stream is resumed, which repeats nothing.
func (v *visitor) attempt(ctx context.Context, p *plan) (r result) {
	none := ""
	v.now.Store(&none)
	defer v.now.Store(nil)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if r.address == "" { // later ones ask for the rest of the answer
			r.address = i.Conn.LocalAddr().String()
			address := r.address
			v.now.Store(&address)
		}
	}})
	params := map[string]any{"name": p.tool, "arguments": map[string]any{
		"token": p.token, "delay_ms": p.delay, "steps": p.steps, "every_ms": p.delay,
	}}
	if p.steps > 0 && !p.notices {
		params["_meta"] = map[string]any{"progressToken": p.token}
	}
	res, err := v.send(ctx, "tools/call", p.tool, params) //nolint:bodyclose // take does
	if err != nil {
		r.reason = transportReason(err)
		return r
	}
	a := answer{v: v}
	r.reason, r.unknown = a.take(ctx, res, p)
	return r
}

// answer is an answer as it comes in.
type answer struct {
	v     *visitor
	place place
	steps int // progress notifications so far
	last  int // progress that the newest told
	final *message
}

// take reads an answer, over several connections if it must be.
func (a *answer) take(ctx context.Context, res *http.Response, p *plan) (reason string, unknown bool) {
	defer func() { _ = res.Body.Close() }() // read as far as it goes
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return transportReason(err), false
		}
		var m message
		if res.StatusCode != http.StatusOK || json.Unmarshal(body, &m) != nil {
			return fmt.Sprintf("status %d: %s", res.StatusCode, short(body)), false
		}
		return a.judge(&m, p)
	}
	err := a.place.read(res.Body, a.each)
	for try := 0; a.final == nil && a.v.legacy && a.place.id != "" && try < resumes && ctx.Err() == nil; try++ {
		pause(ctx, min(a.place.retry, 200*time.Millisecond)<<min(try, 3))
		err = a.resume(ctx)
		a.v.crowd.tally.change(func(t *Tally) { t.Resumed++ })
	}
	switch {
	case a.final != nil:
		if a.steps != p.steps && p.steps > 0 && !p.notices && a.final.Error == nil && a.final.Result != nil && !a.final.Result.IsError {
			a.v.crowd.tally.change(func(t *Tally) { t.Lost += p.steps - a.steps })
		}
		return a.judge(a.final, p)
	case err != nil:
		return transportReason(err), false
	default:
		return "the stream ended without the answer", false
	}
}

func (a *answer) each(m message) bool {
	switch {
	case m.Method == "notifications/progress":
		if m.Params.Progress <= a.last {
			a.v.crowd.tally.change(func(t *Tally) { t.Twice++ })
			break
		}
		a.steps, a.last = a.steps+1, m.Params.Progress // one that was left out stays missing at the end
	case m.Method != "":
		a.v.noticed(m)
	case len(m.ID) > 0:
		a.final = &m
		return true
	}
	return false
}

// resume asks any node for the rest of the stream.
func (a *answer) resume(ctx context.Context) error {
	res, err := a.v.get(ctx, a.place.id)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }() // read as far as it goes
	if res.StatusCode != http.StatusOK {
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		if res.StatusCode == http.StatusBadRequest {
			a.v.crowd.tally.change(func(t *Tally) { t.Refused++ })
		}
		return refused(fmt.Sprintf("resume: status %d: %s", res.StatusCode, short(body)))
	}
	return a.place.read(res.Body, a.each)
}

// judge says what is wrong with a response, if anything.
func (a *answer) judge(m *message, p *plan) (reason string, unknown bool) {
	switch {
	case m.Error != nil:
		text := short(m.Error)
		return "error: " + text, strings.Contains(text, "outcome_unknown")
	case m.Result == nil || len(m.Result.Content) == 0:
		return "an answer without content", false
	case m.Result.IsError:
		kind := m.Result.Structured.Problem.Type
		return "isError " + kind + ": " + short([]byte(m.Result.Content[0].Text)), kind == "OUTCOME_UNKNOWN"
	case m.Result.Content[0].Text != p.token:
		return "the answer of another call: " + short([]byte(m.Result.Content[0].Text)), false
	}
	return "", false
}

// initialize starts the session.
func (v *visitor) initialize(ctx context.Context) error {
	res, err := v.send(ctx, "initialize", "", map[string]any{
		"protocolVersion": legacy, "capabilities": map[string]any{}, "clientInfo": map[string]any{"name": "visitor", "version": "1"},
	})
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if v.session = res.Header.Get("Mcp-Session-Id"); res.StatusCode != http.StatusOK || v.session == "" {
		return fmt.Errorf("status %d: %s", res.StatusCode, short(body))
	}
	res, err = v.send(ctx, "notifications/initialized", "", nil)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("notifications/initialized: status %d", res.StatusCode)
	}
	return nil
}

func (v *visitor) send(ctx context.Context, method, name string, params map[string]any) (*http.Response, error) {
	m := map[string]any{"jsonrpc": "2.0", "method": method}
	if !strings.HasPrefix(method, "notifications/") {
		m["id"] = v.ids.Add(1)
	}
	if params != nil {
		m["params"] = params
	}
	if !v.legacy {
		meta, _ := params["_meta"].(map[string]any)
		if meta == nil {
			meta = map[string]any{}
			params["_meta"] = meta
		}
		meta["io.modelcontextprotocol/protocolVersion"] = modern
		meta["io.modelcontextprotocol/clientCapabilities"] = map[string]any{}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, *v.crowd.url.Load(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	v.headers(r, method)
	if !v.legacy {
		r.Header.Set("Mcp-Method", method)
		if name != "" {
			r.Header.Set("Mcp-Name", name)
		}
	}
	return v.http.Do(r)
}

// get opens the session's stream, or another one that broke off after an event.
func (v *visitor) get(ctx context.Context, lastEvent string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, *v.crowd.url.Load(), http.NoBody)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	v.headers(r, "")
	if lastEvent != "" {
		r.Header.Set("Last-Event-ID", lastEvent)
	}
	return v.http.Do(r)
}

func (v *visitor) headers(r *http.Request, method string) {
	r.Header.Set("Authorization", "Bearer "+v.token)
	switch {
	case !v.legacy:
		r.Header.Set("MCP-Protocol-Version", modern)
	case method != "initialize":
		r.Header.Set("MCP-Protocol-Version", legacy)
		r.Header.Set("Mcp-Session-Id", v.session)
	}
}

// refused is what a node says that cannot go on with an answer.
type refused string

func (r refused) Error() string { return string(r) }

// transportReason names what happened to a connection, without its addresses.
func transportReason(err error) string {
	var no refused
	if errors.As(err, &no) {
		return no.Error()
	}
	for _, known := range []string{
		"connection reset by peer", "connection refused", "unexpected EOF", "broken pipe", "context deadline exceeded",
		"server closed idle connection", "EOF",
	} {
		if strings.Contains(err.Error(), known) {
			return "connection: " + known
		}
	}
	return "connection: " + err.Error()
}

func short(b []byte) string {
	text := strings.Join(strings.Fields(string(b)), " ")
	return text[:min(len(text), 200)]
}
