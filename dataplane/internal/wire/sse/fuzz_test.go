// SPDX-License-Identifier: Apache-2.0

package sse

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cut gives a text in pieces of the sizes given, over and over; a size of 0 is one byte.
type cut struct {
	text  []byte
	sizes []byte
	next  int
}

func (c *cut) Read(p []byte) (int, error) {
	if len(c.text) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(c.sizes) > 0 {
		n = max(1, int(c.sizes[c.next%len(c.sizes)]))
		c.next++
	}
	n = copy(p[:min(n, len(p))], c.text)
	c.text = c.text[n:]
	return n, nil
}

// FuzzPieces: events, ids, the time to wait and the end of a stream are the same in whatever pieces its bytes come, and
// no buffer grows much beyond the limit of an event.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("\ufeffid: 1\r\ndata: a\rdata: b\n\n: c\nretry: 5\n\ndata"), []byte{1, 2, 3}, uint16(40))
	f.Add([]byte("data: 1\r\r\n\r\ndata: 2\r\n\r\n"), []byte{8, 1}, uint16(9))
	f.Add(bytes.Repeat([]byte("data: xxxxxxxx\n"), 700), []byte{255}, uint16(5000))
	f.Fuzz(func(t *testing.T, text, sizes []byte, limit uint16) {
		n := int(limit) + 1
		whole, first, wholeErr := readAll(bytes.NewReader(text), n)
		parts, second, partsErr := readAll(&cut{text: text, sizes: sizes}, n)
		if !errors.Is(partsErr, wholeErr) {
			t.Fatalf("ends with %v in pieces, else %v", partsErr, wholeErr)
		}
		if d := cmp.Diff(whole, parts); d != "" {
			t.Fatalf("events (-whole +pieces):\n%s", d)
		}
		if first.LastID() != second.LastID() || first.Retry() != second.Retry() {
			t.Fatalf("id %q and %v, in pieces %q and %v", first.LastID(), first.Retry(), second.LastID(), second.Retry())
		}
		for _, r := range []*Reader{first, second} {
			if most := max(firstBuffer, 2*(n+firstBuffer)); cap(r.buf) > most {
				t.Fatalf("a buffer of %d bytes for events of %d at most", cap(r.buf), n)
			}
		}
	})
}

// FuzzLineEnds: a stream means the same with LF, CRLF and CR.
func FuzzLineEnds(f *testing.F) {
	f.Add([]byte("\ufeffid: 1\ndata: a\ndata: b\n\n\n: c\nretry: 5\nevent: x\n\ndata:y\n\nda"), []byte{3})
	f.Fuzz(func(t *testing.T, text, sizes []byte) {
		if bytes.IndexByte(text, '\r') >= 0 {
			return
		}
		limit := 2*len(text) + 1 // no event is too large with any of them
		want, first, wantErr := readAll(bytes.NewReader(text), limit)
		for _, end := range []string{"\r\n", "\r"} {
			got, r, err := readAll(&cut{text: bytes.ReplaceAll(text, []byte("\n"), []byte(end)), sizes: sizes}, limit)
			if !errors.Is(err, wantErr) || r.LastID() != first.LastID() || r.Retry() != first.Retry() {
				t.Fatalf("%q: %v, id %q, %v, want %v, %q, %v", end, err, r.LastID(), r.Retry(), wantErr, first.LastID(), first.Retry())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("%q (-LF +other):\n%s", end, d)
			}
		}
	})
}

// FuzzAppendEvent: what is written is read back as one event, whose data differs in line breaks only.
func FuzzAppendEvent(f *testing.F) {
	f.Add([]byte("{\r\n\"a\": 1\n}"), uint8(3))
	f.Add([]byte(" x: y"), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, number uint8) {
		id := string(rune('a' + number%26))
		text := AppendEvent(nil, "message", id, data)
		got, _, err := readAll(bytes.NewReader(text), len(text))
		var want []byte
		for _, c := range data {
			if c == '\n' || c == '\r' {
				c = ' '
			}
			want = append(want, c)
		}
		if d := cmp.Diff([]event{{"message", string(want), id}}, got); d != "" || !errors.Is(err, io.EOF) {
			t.Fatalf("%v (-want +got):\n%s", err, d)
		}
	})
}
