// SPDX-License-Identifier: Apache-2.0

package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// follower notes what a stream has.
type follower struct{ got []string }

func (f *follower) Relay(event []byte, _ bool) { f.got = append(f.got, data(event)) }
func (f *follower) Leave()                     {}

func data(event []byte) string {
	for line := range strings.Lines(string(event)) {
		if value, ok := strings.CutPrefix(line, "data: "); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	return ""
}

func idOfKept(event []byte, _ bool) string { return idOf(event) }

func idOf(event []byte) string {
	for line := range strings.Lines(string(event)) {
		if value, ok := strings.CutPrefix(line, "id: "); ok {
			return strings.TrimSuffix(value, "\n")
		}
	}
	return ""
}

// TestFetch is M-40 and M-90: another node has what a stream has sent, whole or up to where its node left it.
func TestFetch(t *testing.T) {
	inRegion(t, func(r *region) {
		ctx := r.t.Context()
		a, stop := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		write := func(tape *replay.Tape, n int) (ids []string) {
			for i := range n {
				ids = append(ids, idOfKept(tape.Record(fmt.Appendf(nil, `{"n":%d}`, i+1), false)))
			}
			return ids
		}
		ended := s.Events().Answer([]replay.Asked{{ID: []byte("1"), Method: "tools/call"}}, true)
		whole := write(ended, 3)
		ended.End()
		open := s.Events().Answer([]replay.Asked{{ID: []byte(`"x"`), Method: "prompts/get"}}, true)
		prime := idOf(open.Prime())
		part := write(open, 2)
		long := s.Events().Answer(nil, false)
		many := write(long, 300)
		general := s.Events().Open(true, false)
		own := write(general, 2)
		stop() // at its end it writes what is left
		synctest.Wait()
		moved := r.open(b, id)
		fetch := func(id string) (replay.Copy, *replay.Tape, []string) {
			t.Helper()
			p, c, rest, ok := moved.Fetch(ctx, id)
			if !ok {
				t.Fatalf("%s cannot be had", id)
			}
			var f follower
			if !c.Head.General && !moved.Events().Follow(p, &f) {
				t.Fatalf("%s cannot be followed", id)
			}
			return c, rest, f.got
		}
		if c, rest, got := fetch(whole[0]); rest != nil || !c.Head.Ended || cmp.Diff([]string{`{"n":2}`, `{"n":3}`}, got) != "" {
			t.Errorf("a stream that has ended: %v, %v", c.Head, got)
		}
		c, rest, got := fetch(prime)
		if rest == nil || len(got) != 2 || len(c.Head.Asked) != 1 || string(c.Head.Asked[0].ID) != `"x"` || c.Head.Asked[0].Method != "prompts/get" {
			t.Errorf("a stream that has not ended: %+v, %v", c.Head, got)
		}
		rest.Record([]byte(`{"n":"last"}`), true)
		rest.End()
		synctest.Wait()
		third, _ := r.node("c")
		moved = r.open(third, id)
		if c, rest, got := fetch(part[1]); rest != nil || !c.Head.Ended || cmp.Diff([]string{`{"n":"last"}`}, got) != "" {
			t.Errorf("what another node has ended: %v, %v", c.Head, got)
		}
		if _, _, got := fetch(many[290]); len(got) != 9 {
			t.Errorf("of a long stream there are %d events, want 9", len(got))
		}
		if c, rest, _ := fetch(own[0]); !c.Head.General || rest != nil || len(c.Events) != 2 {
			t.Errorf("the session's own stream: %+v", c.Head)
		}
		for what, id := range map[string]string{
			"before what is kept": many[0], "not sent yet": part[0] + "9", "unknown": "a.x.1-1", "no id": "x", "forged": own[0][:len(own[0])-1] + "0x",
		} {
			if _, _, _, ok := moved.Fetch(ctx, id); ok {
				t.Errorf("%s: %s can be had", what, id)
			}
		}
		other, _, err := third.Create(ctx, eng, user("u1"), wire.V20251125, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, ok := r.open(third, other).Fetch(ctx, whole[0]); ok {
			t.Error("another session has the stream")
		}
	})
}

// TestSurrender: a node that has lost the session's stream to another one does not resume it from what it has.
func TestSurrender(t *testing.T) {
	inRegion(t, func(r *region) {
		ctx := r.t.Context()
		a, _ := r.node("a")
		b, _ := r.node("b")
		id, s := r.create(a)
		tape := s.Events().Open(true, false)
		if err := s.Listen(ctx, &stream{}); err != nil {
			t.Fatal(err)
		}
		one := idOfKept(tape.Record([]byte(`{"n":1}`), false))
		synctest.Wait()
		moved := r.open(b, id)
		p, _, _, ok := moved.Fetch(ctx, one)
		if !ok {
			t.Fatal("it cannot be had")
		}
		next, _, ok := moved.Events().Continue(p)
		if err := moved.Listen(ctx, &stream{}); err != nil || !ok {
			t.Fatal(err)
		}
		next.Record([]byte(`{"n":2}`), false)
		synctest.Wait()
		if _, ok := s.Events().Find(one); ok {
			t.Error("the first node still has the stream")
		}
		_, c, _, ok := s.Fetch(ctx, one)
		if !ok || len(c.Events) != 2 || data(c.Events[1]) != `{"n":2}` {
			t.Errorf("back on the first node there are %d events", len(c.Events))
		}
	})
}
