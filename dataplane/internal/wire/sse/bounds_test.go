// SPDX-License-Identifier: Apache-2.0

package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestLongStreamKeepsSmallMemory: a stream that stays open for hours does not pin the memory of the largest event it has had.
func TestLongStreamKeepsSmallMemory(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, text := range map[string]string{
		"data":               "data: " + large + "\n\n",
		"several data lines": "data: " + large + "\ndata: " + large + "\n\n",
		"type":               "event: " + large + "\ndata: 1\n\n",
		"id":                 "id: " + large + "\ndata: 1\n\n",
		"comment":            ": " + large + "\ndata: 1\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			here, there := io.Pipe()
			r := NewReader(here, 8<<20)
			waits := make(chan struct{}) // closed when the reader has asked for more than the first event
			go func() {
				_, _ = io.WriteString(there, text)
				_, _ = io.WriteString(there, "d")
				close(waits)
				_, _ = io.WriteString(there, "ata: 2\n\n")
				_ = there.Close()
			}()
			if e, err := r.Next(); err != nil || len(e.Data) == 0 {
				t.Fatalf("%d bytes, %v", len(e.Data), err)
			}
			e, err := r.Next()
			if err != nil || string(e.Data) != "2" || len(e.Type) != 0 {
				t.Fatalf("%q, %v", e.Data, err)
			}
			<-waits
			if kept := cap(r.buf) + cap(r.joined) + cap(r.typ) + len(r.id) + len(r.last); kept > 2*keptBuffer {
				t.Errorf("%d bytes are kept", kept)
			}
			r.Reset(strings.NewReader(""), 100)
			if kept := cap(r.buf) + cap(r.joined) + cap(r.typ); kept > 2*keptBuffer {
				t.Errorf("%d bytes are kept for the next stream", kept)
			}
		})
	}
}

// TestLongID: an id that no header could carry back is none, so that the stream is not resumed at an older place instead.
func TestLongID(t *testing.T) {
	text := "id: 1\ndata: a\n\nid: " + strings.Repeat("x", MaxID) + "\ndata: b\n\nid: " + strings.Repeat("x", MaxID+1) + "\ndata: c\n\nid: 4\ndata: d\n\n"
	got, _, err := readAll(strings.NewReader(text), 1<<20)
	if !errors.Is(err, io.EOF) || len(got) != 4 {
		t.Fatalf("%d events, %v", len(got), err)
	}
	for i, want := range []int{1, MaxID, 0, 1} {
		if len(got[i].ID) != want {
			t.Errorf("event %d has an id of %d bytes, want %d", i, len(got[i].ID), want)
		}
	}
}
