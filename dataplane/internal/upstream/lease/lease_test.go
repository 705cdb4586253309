// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// opener numbers sessions.
type opener struct {
	n    atomic.Int32
	lost []string
}

func (o *opener) open(lost *Held[string]) (string, error) {
	if lost != nil {
		o.lost = append(o.lost, lost.Value)
	}
	return fmt.Sprintf("s%d", o.n.Add(1)), nil
}

func take(t *testing.T, l *Slot[string], o *opener) *Held[string] {
	t.Helper()
	h, _, err := l.Take(t.Context(), o.open)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func shared() Key    { return Key{Principal: "p"} }
func client() Key    { return Key{Principal: "p", Session: "c", Capabilities: "{}"} }
func exclusive() Key { return Key{Principal: "p", Capabilities: "{}"} }

// TestTakeAndLeave: who gets what, and what is counted.
func TestTakeAndLeave(t *testing.T) {
	for _, key := range []Key{shared(), client(), exclusive()} {
		var count atomic.Int64
		s, o := NewShelf[string](&count), &opener{}
		first, second := s.Enter(key), s.Enter(key)
		a, b := take(t, first, o), take(t, second, o)
		if (a == b) == key.exclusive() {
			t.Errorf("%+v: %s and %s", key, a.Value, b.Value)
		}
		first.Leave(a)
		second.Leave(b)
		third := s.Enter(key)
		if c := take(t, third, o); c != b {
			t.Errorf("%+v: %s, want the one used last", key, c.Value)
		}
		if !third.Drop(b) || third.Drop(b) || !b.Gone() {
			t.Errorf("%+v: dropped not once", key)
		}
		third.Leave(b)
		want := int64(0)
		if key.exclusive() {
			want = 1
		}
		if count.Load() != want {
			t.Errorf("%+v: %d are counted, want %d", key, count.Load(), want)
		}
		fourth := s.Enter(key)
		if d := take(t, fourth, o); d == b || key.exclusive() != (d == a) {
			t.Errorf("%+v: %s after the drop", key, d.Value)
		}
		if told := slices.Equal(o.lost, []string{"s1"}); told == key.exclusive() {
			t.Errorf("%+v: told of lost %q", key, o.lost)
		}
	}
}

func TestOpenFails(t *testing.T) {
	broken := errors.New("broken")
	for _, key := range []Key{shared(), exclusive()} {
		var count atomic.Int64
		l := NewShelf[string](&count).Enter(key)
		_, _, err := l.Take(t.Context(), func(*Held[string]) (string, error) { return "", broken })
		if !errors.Is(err, broken) || count.Load() != 0 {
			t.Errorf("%v, %d", err, count.Load())
		}
		if end := l.Leave(nil); end != nil {
			t.Errorf("%q", end)
		}
	}
}

// TestIdle: only what nobody uses and nothing pins ends, a client's session after
// thrice the time.
func TestIdle(t *testing.T) {
	var count atomic.Int64
	s, o := NewShelf[string](&count), &opener{}
	used := s.Enter(shared())
	take(t, used, o) // s1
	for _, key := range []Key{exclusive(), client()} {
		l := s.Enter(key)
		l.Leave(take(t, l, o)) // s2, s3
	}
	pinned := s.Enter(Key{Principal: "q", Session: "d"})
	h := take(t, pinned, o) // s4
	h.Pin()
	pinned.Leave(h)
	idle := func(after time.Duration) []string {
		list, empty := s.Idle(nil, time.Now().Add(after).UnixNano(), int64(time.Minute))
		if empty {
			t.Error("empty")
		}
		return list
	}
	for _, step := range []struct {
		after time.Duration
		want  []string
	}{{30 * time.Second, nil}, {2 * time.Minute, []string{"s2"}}, {4 * time.Minute, []string{"s3"}}, {time.Hour, nil}} {
		if got := idle(step.after); !slices.Equal(got, step.want) {
			t.Errorf("after %v: %q, want %q", step.after, got, step.want)
		}
	}
	h.Unpin()
	used.Leave(nil)
	list, empty := s.Idle(nil, time.Now().Add(time.Hour).UnixNano(), int64(time.Minute))
	if slices.Sort(list); !empty || !slices.Equal(list, []string{"s1", "s4"}) || count.Load() != 0 {
		t.Errorf("at last %q, %d are counted", list, count.Load())
	}
}

// TestEvict: the one longest without use goes, never one in use.
func TestEvict(t *testing.T) {
	var count atomic.Int64
	s, o := NewShelf[string](&count), &opener{}
	l := s.Enter(exclusive())
	a, b := take(t, l, o), take(t, s.Enter(exclusive()), o)
	if _, ok := s.Oldest(); ok {
		t.Error("one in use is offered")
	}
	if v, ok := s.Evict(); ok {
		t.Errorf("%s was in use", v)
	}
	l.Leave(b)
	b.used.Store(1)
	l.Leave(a)
	if used, ok := s.Oldest(); !ok || used != 1 {
		t.Errorf("%d %v", used, ok)
	}
	if v, ok := s.Evict(); !ok || v != b.Value || count.Load() != 1 {
		t.Errorf("%s %v", v, ok)
	}
	if h := take(t, s.Enter(exclusive()), o); h != a {
		t.Errorf("%s is left", h.Value)
	}
}

// TestEnd: the sessions of one client's session end, those in use by others too,
// and what a late call opens ends with that call.
func TestEnd(t *testing.T) {
	var count atomic.Int64
	s, o := NewShelf[string](&count), &opener{}
	busy, late := s.Enter(client()), s.Enter(client())
	h := take(t, busy, o)
	other := s.Enter(Key{Session: "d"})
	take(t, other, o)
	if got := s.End(nil, "c"); !slices.Equal(got, []string{"s1"}) || !h.Gone() || len(s.Of(nil, "c")) != 0 || len(s.Of(nil, "d")) != 1 {
		t.Errorf("%q", got)
	}
	if end := busy.Leave(h); end != nil {
		t.Errorf("ended twice: %q", end)
	}
	l := take(t, late, o)
	if end := late.Leave(l); !slices.Equal(end, []string{"s3"}) || count.Load() != 1 {
		t.Errorf("%q, %d are counted", end, count.Load())
	}
}

// TestMany: many at a time open one shared session, and never share a leased one.
func TestMany(t *testing.T) {
	var count atomic.Int64
	s, o := NewShelf[string](&count), &opener{}
	var inUse sync.Map
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				l := s.Enter(shared())
				h, _, err := l.Take(context.Background(), o.open)
				if err != nil || h.Value != "s1" && o.n.Load() < 1 {
					t.Error(err)
				}
				l.Leave(h)
				l = s.Enter(exclusive())
				h, _, _ = l.Take(context.Background(), o.open)
				if _, taken := inUse.LoadOrStore(h.Value, true); taken {
					t.Errorf("%s is taken twice", h.Value)
				}
				inUse.Delete(h.Value)
				l.Leave(h)
			}
		})
	}
	group.Wait()
	if n := o.n.Load(); n > 9 || int64(n) != count.Load() {
		t.Errorf("%d opened, %d counted", n, count.Load())
	}
}
