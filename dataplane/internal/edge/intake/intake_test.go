// SPDX-License-Identifier: Apache-2.0

package intake_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/penstockhq/penstock/dataplane/internal/edge/answer"
	"github.com/penstockhq/penstock/dataplane/internal/edge/intake"
)

func TestAccepts(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   answer.Form
	}{
		{nil, answer.Either},
		{[]string{"*/*"}, answer.Either},
		{[]string{"application/json, text/event-stream"}, answer.Either},
		{[]string{"text/event-stream", "application/json"}, answer.Either},
		{[]string{"Application/JSON;charset=utf-8;q=0.9"}, answer.JSON},
		{[]string{"application/*"}, answer.JSON},
		{[]string{"text/*"}, answer.Events},
		{[]string{" text/event-stream\t"}, answer.Events},
		{[]string{"text/event-stream;q=0,application/json"}, answer.JSON},
		{[]string{"*/*;q=0"}, 0},
		{[]string{"application/json; Q=0.000"}, 0},
		{[]string{"application/json;q=x"}, answer.JSON},
		{[]string{"application/jsonp"}, 0},
		{[]string{"text/html,,"}, 0},
		{[]string{""}, 0},
	} {
		if got := intake.Accepts(tt.values); got != tt.want {
			t.Errorf("Accepts(%q) = %v, want %v", tt.values, got, tt.want)
		}
	}
}

// TestRead: bodies of all sizes around the limit, with and without a declared length, arriving byte by byte or at once.
func TestRead(t *testing.T) {
	const limit = 100
	room := make([]byte, 0, 64)
	for _, size := range []int{0, 1, 63, 64, 65, 99, 100, 101, 5000} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "end with data": iotest.DataErrReader,
		} {
			for _, declared := range []bool{true, false} {
				want := bytes.Repeat([]byte("x"), size)
				r := httptest.NewRequest(http.MethodPost, "/", wrap(bytes.NewReader(want)))
				r.Header.Set("Content-Type", "application/json")
				r.ContentLength = -1
				if declared {
					r.ContentLength = int64(size)
				}
				got, form, err := intake.Read(httptest.NewRecorder(), r, room, limit)
				if size > limit {
					wantRefusal(t, err, http.StatusRequestEntityTooLarge)
					continue
				}
				if err != nil || !bytes.Equal(got, want) || form != answer.Either {
					t.Errorf("%d bytes, %s, declared %v: %d bytes, %v, %v", size, name, declared, len(got), form, err)
				}
				if size < cap(room) && size > 0 && &got[0] != &room[:1][0] {
					t.Errorf("%d bytes, %s, declared %v: not read into the room given", size, name, declared)
				}
			}
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		body   io.Reader
		status int
	}{
		{"no type", http.Header{}, strings.NewReader("{}"), http.StatusUnsupportedMediaType},
		{"malformed type", http.Header{"Content-Type": {"application/json; ="}}, strings.NewReader("{}"), http.StatusUnsupportedMediaType},
		{"encoding", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"br"}}, strings.NewReader("{}"), http.StatusUnsupportedMediaType},
		{"accept", http.Header{"Content-Type": {"application/json"}, "Accept": {"text/html"}}, strings.NewReader("{}"), http.StatusNotAcceptable},
		{"broken off", http.Header{"Content-Type": {"application/json"}}, iotest.ErrReader(io.ErrUnexpectedEOF), http.StatusRequestTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", tt.body)
			r.Header = tt.header
			body, _, err := intake.Read(httptest.NewRecorder(), r, nil, 100)
			wantRefusal(t, err, tt.status)
			if body != nil {
				t.Errorf("and a body %q", body)
			}
		})
	}
}

func wantRefusal(t *testing.T, err error, status int) {
	t.Helper()
	var r *intake.Refusal
	if !errors.As(err, &r) || r.Status != status || r.Text == "" || r.Error() != r.Text {
		t.Errorf("error %#v, want a refusal with %d", err, status)
	}
}

// TestHead is the limits of mcp.md §2.1 on headers, to the byte.
func TestHead(t *testing.T) {
	params := func(names, values int) http.Header {
		h := http.Header{}
		for n := range names {
			h["Mcp-Param-"+strconv.Itoa(n)] = make([]string, values)
		}
		return h
	}
	const around = len("X: \r\n")
	for _, tt := range []struct {
		name   string
		header http.Header
		ok     bool
	}{
		{"none", nil, true},
		{"64 params", params(64, 1), true},
		{"65 params", params(65, 1), false},
		{"64 values of one param", params(1, 64), true},
		{"65 values of one param", params(1, 65), false},
		{"many others", http.Header{"Mcp-Parameter": make([]string, 100), "X": make([]string, 100)}, true},
		{"64 KiB", http.Header{"X": {strings.Repeat("x", 64<<10-around)}}, true},
		{"more", http.Header{"X": {strings.Repeat("x", 64<<10-around+1)}}, false},
		{"64 KiB in two", http.Header{"X": {strings.Repeat("x", 32<<10-around)}, "Y": {strings.Repeat("x", 32<<10-around)}}, true},
		{"more in two lines of one name", http.Header{"X": {strings.Repeat("x", 32<<10-around), strings.Repeat("x", 32<<10-around+1)}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := intake.Head(tt.header)
			if tt.ok && err != nil {
				t.Error(err)
			} else if !tt.ok {
				wantRefusal(t, err, http.StatusRequestHeaderFieldsTooLarge)
			}
		})
	}
	h := http.Header{"Mcp-Param-A": {"x"}, "Accept": {"x"}, "Content-Type": {"x"}}
	if n := testing.AllocsPerRun(100, func() { _ = intake.Head(h) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
