// SPDX-License-Identifier: Apache-2.0

package httpclient

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Endpoint is a parsed http or https URL, immutable and safe to share.
type Endpoint struct {
	secure bool
	name   string // host without port, for TLS
	addr   string // host:port to dial
	host   string // Host header
	target string // path and query

	// Slow notes that the server let calls wait in vain for the GET stream that was asked for last.
	Slow atomic.Bool
}

// ParseEndpoint parses an absolute http or https URL. User information,
// fragments are refused, and so are hosts and paths with characters outside
// printable ASCII: they must be given in their encoded form.
func ParseEndpoint(raw string) (*Endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("parse URL: %w", err)
	}
	e := &Endpoint{name: u.Hostname(), host: u.Host, target: u.RequestURI()}
	port := u.Port()
	switch u.Scheme {
	case "http":
		port = orDefault(port, "80")
	case "https":
		e.secure = true
		port = orDefault(port, "443")
	default:
		return nil, errors.New("parse URL: the scheme must be http or https")
	}
	if e.name == "" || u.User != nil || u.Fragment != "" {
		return nil, errors.New("parse URL: it needs a host, and no user information or fragment")
	}
	if !visible(e.host) || !visible(e.target) {
		return nil, errors.New("parse URL: characters outside printable ASCII")
	}
	e.addr = net.JoinHostPort(e.name, port)
	return e, nil
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Request is one HTTP request. It is made by [Request.Start], filled by
// [Request.Header], sent by [Client.Do], and can then be started again without
// new memory. It belongs to one goroutine.
type Request struct {
	// Body is sent with a Content-Length unless the method is GET or DELETE.
	// It is not kept after Do returns.
	Body []byte
	// Deadline ends the exchange; zero means none. [Response.SetDeadline]
	// moves it while the body is read.
	Deadline time.Time

	to   *Endpoint
	pool string
	buf  []byte // head without Content-Length
	bare bool   // no body, no Content-Length
	err  error
}

// Start begins a request and forgets the one before, Body and Deadline too.
// Connections are shared only by requests with an
// equal pool name, which stands for the connection and credential identity.
// method is GET, POST or DELETE.
func (r *Request) Start(method, pool string, to *Endpoint) {
	*r = Request{to: to, pool: pool, buf: r.buf[:0]}
	switch method {
	case "GET", "DELETE":
		r.bare = true
	case "POST":
	default:
		r.err = fmt.Errorf("method %q is not supported", method)
	}
	r.buf = append(append(append(append(r.buf, method...), ' '), to.target...), " HTTP/1.1\r\nHost: "...)
	r.buf = append(append(r.buf, to.host...), "\r\n"...)
}

// Header adds one header field. A name that is no token, a value with control
// characters, and the names that this client writes itself (Host,
// Content-Length, and what is hop-by-hop) make Do fail before anything is
// sent, so a field can never end the head or change the framing.
func (r *Request) Header(name, value string) {
	if r.err != nil {
		return
	}
	if !token(name) || !fieldValue(value) || ours(name) {
		r.err = fmt.Errorf("header field %q cannot be sent", name)
		return
	}
	r.buf = append(append(append(append(r.buf, name...), ": "...), value...), "\r\n"...)
}

// Values adds one header field for each value.
func (r *Request) Values(name string, values []string) {
	for _, v := range values {
		r.Header(name, v)
	}
}

// maxJoined is the largest body that is copied behind the head to leave in the
// same write.
const maxJoined = 64 << 10

// bytes returns the head, complete, and the body that goes in a write of its
// own. Calling it again gives the same.
func (r *Request) bytes() (first, rest []byte) {
	first = r.buf
	if !r.bare {
		first = append(first, "Content-Length: "...)
		first = append(strconv.AppendInt(first, int64(len(r.Body)), 10), "\r\n"...)
	}
	first = append(first, "\r\n"...)
	if !r.bare {
		if len(r.Body) <= maxJoined {
			first = append(first, r.Body...)
		} else {
			rest = r.Body
		}
	}
	r.buf = first[:len(r.buf)]
	return first, rest
}

// short reports whether the request is taken by the connection at once, whatever the server does: connections have room for more.
func (r *Request) short() bool { return len(r.buf)+len(r.Body) <= 4<<10 }

// ours reports whether the client alone writes the field.
func ours(name string) bool {
	for _, n := range [...]string{
		"host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection",
		"te", "trailer", "upgrade", "expect", "accept-encoding",
	} {
		if strings.EqualFold(name, n) {
			return true
		}
	}
	return false
}

// token reports whether s is a field name of RFC 9110 §5.6.2.
func token(s string) bool {
	for i := range len(s) {
		if !tokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenByte(c byte) bool {
	switch {
	case c-'0' <= 9, c|0x20-'a' <= 25:
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// fieldValue reports whether s may stand as a field value: no control
// characters but the tab. Bytes above ASCII pass, as RFC 9110 §5.5 lets them.
func fieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
