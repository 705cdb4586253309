// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	firstBuffer = 4 << 10
	// keptBuffer is the largest read buffer an idle connection keeps.
	keptBuffer = 16 << 10
	// bodyRoom is the free space for body bytes behind a kept head.
	bodyRoom = 2 << 10
	// maxChunkLine bounds the line that starts a chunk and each trailer line.
	maxChunkLine = 4 << 10
)

// conn is one connection to a server. It is used by one exchange at a time.
type conn struct {
	nc     net.Conn
	prober prober
	pool   *pool
	secure bool
	abort  func() // closes nc; made once so that no exchange allocates it

	buf   []byte // buf[r:w] is read and not consumed
	r, w  int
	keep  int // buf[:keep] is the head of the present answer
	since time.Time
	tail  *Response // the answer whose end has not been read yet

	early    *Response // the answer whose context is not watched yet
	soon     time.Time // until when it need not be
	deadline time.Time // of the present exchange
}

func newConn(nc net.Conn, raw net.Conn, p *pool, secure bool) *conn {
	return &conn{
		nc: nc, prober: newProber(raw), pool: p, secure: secure,
		abort: func() { _ = raw.Close() },
		buf:   make([]byte, firstBuffer),
	}
}

func (c *conn) close() {
	c.abort()
	c.buf, c.tail = nil, nil
}

// reset makes the connection ready for the next answer. The buffer is empty.
func (c *conn) reset() {
	if cap(c.buf) > keptBuffer {
		c.buf = make([]byte, firstBuffer)
	}
	c.r, c.w, c.keep, c.tail = 0, 0, 0, nil
}

// tailWait is how long a connection taken from the pool is given to deliver
// the end of its last answer, which usually lies in the socket already.
const tailWait = time.Millisecond

// usable reports whether an idle connection can carry a request: its last
// answer has ended, nothing came after it, and the server has not closed.
func (c *conn) usable(deadline time.Time) bool {
	if c.tail != nil && !c.ended() {
		return false
	}
	// The prober fails on a connection whose deadline has passed.
	return c.nc.SetDeadline(deadline) == nil && c.prober.quiet()
}

// ended reads the end of the last answer and reports whether it was there.
func (c *conn) ended() bool {
	if c.nc.SetDeadline(time.Now().Add(tailWait)) != nil || !c.tail.finish() || c.r != c.w {
		return false
	}
	c.reset()
	return true
}

// silent reports whether nothing of the end of the last answer is there. Under
// TLS that cannot be told without waiting.
func (c *conn) silent() bool {
	return !c.secure && c.r == c.w && c.nc.SetDeadline(time.Now().Add(tailWait)) == nil && c.prober.quiet()
}

// send writes the request and reports whether any byte may have left.
func (c *conn) send(r *Request) (sent bool, err error) {
	first, rest := r.bytes()
	n, err := c.nc.Write(first)
	if err == nil && len(rest) > 0 {
		_, err = c.nc.Write(rest)
	}
	// A failed TLS write may have sent a record although it counts no bytes.
	return err == nil || n > 0 || c.secure, err
}

// atOnce is how long an exchange takes before anybody looks whether its answer is still wanted.
const atOnce = 10 * time.Millisecond

// read reads what the server sends. Most answers come at once, and to watch a context costs more memory than the rest of an exchange:
// it begins when the exchange takes longer than atOnce.
func (c *conn) read(p []byte) (int, error) {
	if c.early == nil {
		return c.nc.Read(p)
	}
	if c.deadline.IsZero() || c.soon.Before(c.deadline) {
		if err := c.nc.SetReadDeadline(c.soon); err != nil {
			return 0, err
		}
		if n, err := c.nc.Read(p); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
	}
	c.early.watch()
	if err := c.nc.SetReadDeadline(c.deadline); err != nil {
		return 0, err
	}
	return c.nc.Read(p)
}

// fill reads at least one byte more. Consumed bytes make room; the buffer
// grows only while it is below limit.
func (c *conn) fill(limit int) error {
	if c.r == c.w {
		c.r, c.w = c.keep, c.keep
	}
	if c.w == len(c.buf) {
		if c.r > c.keep {
			c.w = c.keep + copy(c.buf[c.keep:], c.buf[c.r:c.w])
			c.r = c.keep
		} else if len(c.buf)-c.keep >= limit {
			return ErrTooLarge
		} else {
			grown := make([]byte, 2*len(c.buf))
			copy(grown, c.buf[:c.w])
			c.buf = grown
		}
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// line consumes one line and returns it without its CRLF or LF. It is valid
// until the next read. A line of more than limit bytes is ErrTooLarge.
func (c *conn) line(limit int) ([]byte, error) {
	from := 0
	for {
		if n := bytes.IndexByte(c.buf[c.r+from:c.w], '\n'); n >= 0 {
			line := bytes.TrimSuffix(c.buf[c.r:c.r+from+n], []byte{'\r'})
			c.r += from + n + 1
			if len(line) > limit {
				return nil, ErrTooLarge
			}
			return line, nil
		}
		from = c.w - c.r
		if from > limit+1 {
			return nil, ErrTooLarge
		}
		if err := c.fill(limit + 2); err != nil {
			return nil, err
		}
	}
}

// head reads status line and header fields up to the blank line and keeps them
// in the buffer.
func (c *conn) head(limit int) ([]byte, error) {
	c.keep = 0
	from := 0 // start of the line being looked for
	for {
		n := bytes.IndexByte(c.buf[from:c.w], '\n')
		if n < 0 {
			if c.w > limit {
				return nil, ErrTooLarge
			}
			if err := c.fillHead(); err != nil {
				return nil, err
			}
			continue
		}
		blank := n == 0 || n == 1 && c.buf[from] == '\r'
		if blank && from == 0 {
			return nil, fmt.Errorf("%w: blank status line", ErrProtocol)
		}
		if blank {
			c.r, c.keep = from+n+1, from+n+1
			return c.buf[:from], nil
		}
		if from += n + 1; from > limit {
			return nil, ErrTooLarge
		}
	}
}

// fillHead is fill for a head, of which nothing is consumed before its end.
func (c *conn) fillHead() error {
	if c.w == len(c.buf) {
		grown := make([]byte, 2*len(c.buf))
		copy(grown, c.buf[:c.w])
		c.buf = grown
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// room makes sure that body bytes fit behind the kept head.
func (c *conn) room() {
	if len(c.buf)-c.keep >= bodyRoom {
		return
	}
	grown := make([]byte, len(c.buf)+bodyRoom)
	copy(grown, c.buf[:c.w])
	c.buf = grown
}
