// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// Shared is all that nodes share about sessions.
type Shared interface {
	session.Store
	session.Fleet
	Places
}

// Places is upstream.Registry: the sessions that upstreams have for clients' sessions.
type Places interface {
	TakePlace(ctx context.Context, session, place, token string, lock time.Duration) (value []byte, mine bool, err error)
	FillPlace(ctx context.Context, session, place, token string, value []byte) (bool, error)
	UsePlace(ctx context.Context, session, place string, value []byte) error
	DropPlace(ctx context.Context, session, place string, value []byte) error
	ClaimPlace(ctx context.Context, session, place string, value []byte, idle time.Duration) (bool, error)
	Places(ctx context.Context, session string) (map[string][]byte, error)
	Reached(ctx context.Context, session, place string) ([]byte, error)
}

// Sessions runs the suite of [session.Store], [session.Fleet] and [Places]. The store may hold other sessions.
func Sessions(t *testing.T, s Shared) {
	t.Run("records", func(t *testing.T) { records(t, s) })
	t.Run("ends", func(t *testing.T) { ends(t, s) })
	t.Run("streams", func(t *testing.T) { streams(t, s) })
	t.Run("events", func(t *testing.T) { events(t, s) })
	t.Run("channel", func(t *testing.T) { channel(t, s) })
	t.Run("places", func(t *testing.T) { places(t, s) })
	t.Run("reached", func(t *testing.T) { reached(t, s) })
}

func reached(t *testing.T, s Shared) {
	ctx, id := t.Context(), newUID()
	want := func(place, text string) {
		t.Helper()
		if got, err := s.Reached(ctx, id.String(), place); err != nil || string(got) != text {
			t.Errorf("%s was heard up to %q, %v, want %q", place, got, err, text)
		}
	}
	want("a", "")
	entry := func(place, text string) session.Entry {
		return session.Entry{Session: id, Place: place, Reached: []byte(text)}
	}
	must(t, s.Append(ctx, []session.Entry{entry("a", "1"), entry("b", "x\x00"), entry("a", "2")}))
	want("a", "2")
	want("b", "x\x00")
	must(t, s.Append(ctx, []session.Entry{entry("a", "3")}))
	want("a", "3")
	places, err := s.Places(ctx, id.String())
	must(t, err)
	if len(places) > 0 {
		t.Errorf("that makes the places %v", places)
	}
}

