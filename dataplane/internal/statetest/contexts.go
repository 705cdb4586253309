// SPDX-License-Identifier: Apache-2.0

package statetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/taint"
)

// Contexts runs the suite of [taint.Store]. It leaves nothing out but the passing of half an hour: see [ContextsInTime]. s is empty.
func Contexts(t *testing.T, s taint.Store) {
	ctx := t.Context()
	session := func(id string) taint.Key { return taint.Key{ID: id} }
	caller := func(id string) taint.Key { return taint.Key{ID: id, Window: true} }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wants := func(step string, keys []taint.Key, want ...taint.Mark) {
		t.Helper()
		got, err := s.Read(ctx, keys)
		must(err)
		for i := range got {
			if got[i].Reach < 0 || got[i].Reach > time.Minute {
				t.Errorf("%s: the store was empty a moment ago, and reaches back %s", step, got[i].Reach)
			}
			got[i].Reach = 0
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", step, d)
		}
	}
	reach, err := s.Watch(ctx)
	must(err)
	if reach < 0 || reach > time.Minute {
		t.Errorf("the store was empty a moment ago, and reaches back %s", reach)
	}
	none := taint.Mark{}
	of := func(servers ...string) taint.Mark { return taint.Mark{Untrusted: true, Sources: servers} }
	keys := []taint.Key{session("s-1"), caller("c-1"), caller("c-1~"), session("h-{x}")}
	wants("nothing is marked", keys, none, none, none, none)
	must(s.Touch(ctx, []taint.Use{{ID: "s-1"}, {ID: "c-1", Ago: time.Second}}))
	wants("use marks nothing", keys, none, none, none, none)
	must(s.Mark(ctx, []taint.Key{session("s-1"), caller("c-1~")}, "web"))
	wants("some are marked", keys, of("web"), none, of("web"), none)
	must(s.Mark(ctx, []taint.Key{session("s-1")}, "mail"))
	must(s.Mark(ctx, []taint.Key{session("s-1")}, "web"))
	must(s.Mark(ctx, []taint.Key{session("s-1")}, "we"))
	must(s.Mark(ctx, []taint.Key{session("s-1")}, ""))
	wants("by several servers", keys, of("web", "mail", "we"), none, of("web"), none)
	must(s.Mark(ctx, []taint.Key{caller("c-1")}, ""))
	wants("by nobody in particular", keys, of("web", "mail", "we"), of(), of("web"), none)
	must(s.Touch(ctx, []taint.Use{{ID: "c-1"}, {ID: "c-1~", Ago: time.Hour}, {ID: "c-2"}}))
	wants("in use", keys, of("web", "mail", "we"), of(), of("web"), none)
	must(s.Mark(ctx, nil, "web"))
	must(s.Touch(ctx, nil))
	if got, err := s.Read(ctx, nil); err != nil || len(got) != 0 {
		t.Errorf("nothing asked: %v, %v", got, err)
	}

	var all []string
	for i := range 2 * taint.MaxSources {
		all = append(all, fmt.Sprint("server-", i))
		must(s.Mark(ctx, []taint.Key{session("h-2")}, all[i]))
	}
	wants("sources are bounded", []taint.Key{session("h-2")}, of(all[:taint.MaxSources]...))

	var running sync.WaitGroup
	errs := make(chan error, 64)
	for i := range 32 {
		running.Go(func() {
			errs <- s.Mark(ctx, []taint.Key{caller("c-many"), session(fmt.Sprint("s-", i))}, fmt.Sprint("server-", i%8))
		})
		running.Go(func() { errs <- s.Touch(ctx, []taint.Use{{ID: "c-many"}}) })
	}
	running.Wait()
	for range cap(errs) {
		must(<-errs)
	}
	got, err := s.Read(ctx, []taint.Key{caller("c-many"), session("s-31")})
	must(err)
	slices.Sort(got[0].Sources)
	if !slices.Equal(got[0].Sources, all[:8]) || !got[1].Untrusted {
		t.Errorf("marks at the same time: %v", got)
	}
}

// ContextsInTime is what becomes of marks. pass lets time pass for the store, which is empty.
func ContextsInTime(t *testing.T, s taint.Store, pass func(time.Duration)) {
	ctx := t.Context()
	keys := []taint.Key{{ID: "s-1"}, {ID: "c-1", Window: true}, {ID: "c-2", Window: true}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wants := func(step string, want ...bool) {
		t.Helper()
		got, err := s.Read(ctx, keys[:len(want)])
		must(err)
		for i := range got {
			if got[i].Untrusted != want[i] {
				t.Errorf("%s: %s is untrusted: %t", step, keys[i].ID, got[i].Untrusted)
			}
		}
	}
	const most = taint.Window - time.Minute
	_, err := s.Watch(ctx)
	must(err)
	must(s.Mark(ctx, keys, "web"))
	for range 3 {
		pass(most)
		wants("read again and again", true, true)
	}
	must(s.Mark(ctx, keys[2:], "mail"))
	if got, err := s.Read(ctx, keys[2:]); err != nil || !slices.Equal(got[0].Sources, []string{"mail"}) {
		t.Errorf("marked anew after its time: %v, %v", got, err)
	}
	for range 3 {
		pass(most)
		must(s.Touch(ctx, []taint.Use{{ID: "c-1", Ago: time.Minute}, {ID: "c-2", Ago: time.Minute}}))
	}
	wants("used again and again", true, true, true)
	pass(taint.Window + 10*time.Minute)
	must(s.Touch(ctx, []taint.Use{{ID: "c-1", Ago: 20 * time.Minute}, {ID: "c-2", Ago: time.Second}}))
	wants("one was used in time, which was told late", true, true, false)
	pass(taint.Window + time.Second)
	wants("not used", true, false, false)
	pass(taint.Life - 4*time.Hour - 4*taint.Window)
	wants("a session's lasts", true, false)
	got, err := s.Read(ctx, keys[:1])
	must(err)
	if got[0].Reach < 12*time.Hour {
		t.Errorf("it reaches back %s", got[0].Reach)
	}
	pass(taint.Life)
	wants("its session is over", false, false)
}
