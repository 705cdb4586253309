// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// canned is a connection that answers with fixed bytes, at most step at a
// time.
type canned struct {
	net.Conn
	answer *bytes.Reader
	step   int
}

func (c *canned) Read(p []byte) (int, error)       { return c.answer.Read(p[:min(len(p), c.step)]) }
func (c *canned) Write(p []byte) (int, error)      { return len(p), nil }
func (c *canned) Close() error                     { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }

// receive lets the client read the bytes as an answer.
func receive(ctx context.Context, answer []byte, step int) (status int, body []byte, err error) {
	c, err := New(Config{
		MaxHeaderBytes: 8 << 10,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return &canned{answer: bytes.NewReader(answer), step: step}, nil
		},
	})
	if err != nil {
		return 0, nil, err
	}
	r := &Request{}
	r.Start("POST", "p", &Endpoint{name: "h", addr: "h:80", host: "h", target: "/"})
	resp, err := c.Do(ctx, r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Close()
	body, err = resp.ReadAll(nil, 1<<16)
	return resp.Status, body, err
}

func TestAnswers(t *testing.T) {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	const fifty = 1 << 16
	tests := []struct {
		name, answer string
		status       int
		body         string
		err          error
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", 200, "ab", nil},
		{"no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", nil},
		{"line feeds", "HTTP/1.1 200 OK\nContent-Length: 2\n\nab", 200, "ab", nil},
		{"equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", 200, "a", nil},
		{"until close", "HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it", nil},
		{"1.0", "HTTP/1.0 200 OK\r\n\r\nold", 200, "old", nil},
		{"no content", "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, "", nil},
		{"interim", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, "a", nil},
		{"chunks", chunked + "1\r\na\r\n00002;ext=1\r\nbc\r\n0\r\nTrailer: x\r\n\r\n", 200, "abc", nil},
		{"chunk with LF", chunked + "1\na\n0\n\n", 200, "a", nil},
		{"chunked in capitals", strings.Replace(chunked, "chunked", "CHUNKED", 1) + "0\r\n\r\n", 200, "", nil},
		{"white space around values", "HTTP/1.1 200 OK\r\nContent-Length: \t 1 \r\n\r\na", 200, "a", nil},

		{"nothing", "", 0, "", ErrTruncated},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", 0, "", ErrTruncated},
		{"short body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", 200, "abc", ErrTruncated},
		{"short chunk", chunked + "5\r\nabc", 200, "abc", ErrTruncated},
		{"no last chunk", chunked + "3\r\nabc\r\n", 200, "abc", ErrTruncated},
		{"no end of trailer", chunked + "0\r\n", 200, "", ErrTruncated},
		{"body over the limit", "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", 200, "", ErrTooLarge},
		{"chunks over the limit", chunked + "11000\r\n" + strings.Repeat("x", 0x11000) + "\r\n0\r\n\r\n", 200, strings.Repeat("x", fifty), ErrTooLarge},
		{"head over the limit", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n", 0, "", ErrTooLarge},
		{"line without end", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("y", 20000), 0, "", ErrTooLarge},
		{"chunk line without end", chunked + strings.Repeat("1", 20000), 200, "", ErrTooLarge},
		{"other protocol", "SSH-2.0-OpenSSH_9.6\r\n\r\n", 0, "", ErrProtocol},
		{"blank first line", "\r\nHTTP/1.1 200 OK\r\n\r\n", 0, "", ErrProtocol},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", 0, "", ErrProtocol},
		{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", 0, "", ErrProtocol},
		{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", 0, "", ErrProtocol},
		{"status 99", "HTTP/1.1 099 OK\r\n\r\n", 0, "", ErrProtocol},
		{"status 600", "HTTP/1.1 600 OK\r\n\r\n", 0, "", ErrProtocol},
		{"upgrade", "HTTP/1.1 101 Switching\r\n\r\n", 0, "", ErrProtocol},
		{"interim for ever", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 20), 0, "", ErrProtocol},
		{"folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", 0, "", ErrProtocol},
		{"space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\na", 0, "", ErrProtocol},
		{"no colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n", 0, "", ErrProtocol},
		{"bare CR in value", "HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n", 0, "", ErrProtocol},
		{"NUL in value", "HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n", 0, "", ErrProtocol},
		{"length and chunks", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "", ErrProtocol},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 0, "", ErrProtocol},
		{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\na", 0, "", ErrProtocol},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 0, "", ErrProtocol},
		{"signed length", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", 0, "", ErrProtocol},
		{"gzip", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0, "", ErrProtocol},
		{"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0, "", ErrProtocol},
		{"chunks in 1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, "", ErrProtocol},
		{"no chunk size", chunked + "\r\n", 200, "", ErrProtocol},
		{"bad chunk size", chunked + "0x1\r\na\r\n", 200, "", ErrProtocol},
		{"huge chunk size", chunked + "FFFFFFFFFFFFFFFFF\r\na\r\n", 200, "", ErrProtocol},
		{"chunk longer than its size", chunked + "1\r\nab\r\n", 200, "a", ErrProtocol},
		{"trailers for ever", chunked + "0\r\n" + strings.Repeat("A: b\r\n", 200), 200, "", ErrProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, step := range []int{1, 7, 1 << 20} {
				status, body, err := receive(t.Context(), []byte(tt.answer), step)
				if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
					t.Fatalf("step %d: error %v, want %v", step, err, tt.err)
				}
				if err != nil && !Sent(err) {
					t.Errorf("step %d: not marked as sent", step)
				}
				if status != tt.status || !bytes.HasPrefix(body, []byte(tt.body)) || err == nil && string(body) != tt.body {
					t.Errorf("step %d: %d %q, want %d %q", step, status, body, tt.status, tt.body)
				}
			}
		})
	}
}

// FuzzAnswer holds the client against net/http: an answer that is accepted
// means the same to both, so that no second meaning can be smuggled, and no
// bytes make it panic or loop.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		okAnswer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "HTTP/1.0 404 X\r\n\r\nbody",
		"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		status, body, err := receive(t.Context(), b, 1<<20)
		if err != nil {
			return
		}
		if s2, b2, err := receive(t.Context(), b, 1); err != nil || s2 != status || !bytes.Equal(b2, body) {
			t.Fatalf("byte by byte: %d %q %v", s2, b2, err)
		}
		r := bufio.NewReader(bytes.NewReader(b))
		for {
			resp, err := http.ReadResponse(r, &http.Request{Method: "POST"})
			if err != nil {
				return // stricter than we are: it refuses
			}
			want, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode < 200 && resp.StatusCode != 101 {
				continue
			}
			if err == nil && (resp.StatusCode != status || !bytes.Equal(want, body)) {
				t.Fatalf("%d %q, net/http %d %q", status, body, resp.StatusCode, want)
			}
			return
		}
	})
}

func BenchmarkDo(b *testing.B) {
	to := script(b, func(_ int, c net.Conn, r *bufio.Reader) {
		answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 64\r\nDate: x\r\n\r\n" + strings.Repeat("x", 64))
		in := make([]byte, 4096)
		_ = c.SetDeadline(time.Time{})
		for {
			if _, err := c.Read(in); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
	c := newClient(b, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &Request{}
	body, out := []byte(strings.Repeat("y", 150)), make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		r.Start("POST", "p", to)
		r.Header("Content-Type", "application/json")
		r.Header("Accept", "application/json, text/event-stream")
		r.Body, r.Deadline = body, time.Now().Add(time.Minute)
		resp, err := c.Do(ctx, r)
		if err != nil {
			b.Fatal(err)
		}
		if out, err = resp.ReadAll(out[:0], 1<<20); err != nil || len(out) != 64 {
			b.Fatal(err)
		}
		resp.Close()
	}
}
