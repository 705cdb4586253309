// SPDX-License-Identifier: Apache-2.0

package replay

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// reader follows a stream and notes what it gets.
type reader struct {
	got  []string
	left int
}

func (r *reader) Relay(event []byte, response bool) {
	r.got = append(r.got, fmt.Sprint(dataOf(event), map[bool]string{true: "!"}[response]))
}
func (r *reader) Leave() { r.left++ }

// dataOf returns the data of an event, idOf its id.
func dataOf(event []byte) string           { return field(event, "data: ") }
func idOf(event []byte) string             { return field(event, "id: ") }
func idOfKept(event []byte, _ bool) string { return idOf(event) }

func field(event []byte, name string) string {
	for line := range strings.Lines(string(event)) {
		if value, ok := strings.CutPrefix(line, name); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	return ""
}

// record records n messages, numbered from first on, and returns their ids.
func record(t *testing.T, tape *Tape, first, n int) (ids []string) {
	t.Helper()
	for i := range n {
		event, _ := tape.Record(fmt.Append(nil, first+i), false)
		if dataOf(event) != fmt.Sprint(first+i) {
			t.Fatalf("message %d became %q", first+i, event)
		}
		ids = append(ids, idOf(event))
	}
	return ids
}

func find(t *testing.T, s *Shelf, id string) Position {
	t.Helper()
	p, ok := s.Find(id)
	if !ok {
		t.Fatalf("the id %q is not known", id)
	}
	return p
}

// TestIDs is M-39: ids name stream and number, are unique in the session, and a stream of a newer version is primed.
func TestIDs(t *testing.T) {
	var s Shelf
	seen := map[string]bool{}
	for range 3 {
		tape := s.Open(false, true)
		prime := tape.Prime()
		if idOf(prime) == "" || dataOf(prime) != "" || !bytes.Contains(prime, []byte("retry: 1000\n")) {
			t.Errorf("primed with %q", prime)
		}
		for _, id := range append(record(t, tape, 1, 3), idOf(prime)) {
			if seen[id] || strings.ContainsAny(id, " \r\n") {
				t.Errorf("the id %q", id)
			}
			seen[id] = true
		}
	}
	if prime := s.Open(true, false).Prime(); prime != nil {
		t.Errorf("an older client is primed with %q", prime)
	}
}

// TestFind is M-40: only ids that this shelf gave out, in the one form it gives them, and after which nothing is missing.
func TestFind(t *testing.T) {
	var s, other Shelf
	tape := s.Open(false, true)
	ids := record(t, tape, 1, 3)
	name, _, _ := strings.Cut(ids[0], "-")
	elsewhere := record(t, other.Open(false, true), 1, 1)
	for id, want := range map[string]bool{
		ids[0]: true, ids[2]: true, name + "-0": true, name + "-4": false, name + "-01": false, name + "-+1": false, name + "-": false,
		name: false, "": false, "-1": false, name + "-1 ": false, name + "-99999999999999999999": false, name + "-18446744073709551615": false,
		elsewhere[0]: false, name + "x-1": false,
	} {
		if _, ok := s.Find(id); ok != want {
			t.Errorf("Find(%q) = %v, want %v", id, ok, want)
		}
	}
}

// TestFollow is M-40 and M-41: a client that comes back for the stream of a request gets what it missed and what comes, once
// and in order, whoever had the stream before gets nothing more.
func TestFollow(t *testing.T) {
	var s Shelf
	tape := s.Open(false, false)
	ids := record(t, tape, 1, 3)
	first, second := &reader{}, &reader{}
	if !s.Follow(find(t, &s, ids[0]), first) {
		t.Fatal("it cannot be followed")
	}
	select {
	case <-tape.Taken():
	default:
		t.Error("the connection before is not told")
	}
	if event, kept := tape.Record([]byte("4"), false); event != nil || !kept {
		t.Errorf("the connection before writes %q", event)
	}
	if !s.Follow(find(t, &s, ids[2]), second) {
		t.Fatal("it cannot be followed again")
	}
	tape.Record([]byte("5"), true)
	tape.End()
	if event, kept := tape.Record([]byte("6"), true); event != nil || kept {
		t.Errorf("after the end there is %q", event)
	}
	if d := cmp.Diff([]string{"2!", "3!", "4"}, first.got); d != "" || first.left != 1 {
		t.Errorf("the first (left %d times):\n%s", first.left, d)
	}
	if d := cmp.Diff([]string{"4!", "5!"}, second.got); d != "" || second.left != 1 {
		t.Errorf("the second (left %d times):\n%s", second.left, d)
	}
	late := &reader{}
	if !s.Follow(find(t, &s, ids[1]), late) || len(late.got) != 3 || late.left != 1 {
		t.Errorf("after the end: %v, left %d times", late.got, late.left)
	}
}

// TestUnfollow: a connection that is gone gets nothing, and another one that came meanwhile stays.
func TestUnfollow(t *testing.T) {
	var s Shelf
	tape := s.Open(false, false)
	p := find(t, &s, record(t, tape, 1, 1)[0])
	gone, here := &reader{}, &reader{}
	s.Follow(p, gone)
	s.Follow(p, here)
	s.Unfollow(p, gone)
	tape.Record([]byte("2"), false)
	s.Unfollow(p, here)
	tape.Record([]byte("3"), false)
	if len(gone.got) != 0 || len(here.got) != 1 {
		t.Errorf("%v, %v", gone.got, here.got)
	}
}

// TestContinue is M-38 and M-40: the session's own stream goes on with a new tape; the old one writes nothing more, nor does
// it end what has gone on.
func TestContinue(t *testing.T) {
	var s Shelf
	old := s.Open(true, true)
	ids := record(t, old, 1, 3)
	p := find(t, &s, ids[1])
	if !p.General() {
		t.Error("it is no request's")
	}
	tape, missed, ok := s.Continue(p)
	if !ok || len(missed) != 1 || dataOf(missed[0]) != "3" {
		t.Fatalf("%v, missed %q", ok, missed)
	}
	if event, kept := old.Record([]byte("x"), false); tape.Prime() != nil || event != nil || kept {
		t.Error("primed again, or the old one writes")
	}
	old.End()
	next := record(t, tape, 4, 1)
	tape.End()
	if _, missed, ok = s.Continue(find(t, &s, next[0])); !ok || len(missed) != 0 {
		t.Errorf("after the connection has gone: %v, missed %q", ok, missed)
	}
}

// TestBoundsOfAStream is M-90: 256 events or 1 MiB, the oldest goes first; from before that nothing can be resumed.
func TestBoundsOfAStream(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		left int
	}{
		{"small ones", 1, MaxEvents},
		{"large ones", 100 << 10, 10},
		{"one", MaxBytes - overhead - 100, 1},
		{"none", MaxBytes, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var s Shelf
			tape := s.Open(false, true)
			var ids []string
			for range tt.left + 4 {
				ids = append(ids, idOfKept(tape.Record(bytes.Repeat([]byte("x"), tt.size), false)))
			}
			if _, size := s.Size(); size > MaxBytes {
				t.Errorf("%d bytes are kept", size)
			}
			oldest := len(ids) - tt.left - 1 // the id after which nothing is missing
			if _, ok := s.Find(ids[oldest]); !ok {
				t.Errorf("fewer than %d events are kept", tt.left)
			}
			if _, ok := s.Find(ids[oldest-1]); ok {
				t.Errorf("more than %d events are kept", tt.left)
			}
		})
	}
}

