// SPDX-License-Identifier: Apache-2.0

// Package lines reads the messages of stdio servers: one line each, of bounded length. Of a line that is longer than allowed
// it keeps nothing but the id of the response in it, so that the one call whose answer is too large can fail, and no
// other.
//
// Called by stdio. It must never know processes or what a message says.
package lines

import (
	"bufio"
	"errors"
	"io"
	"strconv"
)

const (
	readBuffer = 64 << 10
	// keptLine is the largest line buffer that is kept for the next line.
	keptLine = 256 << 10
)

// Reader reads lines.
type Reader struct {
	r   *bufio.Reader
	buf []byte
}

// New returns a Reader on r.
func New(r io.Reader) *Reader { return &Reader{r: bufio.NewReaderSize(r, readBuffer)} }

// Line is one line without its end, or, if it was longer than allowed, the id of the response in it, 0 if it was none or
// its id is no integer. Text is valid until the next line is read.
type Line struct {
	Text    []byte
	Cut     bool // the input ended before the line did
	TooLong bool
	ID      int64
}

// Next returns the next line of at most limit() bytes; limit is asked when bytes have come. The last line may lack its end; after it comes io.EOF, or the error
// that ended the reading.
func (l *Reader) Next(limit func() int64) (Line, error) {
	if cap(l.buf) > keptLine {
		l.buf = nil
	}
	l.buf = l.buf[:0]
	var long *hunter
	for {
		part, err := l.r.ReadSlice('\n')
		switch {
		case long != nil:
			long.feed(part)
		case int64(len(l.buf)+len(part)) > limit()+1: // the line's end is not counted
			long = &hunter{}
			long.feed(l.buf)
			long.feed(part)
			l.buf = nil
		case err == nil && len(l.buf) == 0:
			return Line{Text: part[:len(part)-1]}, nil // no copy of the common short line
		default:
			l.buf = append(l.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && long == nil && len(l.buf) == 0:
			return Line{}, err
		case long != nil:
			return Line{TooLong: true, ID: long.id()}, nil
		case err == nil:
			return Line{Text: l.buf[:len(l.buf)-1]}, nil
		default:
			return Line{Text: l.buf, Cut: true}, nil // the error comes again with the next read
		}
	}
}

// hunter finds the integer id of a JSON-RPC response while the text of it flows by, wherever in the object it stands: the
// TypeScript SDK writes the result, which may be what is too long, before the id.
type hunter struct {
	depth           int
	inString, slash bool
	key, value      []byte // of the member of the outermost object that is read
	inValue         bool
	found           []byte
	asks            bool // it has a method: its id is the server's own
}

const (
	idKey     = "id"
	methodKey = "method"
	maxText   = 24 // more than an int64 or those keys need
)

func (h *hunter) feed(b []byte) {
	for _, c := range b {
		h.step(c)
	}
}

func (h *hunter) step(c byte) {
	if h.inString {
		switch {
		case h.slash:
			h.slash = false
		case c == '\\':
			h.slash = true
		case c == '"':
			h.inString = false
			return
		}
		if h.depth == 1 && !h.inValue {
			h.key = capped(h.key, c)
		}
		return
	}
	switch c {
	case '"':
		h.inString = true
		if h.depth == 1 && h.inValue {
			h.value = capped(h.value, c) // a string is no id of ours
		}
	case '{', '[':
		h.depth++
	case '}', ']':
		if h.depth--; h.depth == 0 {
			h.endMember()
		}
	case ':':
		if h.depth == 1 {
			h.inValue = true
		}
	case ',':
		if h.depth == 1 {
			h.endMember()
		}
	case ' ', '\t', '\r', '\n':
	default:
		if h.depth == 1 && h.inValue {
			h.value = capped(h.value, c)
		}
	}
}

func (h *hunter) endMember() {
	switch string(h.key) {
	case idKey:
		h.found = append(h.found[:0], h.value...)
	case methodKey:
		h.asks = true
	}
	h.key, h.value, h.inValue = h.key[:0], h.value[:0], false
}

// id returns the id that stood in the response, 0 if there was none, it is no integer, or the object is no response.
func (h *hunter) id() int64 {
	n, err := strconv.ParseInt(string(h.found), 10, 64)
	if err != nil || h.asks {
		return 0
	}
	return n
}

func capped(b []byte, c byte) []byte {
	if len(b) < maxText {
		return append(b, c)
	}
	return b
}
