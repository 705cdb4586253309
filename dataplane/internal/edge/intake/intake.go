// SPDX-License-Identifier: Apache-2.0

// Package intake reads what a client sends and what it takes in return: Content-Type, Accept, and the body whole
// (mcp.md M-16, M-17), within the limits of §2.1.
//
// edge uses it. It must never look into the body.
package intake

import (
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
)

// bodyTimeout is how long a client may take to send its body.
const bodyTimeout = 30 * time.Second

// Read checks the content headers and reads the body whole, before anything is sent (M-16, M-17), into room if it fits.
// The error is a [Refusal]: 415, 406, 413, or 408 if the body does not come within 30 s.
func Read(w http.ResponseWriter, r *http.Request, room []byte, limit int64) (body []byte, form answer.Form, err error) {
	if !isJSON(r.Header["Content-Type"]) || len(r.Header["Content-Encoding"]) > 0 {
		return nil, 0, Refuse(http.StatusUnsupportedMediaType, "The body must be application/json without a content encoding.")
	}
	if form = Accepts(r.Header["Accept"]); form == 0 {
		return nil, 0, Refuse(http.StatusNotAcceptable, "The client must accept application/json or text/event-stream.")
	}
	if r.ContentLength > limit {
		return nil, form, tooLarge(limit)
	}
	deadline(w, time.Now().Add(bodyTimeout))
	defer deadline(w, time.Time{})
	body, err = readAll(r, room[:0], limit)
	return body, form, err
}

func readAll(r *http.Request, b []byte, limit int64) ([]byte, error) {
	if need := r.ContentLength; need >= int64(cap(b)) {
		b = make([]byte, 0, need+1) // and a byte to see the end in
	}
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Body.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > limit:
			return nil, tooLarge(limit)
		case err == io.EOF:
			_ = r.Body.Close() // it was read to its end: what answers the request need not look for that again
			return b, nil
		case err != nil:
			return nil, Refuse(http.StatusRequestTimeout, "The body did not come.")
		}
	}
}

// deadline bounds the reads of a connection. A server that knows no deadlines, as in tests, has none.
func deadline(w http.ResponseWriter, t time.Time) {
	if d, ok := w.(interface{ SetReadDeadline(t time.Time) error }); ok {
		_ = d.SetReadDeadline(t)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

// Bounds of the headers of a request (mcp.md §2.1).
const (
	maxHead   = 64 << 10 // bytes of names and values, with what separates them
	maxParams = 64       // headers that repeat arguments
)

// paramPrefix begins the canonical name of a header that repeats an argument (M-25).
const paramPrefix = "Mcp-Param-"

// Head refuses, with 431, headers that are larger or repeat more arguments than a node reads.
func Head(h http.Header) error {
	size, params := 0, 0
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(": ") + len(v) + len("\r\n")
		}
		if strings.HasPrefix(name, paramPrefix) {
			params += len(values)
		}
	}
	switch {
	case size > maxHead:
		return Refuse(http.StatusRequestHeaderFieldsTooLarge, "The headers have more than "+strconv.Itoa(maxHead)+" bytes.")
	case params > maxParams:
		return Refuse(http.StatusRequestHeaderFieldsTooLarge, "There are more than "+strconv.Itoa(maxParams)+" Mcp-Param headers.")
	}
	return nil
}

// Refusal is an HTTP error of the transport; its body is a JSON-RPC error with code -32600 and this text.
type Refusal struct {
	Status int
	Text   string
}

// Error returns the text.
func (r *Refusal) Error() string { return r.Text }

// Refuse returns a Refusal.
func Refuse(status int, text string) error { return &Refusal{status, text} }

func tooLarge(limit int64) error {
	return Refuse(http.StatusRequestEntityTooLarge, "The body has more than "+strconv.FormatInt(limit, 10)+" bytes.")
}

func isJSON(values []string) bool {
	if len(values) != 1 {
		return false
	}
	if values[0] == "application/json" {
		return true
	}
	t, _, err := mime.ParseMediaType(values[0])
	return err == nil && t == "application/json"
}

// Accepts reads Accept; without one the client takes both forms (M-16, ours).
func Accepts(values []string) answer.Form {
	if len(values) == 0 {
		return answer.Either
	}
	var form answer.Form
	for _, v := range values {
		for v != "" {
			var one string
			one, v, _ = strings.Cut(v, ",")
			kind, q, _ := strings.Cut(one, ";")
			if refused(q) {
				continue
			}
			switch kind = strings.Trim(kind, " \t"); {
			case strings.EqualFold(kind, "application/json"), strings.EqualFold(kind, "application/*"):
				form |= answer.JSON
			case strings.EqualFold(kind, "text/event-stream"), strings.EqualFold(kind, "text/*"):
				form |= answer.Events
			case kind == "*/*":
				form |= answer.Either
			}
		}
	}
	return form
}

// refused reports whether the parameters of a media range have the weight 0.
func refused(params string) bool {
	for params != "" {
		var one string
		one, params, _ = strings.Cut(params, ";")
		name, value, _ := strings.Cut(strings.Trim(one, " \t"), "=")
		if strings.EqualFold(name, "q") {
			weight, err := strconv.ParseFloat(value, 64)
			return err == nil && weight == 0
		}
	}
	return false
}