func newUID() (id session.UID) {
	_, _ = rand.Read(id[:])
	return id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func records(t *testing.T, s session.Store) {
	ctx, id := t.Context(), newUID()
	want := func(what string, fields map[string][]byte) {
		t.Helper()
		got, err := s.Load(ctx, id)
		must(t, err)
		if d := cmp.Diff(session.Record{Fields: fields}, got); d != "" {
			t.Errorf("%s:\n%s", what, d)
		}
	}
	want("nothing", nil)
	gone, err := s.Touch(ctx, []session.UID{id})
	must(t, err)
	if !slices.Equal(gone, []session.UID{id}) {
		t.Errorf("touched before it is there: gone %v", gone)
	}
	binary := []byte("\x00\xff\r\n")
	must(t, s.Put(ctx, id, map[string][]byte{"a": binary, "b": []byte("1")}))
	must(t, s.Put(ctx, id, map[string][]byte{"b": []byte("2"), "c": []byte("3")}))
	want("two puts", map[string][]byte{"a": binary, "b": []byte("2"), "c": []byte("3")})
	must(t, s.Put(ctx, id, map[string][]byte{"c": nil, "none": nil}))
	want("a field removed", map[string][]byte{"a": binary, "b": []byte("2")})
	other := newUID()
	must(t, s.Put(ctx, other, map[string][]byte{"a": []byte("x")}))
	want("another session", map[string][]byte{"a": binary, "b": []byte("2")})
	missing := newUID()
	gone, err = s.Touch(ctx, []session.UID{id, missing, other})
	must(t, err)
	if !slices.Equal(gone, []session.UID{missing}) {
		t.Errorf("touched: gone %v, want the one that is not there", gone)
	}
}

func ends(t *testing.T, s Shared) {
	ctx, id := t.Context(), newUID()
	must(t, s.Put(ctx, id, map[string][]byte{"a": []byte("1")}))
	generation, _, err := s.Own(ctx, id, "n1")
	must(t, err)
	must(t, s.End(ctx, id, time.Now().Add(time.Hour)))
	must(t, s.End(ctx, id, time.Now().Add(time.Hour)))
	got, err := s.Load(ctx, id)
	must(t, err)
	if !got.Ended || got.Fields != nil {
		t.Errorf("after its end %+v, want the tombstone alone", got)
	}
	if node, err := s.Owner(ctx, id); err != nil || node != "" {
		t.Errorf("its stream is with %q, %v", node, err)
	}
	must(t, s.Release(ctx, session.Lease{Session: id, Generation: generation}))
	short := newUID()
	must(t, s.End(ctx, short, time.Now().Add(300*time.Millisecond)))
	eventually(t, func() bool {
		got, err := s.Load(ctx, short)
		must(t, err)
		return !got.Ended
	})
}

func streams(t *testing.T, s session.Streams) {
	ctx, id := t.Context(), newUID()
	owner := func(want string) {
		t.Helper()
		if node, err := s.Owner(ctx, id); err != nil || node != want {
			t.Errorf("the stream is with %q, %v, want %q", node, err, want)
		}
	}
	owner("")
	own := func(node, before string) int64 {
		t.Helper()
		generation, old, err := s.Own(ctx, id, node)
		must(t, err)
		if old != before {
			t.Errorf("the stream was with %q, want %q", old, before)
		}
		return generation
	}
	a := own("a", "")
	owner("a")
	b := own("b", "a")
	owner("b")
	again := own("b", "b")
	if a <= 0 || b <= a || again <= b {
		t.Errorf("generations %d, %d, %d, want each newer than the last", a, b, again)
	}
	old, mine := session.Lease{Session: id, Generation: a}, session.Lease{Session: id, Generation: again}
	must(t, s.Release(ctx, old))
	owner("b")
	other := session.Lease{Session: newUID(), Generation: 7}
	lost, err := s.Renew(ctx, "a", []session.Lease{old, other})
	must(t, err)
	if !slices.Equal(lost, []session.Lease{old}) {
		t.Errorf("renewed an old lease and a forgotten one: lost %v, want the old one", lost)
	}
	owner("b")
	if node, err := s.Owner(ctx, other.Session); err != nil || node != "a" {
		t.Errorf("a lease that the store had forgotten is with %q, %v", node, err)
	}
	lost, err = s.Renew(ctx, "b", []session.Lease{mine})
	must(t, err)
	if len(lost) != 0 {
		t.Errorf("renewed the newest lease: lost %v", lost)
	}
	must(t, s.Release(ctx, mine))
	owner("")
	newest := own("a", "")
	if newest <= again {
		t.Errorf("after the end a generation of %d, want more than %d", newest, again)
	}
}

func events(t *testing.T, s session.Events) {
	ctx, id := t.Context(), newUID()
	want := func(stream string, after uint64, head string, events ...string) {
		t.Helper()
		got, err := s.Read(ctx, id, stream, after)
		must(t, err)
		var texts []string
		for i, e := range got.Events {
			texts = append(texts, string(e.Event))
			if i > 0 && e.Number <= got.Events[i-1].Number || e.Number <= after {
				t.Errorf("%s after %d: the event %d is out of order", stream, after, e.Number)
			}
		}
		if d := cmp.Diff(events, texts); d != "" || string(got.Head) != head {
			t.Errorf("%s after %d: head %q, want %q, events:\n%s", stream, after, got.Head, head, d)
		}
	}
	event := func(n uint64, text string, oldest uint64) session.Entry {
		return session.Entry{Session: id, Stream: "s.1", Number: n, Event: []byte(text), Oldest: oldest}
	}
	want("s.1", 0, "")
	must(t, s.Append(ctx, []session.Entry{
		{Session: id, Stream: "s.1", Head: []byte("head")}, event(1, "one", 1), {Session: id, Stream: "s.2", Head: []byte("other")}, event(2, "two", 1),
	}))
	want("s.1", 0, "head", "one", "two")
	want("s.1", 1, "head", "two")
	want("s.1", 2, "head")
	want("s.2", 0, "other")
	must(t, s.Append(ctx, []session.Entry{event(2, "again", 1), event(3, "three\r\n\x00", 1), event(1, "late", 1), {Session: id, Stream: "s.1", Head: []byte("over")}}))
	want("s.1", 0, "over", "one", "two", "three\r\n\x00")
	must(t, s.Append(ctx, []session.Entry{event(4, "four", 3)}))
	want("s.1", 0, "over", "three\r\n\x00", "four")
	must(t, s.Append(ctx, []session.Entry{{Session: id, Stream: "s.1", Oldest: 5}}))
	want("s.1", 0, "over")
	must(t, s.Append(ctx, []session.Entry{event(5, "five", 5), {Session: id, Stream: "s.2", Gone: true}}))
	want("s.1", 4, "over", "five")
	want("s.2", 0, "")
	if other, err := s.Read(ctx, newUID(), "s.1", 0); err != nil || other.Head != nil || other.Events != nil {
		t.Errorf("in another session %+v, %v", other, err)
	}
	large := strings.Repeat("x", 1<<20)
	must(t, s.Append(ctx, []session.Entry{event(6, large, 6)}))
	want("s.1", 5, "over", large)
}

func channel(t *testing.T, s session.Channel) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const subscribers = 2
	notes, up, done := make(chan string, 64), make(chan bool, 64), make(chan error, subscribers)
	for range subscribers {
		go func() {
			done <- s.Subscribe(ctx, func(note []byte) { notes <- string(note) }, func(is bool) { up <- is })
		}()
	}
	for range subscribers {
		if !<-up {
			t.Fatal("a subscription does not stand")
		}
	}
	var want []string
	for _, text := range []string{"one", "two", "\x00\xff"} {
		must(t, s.Publish(ctx, []byte(text)))
		for range subscribers {
			want = append(want, text)
		}
	}
	var got []string
	for range want {
		got = append(got, <-notes)
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("notes:\n%s", d)
	}
	stop()
	for range subscribers {
		if err := <-done; err != nil {
			t.Errorf("a subscription that was ended: %v", err)
		}
	}
	for range subscribers {
		if <-up {
			t.Error("a subscription that was ended stands")
		}
	}
}

