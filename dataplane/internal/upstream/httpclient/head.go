// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bytes"
	"fmt"
	"strconv"
)

// maxInterim bounds how many 1xx answers may come before the real one.
const maxInterim = 8

// answer reads heads up to the first that is not interim, and sets up the
// body.
func (c *conn) answer(r *Response, limit int) error {
	for range maxInterim {
		head, err := c.head(limit)
		if err != nil {
			return err
		}
		if err := r.parse(head); err != nil {
			return err
		}
		if r.Status == 101 {
			return fmt.Errorf("%w: unwanted upgrade", ErrProtocol)
		}
		if r.Status >= 200 {
			c.room()
			return nil
		}
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r, c.keep = 0, 0
	}
	return fmt.Errorf("%w: too many interim answers", ErrProtocol)
}

// parse reads a whole head: status line and fields. It accepts only what
// cannot be read in two ways: no folded lines, no white space before a colon,
// one length, never both a length and chunks, no chunks in HTTP/1.0 (RFC 9112
// §6.1, §6.3).
func (r *Response) parse(head []byte) error {
	line, fields, _ := bytes.Cut(head, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	modern, err := r.statusLine(line)
	if err != nil {
		return err
	}
	keepAlive := modern
	r.head, r.body, r.left = fields, byClose, -1
	length := int64(-1)
	for len(fields) > 0 {
		line, fields, _ = bytes.Cut(fields, []byte{'\n'})
		name, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte{'\r'}), []byte{':'})
		if !ok || !tokenBytes(name) || !cleanValue(value) {
			return fmt.Errorf("%w: bad header field", ErrProtocol)
		}
		value = bytes.TrimSpace(value)
		switch {
		case equalFold(name, "content-length"):
			n, err := strconv.ParseUint(string(value), 10, 63)
			if err != nil || length >= 0 && length != int64(n) || value[0] == '+' {
				return fmt.Errorf("%w: bad Content-Length", ErrProtocol)
			}
			length = int64(n)
		case equalFold(name, "transfer-encoding"):
			if !modern || r.body == byChunks || !equalFold(value, "chunked") {
				return fmt.Errorf("%w: unsupported Transfer-Encoding", ErrProtocol)
			}
			r.body = byChunks
		case equalFold(name, "connection"):
			keepAlive = connection(value, keepAlive)
		}
	}
	return r.frame(length, keepAlive)
}

// frame decides how the body ends.
func (r *Response) frame(length int64, keepAlive bool) error {
	switch {
	case r.body == byChunks && length >= 0:
		return fmt.Errorf("%w: both Content-Length and Transfer-Encoding", ErrProtocol)
	case r.Status < 200 || r.Status == 204 || r.Status == 304:
		r.body = noBody
	case r.body == byChunks:
		r.left = 0
	case length >= 0:
		r.body, r.left = byLength, length
	}
	r.reuse = keepAlive && r.body != byClose
	r.done = r.body == noBody || r.body == byLength && length == 0
	return nil
}

// statusLine reads HTTP/1.x SP 3DIGIT [SP reason] and returns whether x is 1:
// then there are chunks, and connections persist by default.
func (r *Response) statusLine(line []byte) (modern bool, err error) {
	if len(line) < 12 || string(line[:7]) != "HTTP/1." || line[7]-'0' > 1 || line[8] != ' ' ||
		len(line) > 12 && line[12] != ' ' {
		return false, fmt.Errorf("%w: bad status line", ErrProtocol)
	}
	status := 0
	for _, d := range line[9:12] {
		if d-'0' > 9 {
			return false, fmt.Errorf("%w: bad status code", ErrProtocol)
		}
		status = status*10 + int(d-'0')
	}
	if status < 100 || status > 599 {
		return false, fmt.Errorf("%w: bad status code", ErrProtocol)
	}
	r.Status = status
	return line[7] == '1', nil
}

// connection applies the options of a Connection field.
func connection(value []byte, keepAlive bool) bool {
	for len(value) > 0 {
		var option []byte
		option, value, _ = bytes.Cut(value, []byte{','})
		switch option = bytes.TrimSpace(option); {
		case equalFold(option, "close"):
			return false
		case equalFold(option, "keep-alive"):
			keepAlive = true
		}
	}
	return keepAlive
}

func tokenBytes(b []byte) bool {
	for _, c := range b {
		if !tokenByte(c) {
			return false
		}
	}
	return len(b) > 0
}

func cleanValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// equalFold compares ASCII text without regard to case.
func equalFold[T string | []byte](b []byte, s T) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		d := s[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20-'a' > 25) {
			return false
		}
	}
	return true
}
