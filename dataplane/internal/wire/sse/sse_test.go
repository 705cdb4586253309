// SPDX-License-Identifier: Apache-2.0

package sse

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type event struct{ Type, Data, ID string }

func readAll(src io.Reader, limit int) ([]event, *Reader, error) {
	r := NewReader(src, limit)
	var out []event
	for {
		e, err := r.Next()
		if err != nil {
			return out, r, err
		}
		out = append(out, event{string(e.Type), string(e.Data), e.ID})
	}
}

func TestReader(t *testing.T) {
	tests := []struct {
		name, text string
		want       []event
		err        error
	}{
		{"empty", "", nil, io.EOF},
		{"one", "data: {}\n\n", []event{{"", "{}", ""}}, io.EOF},
		{"no space", "data:{}\n\n", []event{{"", "{}", ""}}, io.EOF},
		{"two spaces keep one", "data:  x\n\n", []event{{"", " x", ""}}, io.EOF},
		{"CRLF", "event: message\r\ndata: {}\r\n\r\ndata: 2\r\n\r\n", []event{{"message", "{}", ""}, {"", "2", ""}}, io.EOF},
		{"CR", "data: 1\r\rdata: 2\r\r", []event{{"", "1", ""}, {"", "2", ""}}, io.EOF},
		{"mixed", "data: 1\r\n\ndata: 2\n\r\n", []event{{"", "1", ""}, {"", "2", ""}}, io.EOF},
		{"several data lines", "data: a\ndata\ndata: b\ndata: c\n\n", []event{{"", "a\n\nb\nc", ""}}, io.EOF},
		{"comments", ": ping\n\n:\ndata: 1\n: x\n\n", []event{{"", "1", ""}}, io.EOF},
		{"byte order mark", "\ufeffdata: 1\n\n", []event{{"", "1", ""}}, io.EOF},
		{"mark later is a name", "data: 1\n\n\ufeffdata: 2\n\n", []event{{"", "1", ""}}, io.EOF},
		{"ids stay", "id: a\ndata: 1\n\ndata: 2\n\nid\ndata: 3\n\n", []event{{"", "1", "a"}, {"", "2", "a"}, {"", "3", ""}}, io.EOF},
		{"priming event", "id: a\nretry: 1000\ndata: \n\n", []event{{"", "", "a"}}, io.EOF},
		{"id alone dispatches nothing", "id: a\n\ndata: 1\n\n", []event{{"", "1", "a"}}, io.EOF},
		{"type without data is forgotten", "event: x\n\ndata: 1\n\n", []event{{"", "1", ""}}, io.EOF},
		{"unknown fields", "foo: 1\nbar\ndata: 1\n\n", []event{{"", "1", ""}}, io.EOF},
		{"keep-alives do not add up", strings.Repeat(":\r\n", 30) + "data: 1\n\n:", []event{{"", "1", ""}}, io.ErrUnexpectedEOF},
		{"ends after a comment", "data: 1\n\n: bye\n", []event{{"", "1", ""}}, io.EOF},
		{"cut in event", "data: 1\n\ndata: 2\n", []event{{"", "1", ""}}, io.ErrUnexpectedEOF},
		{"cut in line", "data: 1\n\nda", []event{{"", "1", ""}}, io.ErrUnexpectedEOF},
		{"at the limit", "data: " + strings.Repeat("x", 26) + "\n\n", []event{{"", strings.Repeat("x", 26), ""}}, io.EOF},
		{"one line too large", "data: " + strings.Repeat("x", 33) + "\n\n", nil, ErrTooLarge},
		{"never ends", strings.Repeat("x", 1000), nil, ErrTooLarge},
		{"many lines too large", strings.Repeat("data: 1234\n", 5) + "\n", nil, ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, src := range []io.Reader{
				strings.NewReader(tt.text),
				iotest.OneByteReader(strings.NewReader(tt.text)),
				iotest.DataErrReader(strings.NewReader(tt.text)),
			} {
				got, _, err := readAll(src, 32)
				if !errors.Is(err, tt.err) {
					t.Errorf("error %v, want %v", err, tt.err)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("events (-want +got):\n%s", d)
				}
			}
		})
	}
}

func TestRetryAndID(t *testing.T) {
	_, r, _ := readAll(strings.NewReader("retry: 1500\nid: 7\ndata: x\n\nretry: -1\nretry: soon\nid: a\x00b\n\n"), 100)
	if r.Retry() != 1500*time.Millisecond || r.LastID() != "7" {
		t.Errorf("retry %v, id %q", r.Retry(), r.LastID())
	}
}

// TestCRDispatchesAtOnce: with CR line ends the event is there when its last
// CR is, not only after the byte that follows.
func TestCRDispatchesAtOnce(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
	go server.Write([]byte("data: 1\r\r")) //nolint:errcheck // the reader sees a failure
	e, err := NewReader(client, 100).Next()
	if err != nil || string(e.Data) != "1" {
		t.Fatalf("%q, %v", e.Data, err)
	}
}

func TestReaderKeepsSmallMemory(t *testing.T) {
	big := "data: " + strings.Repeat("x", 1<<20) + "\n\n"
	_, r, err := readAll(strings.NewReader(big), 2<<20)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	r.Reset(strings.NewReader(""), 100)
	if cap(r.buf) > keptBuffer {
		t.Errorf("kept %d bytes", cap(r.buf))
	}
}

func TestAppend(t *testing.T) {
	out := AppendPriming(nil, "s-0", time.Second)
	out = AppendComment(out, "keep-alive")
	out = AppendEvent(out, "endpoint", "", []byte("/messages"))
	out = AppendEvent(out, "", "s-1", []byte("{\n\"a\":\r\n1}"))
	out = AppendBlank(AppendRetry(out, 250*time.Millisecond))
	got, r, err := readAll(bytes.NewReader(out), 1000)
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	want := []event{{"", "", "s-0"}, {"endpoint", "/messages", "s-0"}, {"", "{ \"a\":  1}", "s-1"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if r.Retry() != 250*time.Millisecond {
		t.Error(r.Retry())
	}
}

// FuzzReader: what is read does not depend on how the bytes arrive, and no
// event is larger than the limit.
func FuzzReader(f *testing.F) {
	f.Add([]byte("\ufeffid: 1\r\ndata: a\rdata: b\n\n: c\nretry: 5\n\ndata"), uint8(40))
	f.Fuzz(func(t *testing.T, b []byte, limit uint8) {
		n := int(limit) + 1
		one, _, err1 := readAll(bytes.NewReader(b), n)
		two, _, err2 := readAll(iotest.OneByteReader(bytes.NewReader(b)), n)
		if !errors.Is(err1, err2) || !cmp.Equal(one, two) {
			t.Fatalf("%v %v\n%v %v", one, err1, two, err2)
		}
		for _, e := range one {
			if len(e.Data)+len(e.Type) > n {
				t.Fatalf("event of %d bytes, limit %d", len(e.Data), n)
			}
		}
	})
}