// TestBoundsOfASession is M-90: 8 MiB, and the oldest events of all streams go first.
func TestBoundsOfASession(t *testing.T) {
	var s Shelf
	const streams = 20
	var ids [streams][]string
	for i := range streams { // one after the other, 1,000,000 bytes each
		tape := s.Open(false, false)
		for range 10 {
			ids[i] = append(ids[i], idOfKept(tape.Record(make([]byte, 100_000), false)))
		}
		if _, size := s.Size(); size > MaxSession {
			t.Fatalf("%d bytes are kept", size)
		}
	}
	for i := range streams {
		_, ok := s.Find(ids[i][0])
		if want := i >= streams-8; ok != want {
			t.Errorf("the stream %d can be resumed: %v, want %v", i, ok, want)
		}
	}
}

// TestManyStreams is M-90 for what events do not count: streams that have ended do not add up, however many there are, and
// the newest can still be resumed.
func TestManyStreams(t *testing.T) {
	var s Shelf
	var last string
	before := live()
	for range 10_000 {
		tape := s.Open(false, true)
		last = idOfKept(tape.Record([]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`), true))
		tape.End()
		s.Open(true, true).End() // a session's stream that nobody comes back for
	}
	if grown := int64(live()) - int64(before); grown > 2<<20 {
		t.Errorf("%d bytes are kept", grown)
	}
	if streams, _ := s.Size(); streams > maxStreams {
		t.Errorf("%d streams are known", streams)
	}
	if !s.Follow(find(t, &s, last), &reader{}) {
		t.Error("the last stream cannot be resumed")
	}
	runtime.KeepAlive(&s)
}

// TestOpenStreamsStay: a stream that is written is never given up for another.
func TestOpenStreamsStay(t *testing.T) {
	var s Shelf
	open := s.Open(false, false)
	general := s.Open(true, false)
	ids := append(record(t, open, 1, 1), record(t, general, 1, 1)...)
	again, _, _ := s.Continue(find(t, &s, ids[1])) // it was over, and is no more
	for range 2 * maxStreams {
		s.Open(false, false).End()
	}
	find(t, &s, ids[0])
	find(t, &s, ids[1])
	for range 3 * maxStreams { // losing its connection often does not age it
		again.End()
		again, _, _ = s.Continue(find(t, &s, ids[1]))
	}
	if len(s.over) > 2*maxStreams {
		t.Errorf("%d ends are remembered", len(s.over))
	}
	record(t, again, 2, 1)
	record(t, open, 2, 1)
}

func live() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestSweep is M-90: events and streams are forgotten after five minutes, but not a stream that is written.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Shelf
		ended, open := s.Open(false, false), s.Open(false, false)
		gone := append(record(t, ended, 1, 2), record(t, open, 1, 2)...)
		ended.End()
		time.Sleep(Life - time.Second)
		s.Sweep(time.Now())
		for _, id := range gone {
			find(t, &s, id)
		}
		young := record(t, open, 3, 1)
		time.Sleep(2 * time.Second)
		s.Sweep(time.Now())
		for i, id := range gone {
			if _, ok := s.Find(id); ok != (i == 3) { // after it nothing is missing
				t.Errorf("the id %d is known: %v", i, ok)
			}
		}
		find(t, &s, young[0])
		time.Sleep(2 * Life)
		s.Sweep(time.Now())
		if streams, size := s.Size(); streams != 1 || size != 0 {
			t.Errorf("%d streams, %d bytes", streams, size)
		}
		record(t, open, 4, 1)
	})
}
