// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"
)

// follow keeps the visitor's stream open: GET in a session, a subscription without one. A stream that ends is opened again,
// that of a session where it broke off.
func (v *visitor) follow(ctx context.Context) {
	at := place{retry: 100 * time.Millisecond}
	for ctx.Err() == nil {
		res, err := v.listen(ctx, at.id) //nolint:bodyclose // stream does
		if err == nil {
			at.id = v.stream(res, at)
			v.listening.Store(false)
		}
		pause(ctx, min(max(at.retry, 50*time.Millisecond), 500*time.Millisecond))
	}
}

func (v *visitor) listen(ctx context.Context, lastEvent string) (*http.Response, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.streamAddress, v.streamSince = i.Conn.LocalAddr().String(), time.Now()
	}})
	if v.legacy {
		return v.get(ctx, lastEvent)
	}
	return v.send(ctx, "subscriptions/listen", "", map[string]any{
		"notifications": map[string]any{"toolsListChanged": true},
	})
}

// stream reads one connection and returns the id of the last event.
func (v *visitor) stream(res *http.Response, at place) string {
	defer func() { _ = res.Body.Close() }() // read as far as it goes
	switch {
	case res.StatusCode == http.StatusBadRequest && at.id != "":
		v.crowd.tally.change(func(t *Tally) { t.Refused++ })
		return "" // what was missed is lost: the notices show it
	case res.StatusCode != http.StatusOK:
		_, _ = io.Copy(io.Discard, res.Body) // tried again soon
		return at.id
	}
	v.listening.Store(true)
	v.begin.Do(func() { close(v.began) })
	// However it ends, it is opened again.
	_ = at.read(res.Body, func(m message) bool {
		v.noticed(m)
		return false
	})
	return at.id
}
