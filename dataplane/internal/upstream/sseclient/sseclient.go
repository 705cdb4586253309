// SPDX-License-Identifier: Apache-2.0

// Package sseclient is the transport of protocol version 2024-11-05 (mcp.md M-45):
// one stream of events from the server, whose first event names the address that
// messages are posted to.
//
// Called by upstream. It must never know what the messages are.
package sseclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

// StatusError is an answer to GET that is no stream.
type StatusError struct {
	Status int
	Type   string // Content-Type
}

// Error returns the status and the content type.
func (e *StatusError) Error() string {
	return fmt.Sprintf("no event stream: HTTP status %d, content type %q", e.Status, e.Type)
}

// Errors of a stream that is no MCP stream.
var (
	// ErrEndpoint: no usable endpoint event came first, or in time.
	ErrEndpoint = errors.New("the stream names no address to post to")
	// ErrOrigin: the address has another origin than the stream.
	ErrOrigin = errors.New("the stream names an address of another origin")
)

// Conn is an open stream.
type Conn struct {
	// Endpoint takes the messages.
	Endpoint *httpclient.Endpoint

	ctx    context.Context //nolint:containedctx // of the stream, which outlives the call that opened it
	cancel context.CancelFunc
	resp   *httpclient.Response
	events sse.Reader
}

// Open opens the stream at base, the URL that x is for, and reads its endpoint
// event within the given time. opening ends the opening only; life ends the
// stream. The caller then calls [Conn.Run], or else [Conn.Discard].
func Open(opening, life context.Context, x *exchange.Exchange, base string, within time.Duration) (*Conn, error) {
	c := &Conn{}
	c.ctx, c.cancel = context.WithCancel(life)
	stop := context.AfterFunc(opening, c.cancel)
	err := c.open(x, base, time.Now().Add(within))
	if !stop() && err == nil {
		err = opening.Err()
	}
	if err != nil {
		c.Discard()
		if opening.Err() != nil {
			err = errors.Join(opening.Err(), err)
		}
		return nil, err
	}
	return c, nil
}

func (c *Conn) open(x *exchange.Exchange, base string, until time.Time) error {
	resp, err := x.Get(c.ctx, "", until)
	if err != nil {
		return err
	}
	c.resp = resp
	kind, _, _ := bytes.Cut(resp.Header("Content-Type"), []byte{';'})
	if resp.Status != http.StatusOK || !bytes.EqualFold(bytes.TrimSpace(kind), []byte("text/event-stream")) {
		return &StatusError{resp.Status, string(kind)}
	}
	c.events.Reset(resp, int(x.Limit))
	e, err := c.events.Next()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	if string(e.Type) != "endpoint" {
		return ErrEndpoint
	}
	if c.Endpoint, err = endpoint(base, string(e.Data)); err != nil {
		return err
	}
	resp.SetDeadline(time.Time{})
	return nil
}

// endpoint resolves the address in an endpoint event, which must keep the
// origin.
func endpoint(base, text string) (*httpclient.Endpoint, error) {
	from, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	to, err := from.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	e, err := httpclient.ParseEndpoint(to.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	if origin(from) != origin(to) {
		return nil, ErrOrigin
	}
	return e, nil
}

func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return u.Scheme + "://" + u.Hostname() + ":" + port
}

// Run reads messages until the stream ends, and returns why; take gets each. It
// closes the stream.
func (c *Conn) Run(take func(ctx context.Context, text []byte) error) error {
	defer c.Discard()
	for {
		e, err := c.events.Next()
		if err != nil {
			return fmt.Errorf("read stream: %w", err)
		}
		if len(e.Data) == 0 || !e.IsMessage() {
			continue
		}
		if err := take(c.ctx, e.Data); err != nil {
			return fmt.Errorf("read message: %w", err)
		}
	}
}

// Discard ends a stream that is not run.
func (c *Conn) Discard() {
	c.cancel()
	if c.resp != nil {
		c.resp.Close()
	}
}

// Close ends the stream; Run returns soon after.
func (c *Conn) Close() { c.cancel() }
