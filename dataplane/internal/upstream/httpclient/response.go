// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// framing is how the end of a body is known (RFC 9112 §6.3).
type framing uint8

const (
	noBody framing = iota
	byLength
	byChunks
	byClose
)

// Response is one answer. Its head is valid until [Response.Close], which must
// be called once the answer is read or no longer wanted; it belongs to one
// goroutine.
type Response struct {
	// Status is the HTTP status code, 200 … 599.
	Status int

	c      *conn
	ctx    context.Context //nolint:containedctx // lives as long as one call: the body is read under the request's context
	stop   func() bool
	head   []byte
	body   framing
	left   int64 // bytes of the body, or of the present chunk
	inside bool  // a chunk has begun: its CRLF is still to come
	reuse  bool
	done   bool
	closed bool
	err    error
}

// watch closes the connection as soon as the context ends.
func (r *Response) watch() {
	r.c.early = nil
	if r.ctx.Done() != nil {
		r.stop = context.AfterFunc(r.ctx, r.c.abort)
	}
}

// Header returns the value of the first field called name without surrounding
// white space, nil if there is none. Names compare case-insensitively. The
// result is valid until Close.
func (r *Response) Header(name string) []byte {
	rest := r.head
	for len(rest) > 0 {
		line, after, _ := bytes.Cut(rest, []byte{'\n'})
		rest = after
		if len(line) > len(name) && line[len(name)] == ':' && equalFold(line[:len(name)], name) {
			return bytes.TrimSpace(line[len(name)+1:])
		}
	}
	return nil
}

// Length returns the length of the body in bytes, -1 if it is not known.
func (r *Response) Length() int64 {
	switch r.body {
	case noBody:
		return 0
	case byLength:
		return r.left
	case byChunks, byClose:
	}
	return -1
}

// SetDeadline moves the deadline of the exchange; zero means none.
func (r *Response) SetDeadline(t time.Time) {
	if !r.closed {
		r.c.deadline = t
		_ = r.c.nc.SetDeadline(t) // fails only on a closed connection, which the next read reports
	}
}

// Read reads the body. It returns io.EOF only at the body's proper end; any
// other error is an *[Error] and final.
func (r *Response) Read(p []byte) (int, error) {
	if r.closed {
		return 0, &Error{Op: "body", Sent: true, Err: ErrClosed}
	}
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.fail("body", err)
	}
	r.err = err
	return n, err
}

// ReadAll appends the body to dst and returns it. A body of more than limit
// bytes is [ErrTooLarge], found before it is read where its length is known.
func (r *Response) ReadAll(dst []byte, limit int64) ([]byte, error) {
	if n := r.Length(); n > limit {
		return dst, &Error{Op: "body", Sent: true, Err: ErrTooLarge}
	} else if n > 0 && int64(cap(dst)-len(dst)) < n+1 {
		grown := make([]byte, len(dst), int64(len(dst))+n+1)
		copy(grown, dst)
		dst = grown
	}
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if int64(len(dst)-start) > limit {
			return dst, &Error{Op: "body", Sent: true, Err: ErrTooLarge}
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// Close ends the exchange. A connection whose answer was read to its end goes
// back to the pool, any other is closed, which tells the server that nobody
// waits any more. Closing twice is no error.
func (r *Response) Close() { r.end(false) }

// Release is Close for a caller that has all it wants although the end of the
// body did not come yet, as after the last event of a stream. The connection
// is kept if, when it is needed next, that end has come and little before it,
// and closed if it has not come after Config.EndTimeout.
func (r *Response) Release() { r.end(true) }

func (r *Response) end(soon bool) {
	if r.closed {
		return
	}
	r.closed = true
	c, healthy := r.c, r.err == nil || errors.Is(r.err, io.EOF)
	c.early = nil
	stopped := r.stop == nil || r.stop()
	r.stop, r.ctx, r.head = nil, nil, nil
	switch {
	case !stopped || !healthy || !r.reuse:
		c.close()
	case r.done && c.r == c.w:
		c.reset()
		c.pool.put(c)
	case !r.done && soon:
		c.tail = r
		c.pool.put(c)
	default:
		c.close()
	}
	c.pool.release()
}

// tailBytes bounds what may come between the last event and the end.
const tailBytes = 1 << 10

// finish reads the rest of a released answer and reports whether it ended.
func (r *Response) finish() bool {
	var scratch [256]byte
	total := 0
	for total <= tailBytes {
		n, err := r.read(scratch[:])
		total += n
		if err != nil {
			return errors.Is(err, io.EOF) && r.done
		}
	}
	return false
}

// fail makes the error of a failed exchange.
func (r *Response) fail(op string, err error) error {
	return failure(r.ctx, op, true, err)
}

func failure(ctx context.Context, op string, sent bool, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrTruncated
	}
	return &Error{Op: op, Sent: sent, Err: err}
}

// read is Read without bookkeeping; an end of stream before the body's end is
// an error other than io.EOF.
func (r *Response) read(p []byte) (int, error) {
	for {
		switch {
		case r.done:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		case r.body == noBody || r.body == byLength && r.left == 0:
			r.done = true
		case r.body == byChunks && r.left == 0:
			if err := r.nextChunk(); err != nil {
				return 0, eofIsShort(err)
			}
		default:
			return r.some(p)
		}
	}
}

// some reads bytes of the body or of the present chunk; at least one is left.
func (r *Response) some(p []byte) (int, error) {
	c := r.c
	if r.body != byClose && int64(len(p)) > r.left {
		p = p[:r.left]
	}
	var n int
	switch {
	case c.r < c.w:
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
	case len(p) >= len(c.buf)-c.keep:
		var err error
		if n, err = c.read(p); n == 0 && err != nil {
			return 0, r.closing(err)
		}
	default:
		if err := c.fill(0); err != nil {
			return 0, r.closing(err)
		}
		n = copy(p, c.buf[c.r:c.w])
		c.r += n
	}
	if r.body != byClose {
		r.left -= int64(n)
	}
	return n, nil
}

// closing makes the server's close the end of a body that ends so.
func (r *Response) closing(err error) error {
	if r.body == byClose && errors.Is(err, io.EOF) {
		r.done = true
		return io.EOF
	}
	return eofIsShort(err)
}

func eofIsShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextChunk reads the line that starts a chunk, and after the last chunk the
// trailer, which is dropped.
func (r *Response) nextChunk() error {
	c := r.c
	if r.inside {
		_, err := c.line(0)
		if errors.Is(err, ErrTooLarge) {
			return fmt.Errorf("%w: chunk longer than its size", ErrProtocol)
		}
		if err != nil {
			return err
		}
		r.inside = false
	}
	line, err := c.line(maxChunkLine)
	if err != nil {
		return err
	}
	size, _, _ := bytes.Cut(line, []byte{';'})
	n, err := strconv.ParseUint(string(bytes.TrimRight(size, " \t")), 16, 63)
	if err != nil {
		return fmt.Errorf("%w: bad chunk size", ErrProtocol)
	}
	if n > 0 {
		r.left, r.inside = int64(n), true
		return nil
	}
	for range maxTrailers {
		line, err := c.line(maxChunkLine)
		if err != nil {
			return err
		}
		if len(line) == 0 {
			r.done = true
			return nil
		}
	}
	return fmt.Errorf("%w: too many trailers", ErrProtocol)
}

const maxTrailers = 64
