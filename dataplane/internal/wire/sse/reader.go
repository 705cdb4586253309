// SPDX-License-Identifier: Apache-2.0

package sse

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"time"
)

// ErrTooLarge is returned by [Reader.Next] when one event is larger than the
// reader's limit. The stream cannot be read further.
var ErrTooLarge = errors.New("server-sent event too large")

// Event is one dispatched event. Its slices are valid until the next call of
// [Reader.Next].
type Event struct {
	// Type is the event field; nil means "message".
	Type []byte
	// Data is the data field, several lines joined with a line feed; nil if
	// the event had none (a priming event has only an id).
	Data []byte
	// ID is the last event id of the stream so far, "" if none came or it was
	// longer than MaxID.
	ID string
}

// IsMessage reports whether the event is of the default type.
func (e *Event) IsMessage() bool {
	return len(e.Type) == 0 || string(e.Type) == "message"
}

// Reader splits a byte stream into events. It is used by one goroutine.
type Reader struct {
	src io.Reader
	max int

	buf    []byte // buf[mark:] belongs to the present event, buf[r:] is unread
	mark   int
	r      int
	fresh  bool // nothing consumed yet: a byte order mark may come
	skipLF bool // the last line ended in CR: a LF belongs to it
	begun  bool // a field of an event came, its blank line not yet
	err    error

	typ    []byte
	lines  int    // data lines of the present event
	single [2]int // the first one, counted from mark
	joined []byte // all of them, once there are two
	id     string
	last   string // id as of the last event that ended
	retry  time.Duration
}

const (
	// MaxID is the longest event id in bytes that is taken (ours): it has to fit
	// into a header to resume by. A longer one counts as none.
	MaxID = 4 << 10

	firstBuffer = 4 << 10
	// keptBuffer is the largest buffer that survives an event or a Reset: one
	// large event must not pin its memory for as long as the stream is open.
	keptBuffer = 64 << 10
)

// NewReader returns a Reader over src that refuses events of more than limit
// bytes, lines included. limit must be positive.
func NewReader(src io.Reader, limit int) *Reader {
	r := &Reader{}
	r.Reset(src, limit)
	return r
}

// Reset makes r read a new stream and keeps its memory.
func (r *Reader) Reset(src io.Reader, limit int) {
	r.mark, r.r, r.buf = 0, 0, r.buf[:0]
	r.shrink()
	*r = Reader{src: src, max: limit, fresh: true, buf: r.buf[:0], typ: r.typ[:0], joined: r.joined[:0]}
}

// shrink lets go of large buffers that nothing needs any more.
func (r *Reader) shrink() {
	if left := len(r.buf) - r.mark; cap(r.buf) > keptBuffer && left <= keptBuffer/2 {
		small := make([]byte, left, max(firstBuffer, 2*left))
		copy(small, r.buf[r.mark:])
		r.buf, r.r, r.mark = small, r.r-r.mark, 0
	}
	if cap(r.joined) > keptBuffer {
		r.joined = nil
	}
	if cap(r.typ) > keptBuffer {
		r.typ = nil
	}
}

// Retry returns the reconnection time that the stream last asked for, 0 if it
// did not.
func (r *Reader) Retry() time.Duration { return r.retry }

// LastID returns the last event id of the stream so far: that of the last event
// which came whole, even if it had no data. It is where to resume the stream.
func (r *Reader) LastID() string { return r.last }

// Next returns the next event. At the clean end of the stream it returns
// io.EOF, at an end inside an event io.ErrUnexpectedEOF, for an event over the
// limit [ErrTooLarge], else the error of the source. Each error is final.
func (r *Reader) Next() (Event, error) {
	r.start()
	r.shrink()
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if len(line) > 0 && line[0] == ':' {
			if !r.begun {
				r.start() // keep-alives of a quiet stream must not add up
			}
			continue
		}
		if len(line) > 0 {
			r.begun = true
			r.field(line)
			continue
		}
		r.last = r.id
		if r.lines > 0 {
			e := Event{ID: r.id, Data: r.joined}
			if r.lines == 1 {
				e.Data = r.buf[r.mark+r.single[0] : r.mark+r.single[1]]
			}
			if len(r.typ) > 0 {
				e.Type = r.typ
			}
			return e, nil
		}
		// Only an id or a retry: nothing is dispatched.
		r.start()
	}
}