func places(t *testing.T, s Shared) {
	const lock = 10 * time.Second
	ctx, uid := t.Context(), newUID()
	id := uid.String()
	take := func(token, value string, mine bool) {
		t.Helper()
		got, own, err := s.TakePlace(ctx, id, "p", token, lock)
		must(t, err)
		if string(got) != value || own != mine {
			t.Errorf("%s takes %q, to open %v, want %q, %v", token, got, own, value, mine)
		}
	}
	fill := func(token, value string, want bool) {
		t.Helper()
		var b []byte
		if value != "" {
			b = []byte(value)
		}
		kept, err := s.FillPlace(ctx, id, "p", token, b)
		must(t, err)
		if kept != want {
			t.Errorf("%s fills with %q: %v, want %v", token, value, kept, want)
		}
	}
	claim := func(value string, idle time.Duration, want bool) {
		t.Helper()
		got, err := s.ClaimPlace(ctx, id, "p", []byte(value), idle)
		must(t, err)
		if got != want {
			t.Errorf("the claim to %q is %v, want %v", value, got, want)
		}
	}
	take("a", "", true)
	take("b", "", false)
	fill("b", "B", false)
	fill("a", "", true) // it could not be opened
	take("b", "", true)
	fill("b", "B\x00", true)
	take("a", "B\x00", false)
	claim("B\x00", time.Hour, false) // somebody used it just now
	must(t, s.DropPlace(ctx, id, "p", []byte("other")))
	take("a", "B\x00", false)
	must(t, s.DropPlace(ctx, id, "p", []byte("B\x00")))
	take("a", "", true)
	fill("a", "A", true)
	claim("B\x00", time.Hour, true) // another one has its place: nobody else knows it
	must(t, s.UsePlace(ctx, id, "p", []byte("A")))
	claim("A", 0, true)
	all := func(want map[string][]byte) {
		t.Helper()
		got, err := s.Places(ctx, id)
		must(t, err)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("all places:\n%s", d)
		}
	}
	all(nil)
	take("b", "", true)
	all(nil) // it is being opened
	fill("b", "C", true)
	_, _, err := s.TakePlace(ctx, id, "second", "a", lock)
	must(t, err)
	_, err = s.FillPlace(ctx, id, "second", "a", []byte("D\x00"))
	must(t, err)
	all(map[string][]byte{"p": []byte("C"), "second": []byte("D\x00")})
	must(t, s.DropPlace(ctx, id, "second", []byte("D\x00")))
	all(map[string][]byte{"p": []byte("C")})
	must(t, s.End(ctx, uid, time.Now().Add(time.Hour)))
	claim("C", time.Hour, true)
	claim("C", time.Hour, false) // one node ends it
	short, _, err := s.TakePlace(ctx, id, "short", "a", time.Millisecond)
	must(t, err)
	eventually(t, func() bool {
		var mine bool
		short, mine, err = s.TakePlace(ctx, id, "short", "b", lock)
		must(t, err)
		return mine && short == nil
	})
	fill2, err := s.FillPlace(ctx, id, "short", "a", []byte("late"))
	must(t, err)
	if fill2 {
		t.Error("a place is filled whose lock has gone to another node")
	}
}