// start begins a new event at the first unread byte.
func (r *Reader) start() {
	r.mark, r.begun, r.lines = r.r, false, 0
	r.typ, r.joined = r.typ[:0], r.joined[:0]
}

// field takes one line that is not blank and ends right before buf[r].
func (r *Reader) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte{':'})
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "data":
		r.dataLine(value)
	case "event":
		r.typ = append(r.typ[:0], value...)
	case "id":
		switch {
		case bytes.IndexByte(value, 0) >= 0: // as the standard says
		case len(value) > MaxID:
			r.id = ""
		case string(value) != r.id:
			r.id = string(value)
		}
	case "retry":
		if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
			r.retry = time.Duration(ms) * time.Millisecond
		}
	}
}

// dataLine notes the first data line where it lies, so that the usual event,
// which has one, is not copied; further ones are joined.
func (r *Reader) dataLine(value []byte) {
	switch r.lines {
	case 0:
		end := r.r - 1 - r.mark // the line end is consumed
		r.single = [2]int{end - len(value), end}
	case 1:
		first := r.buf[r.mark+r.single[0] : r.mark+r.single[1]]
		r.joined = append(append(append(r.joined, first...), '\n'), value...)
	default:
		r.joined = append(append(r.joined, '\n'), value...)
	}
	r.lines++
}

// line returns the next line without its end. It is valid until the next call.
func (r *Reader) line() ([]byte, error) {
	scanned := 0
	for {
		if r.trim() {
			scanned = 0
		}
		rest := r.buf[r.r:]
		if n := lineEnd(rest, scanned); n >= 0 {
			if n > 0 && r.r-r.mark+n > r.max {
				return nil, ErrTooLarge
			}
			r.r += n + 1
			r.fresh = false
			r.skipLF = rest[n] == '\r'
			return rest[:n], nil
		}
		scanned = len(rest)
		if scanned > 0 && !r.fresh && len(r.buf)-r.mark > r.max {
			return nil, ErrTooLarge
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && (r.begun || len(r.buf) > r.r) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// lineEnd returns the index of the first CR or LF of b from the index from on,
// -1 if there is none.
func lineEnd(b []byte, from int) int {
	part := b[from:]
	lf := bytes.IndexByte(part, '\n')
	if lf >= 0 {
		part = part[:lf]
	}
	if cr := bytes.IndexByte(part, '\r'); cr >= 0 {
		return from + cr
	}
	if lf < 0 {
		return -1
	}
	return from + lf
}

// trim drops what does not belong to a line, the LF of a CRLF and the byte
// order mark, and reports whether it did. A CR ends its line at once: waiting
// for the LF would hold an event back until the next one comes.
func (r *Reader) trim() bool {
	from := r.r
	if r.skipLF && r.r < len(r.buf) {
		if r.buf[r.r] == '\n' {
			r.r++
		}
		r.skipLF = false
	}
	if r.fresh && len(r.buf)-r.r >= 3 {
		if bytes.HasPrefix(r.buf[r.r:], []byte{0xEF, 0xBB, 0xBF}) {
			r.r += 3
		}
		r.fresh = false
	}
	return r.r != from
}

// fill reads more. It keeps the present event, moves it to the front, and
// grows the buffer only when the event fills it.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.mark > 0 {
		n := copy(r.buf, r.buf[r.mark:])
		r.r -= r.mark
		r.buf, r.mark = r.buf[:n], 0
	}
	if len(r.buf) == cap(r.buf) {
		grown := make([]byte, len(r.buf), max(firstBuffer, 2*cap(r.buf)))
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.src.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	r.err = err
	if n > 0 {
		return nil
	}
	if err == nil {
		r.err = io.ErrNoProgress
	}
	return r.err
}
