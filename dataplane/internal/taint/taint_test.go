// SPDX-License-Identifier: Apache-2.0

package taint_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// G-33: who shares a context.
func TestWhoShares(t *testing.T) {
	inTime(t, func(w *world) {
		static := func(token string) ident.Principal {
			return ident.Principal{Kind: ident.KindUser, UID: "u-ada", Method: "bearer_token", TokenID: token}
		}
		w.mark(at("eng", ada("cli")), "", "web")
		w.mark(inSession(at("eng", ada("cli")), "1"), "", "mail")
		w.mark(at("eng", static("t1")), "", "files")
		other := ada("cli")
		other.UID = "u-bob"
		team := ada("cli")
		team.Kind = ident.KindTeam
		renewed := ada("cli")
		renewed.TokenID = "another"
		for _, tc := range []struct {
			name string
			c    *call.Caller
			want string
		}{
			{"the same", at("eng", ada("cli")), "untrusted web"},
			{"with a token that was renewed", at("eng", renewed), "untrusted web"},
			{"another client", at("eng", ada("ide")), "trusted"},
			{"no client", at("eng", ada("")), "trusted"},
			{"another gateway", at("ops", ada("cli")), "trusted"},
			{"another principal", at("eng", other), "trusted"},
			{"another kind of principal", at("eng", team), "trusted"},
			{"the session", inSession(at("eng", ada("cli")), "1"), "untrusted mail"},
			{"another session", inSession(at("eng", ada("cli")), "2"), "trusted"},
			{"the static token", at("eng", static("t1")), "untrusted files"},
			{"another static token", at("eng", static("t2")), "trusted"},
		} {
			w.wants(tc.name, tc.c, "", tc.want)
		}
		here := w.node
		w.node = w.join()
		w.wants("on another node", at("eng", ada("cli")), "", "untrusted web")
		w.wants("the session on another node", inSession(at("eng", ada("cli")), "1"), "", "untrusted mail")
		w.node = here
	})
}

// G-33: a stateless context stays untrusted as long as it is used, and half an hour longer; a session as long as it lives.
func TestWindow(t *testing.T) {
	inTime(t, func(w *world) {
		c, s := at("eng", ada("cli")), inSession(at("eng", ada("cli")), "1")
		w.mark(c, "", "web")
		w.mark(s, "", "web")
		for range 4 {
			time.Sleep(29*time.Minute + 59*time.Second)
			w.wants("asked", c, "", "untrusted web")
		}
		for range 4 {
			time.Sleep(29*time.Minute + 59*time.Second)
			w.node.Used(w.find(c, ""))
		}
		time.Sleep(29*time.Minute + 59*time.Second)
		w.node = w.join()
		w.wants("used, elsewhere", c, "", "untrusted web")
		time.Sleep(31 * time.Minute)
		w.wants("not used", c, "", "trusted")
		w.wants("the session", s, "", "untrusted web")
	})
}

// What a node cannot know is untrusted (G-33).
func TestStoreAway(t *testing.T) {
	inTime(t, func(w *world) {
		c, s := at("eng", ada("cli")), inSession(at("eng", ada("cli")), "1")
		w.mark(c, "", "web")
		w.wants("there", s, "", "trusted")
		w.store.gone.Store(true)
		w.wants("away", s, "", "unknown")
		if err := w.node.Mark(w.t.Context(), w.find(s, ""), "web"); !errors.Is(err, errAway) {
			t.Errorf("marked without a store: %v", err)
		}
		w.wants("a new handle", s, w.handle(s), "unknown")
		before := w.store.reads.Load()
		for range 100 {
			w.wants("away", s, "", "unknown")
		}
		if n := w.store.reads.Load() - before; n > 1 {
			t.Errorf("asked %d times in a moment", n)
		}
		time.Sleep(20 * time.Minute)
		w.node.Used(w.find(c, "")) // told when the store is back
		time.Sleep(5 * time.Minute)
		w.store.gone.Store(false)
		time.Sleep(time.Minute)
		w.wants("back", s, "", "trusted")
		time.Sleep(20 * time.Minute)
		w.wants("it was in use all the while", c, "", "untrusted web")
		if got := strings.Count(w.log.String(), "contexts count as untrusted") + strings.Count(w.log.String(), "answers again"); got != 2 {
			t.Errorf("logged:\n%s", w.log.String())
		}

		w.store.slow.Store(true)
		start := time.Now()
		w.wants("slow", s, "", "unknown")
		if took := time.Since(start); took > 250*time.Millisecond {
			t.Errorf("a call waits %s", took)
		}
		start = time.Now()
		if err := w.node.Mark(w.t.Context(), w.find(s, ""), "web"); err == nil || time.Since(start) > time.Second {
			t.Errorf("a mark waits %s: %v", time.Since(start), err)
		}
		w.store.slow.Store(false)
	})
}

// A context that was in use while the store was away for so long that it may have dropped the mark stays untrusted, as it was then.
func TestStoreAwayForLong(t *testing.T) {
	inTime(t, func(w *world) {
		c, idle := at("eng", ada("cli")), at("eng", ada("ide"))
		w.mark(c, "", "web")
		w.store.gone.Store(true)
		for range 12 {
			time.Sleep(10 * time.Minute)
			w.wants("away", c, "", "unknown")
		}
		w.store.gone.Store(false)
		time.Sleep(time.Minute)
		w.wants("back", c, "", "untrusted")
		w.wants("not in use", idle, "", "trusted")
		time.Sleep(31 * time.Minute)
		w.wants("later", c, "", "trusted")
	})
}

// A client that goes away while it is asked says nothing of the store.
func TestClientGone(t *testing.T) {
	inTime(t, func(w *world) {
		c := at("eng", ada("cli"))
		ctx, cancel := context.WithCancel(w.t.Context())
		cancel()
		w.store.slow.Store(true)
		if got := describe(w.node.Trust(ctx, w.find(c, ""))); got != "unknown" {
			t.Errorf("gone: %s", got)
		}
		w.store.slow.Store(false)
		w.wants("others", c, "", "trusted")
	})
}

// G-33: for half an hour after data was lost stateless contexts are untrusted, and longer those that began before and have no end of
// their own in that time.
func TestDataLost(t *testing.T) {
	inTime(t, func(w *world) {
		c, s := at("eng", ada("cli")), inSession(at("eng", ada("cli")), "1")
		h := w.handle(c)
		w.wants("before", c, "", "trusted")
		w.wants("before, session", s, "", "trusted")
		w.wants("before, handle", c, h, "trusted")
		time.Sleep(time.Hour)
		w.store.kept.Store(memstate.NewContexts())
		began := inSession(at("eng", ada("cli")), "2")
		w.wants("after", c, "", "unknown")
		w.wants("after, session", s, "", "unknown")
		w.wants("after, handle", c, h, "unknown")
		w.wants("session since", began, "", "trusted")
		w.wants("handle since, out of what is not known", c, w.handle(c), "unknown")
		w.wants("handle since, out of a session since", began, w.handle(began), "trusted")
		time.Sleep(29 * time.Minute)
		w.wants("29 minutes after", c, "", "unknown")
		time.Sleep(2 * time.Minute)
		w.wants("31 minutes after", c, "", "trusted")
		w.wants("31 minutes after, session", s, "", "unknown")
		w.wants("31 minutes after, handle", c, h, "unknown")
		w.mark(s, "", "web")
		w.wants("marked", s, "", "unknown web")
	})
}

// What counts as untrusted for all callers without a session is said, with why and for how long, and nobody is asked for it.
func TestDoubt(t *testing.T) {
	inTime(t, func(w *world) {
		says := func(step, want string) {
			t.Helper()
			before := w.store.reads.Load()
			if got := w.node.Doubt(); want == "" && got != "" || !strings.Contains(got, want) || w.store.reads.Load() != before {
				t.Errorf("%s: %q, want %q", step, got, want)
			}
		}
		synctest.Wait()
		says("in order", "")
		w.store.gone.Store(true)
		time.Sleep(time.Minute)
		says("away", "does not answer")
		w.store.gone.Store(false)
		time.Sleep(time.Minute)
		says("back", "")
		w.store.kept.Store(memstate.NewContexts())
		time.Sleep(10*time.Minute + time.Second)
		says("lost", "may have lost data, since less than half an hour, as after a start; this ends in 20m")
		c := at("eng", ada("cli"))
		w.wants("lost", c, "", "unknown")
		time.Sleep(21 * time.Minute)
		says("found", "")
		w.wants("found", c, "", "trusted")
	})
}

// A handle keeps apart what its client does, and is no way to be rid of a mark.
func TestHandles(t *testing.T) {
	inTime(t, func(w *world) {
		for name, of := range map[string]func(client string) *call.Caller{
			"caller":  func(client string) *call.Caller { return at("eng", ada(client)) },
			"session": func(client string) *call.Caller { return inSession(at("eng", ada(client)), "s"+client) },
		} {
			c := of("a")
			one, two := w.handle(c), w.handle(c)
			w.mark(c, one, "web")
			w.wants(name+": the one that was marked", c, one, "untrusted web")
			w.wants(name+": another one of before", c, two, "trusted")
			w.wants(name+": calls without", c, "", "untrusted web")
			three := w.handle(c)
			w.wants(name+": a new one", c, three, "untrusted web")
			w.wants(name+": the same client elsewhere", of("b"), "", "trusted")

			c = of("c")
			four := w.handle(c)
			w.mark(c, "", "mail")
			w.wants(name+": calls without might be meant for it", c, four, "untrusted mail")
			w.mark(c, four, "web")
			w.wants(name+": both", c, four, "untrusted mail web")
			w.wants(name+": all", c, "", "untrusted mail web")

			time.Sleep(40 * time.Minute)
			w.wants(name+": a handle has no window", c, four, map[string]string{"caller": "untrusted web", "session": "untrusted mail web"}[name])
			w.wants(name+": what it began with stays", of("a"), three, "untrusted web")
		}
	})
}

// The call that asks for a handle is the first of its own context.
func TestFirstCallOfHandle(t *testing.T) {
	inTime(t, func(w *world) {
		c := at("eng", ada("cli"))
		for _, asks := range []string{"true", `""`} {
			x := w.find(c, asks)
			handle := `"` + w.node.Handle(c, x) + `"`
			w.wants(asks, c, handle, "trusted")
			if err := w.node.Mark(w.t.Context(), x, "web"); err != nil {
				t.Fatal(err)
			}
			w.wants(asks+", marked", c, handle, "untrusted web")
			time.Sleep(31 * time.Minute) // what it marked for the caller has passed
		}
		g := at("eng", ada("cli"))
		g.Gateway.Contexts = compile.ContextsTrusted
		before := w.store.reads.Load()
		if w.handle(g); w.store.reads.Load() != before {
			t.Error("the store is asked for a gateway whose contexts are never untrusted")
		}
	})
}

// A handle that is not this caller's is an error, and never a fresh context.
func TestForeignHandles(t *testing.T) {
	inTime(t, func(w *world) {
		c := at("eng", ada("cli"))
		mine := w.handle(c)
		other := ada("cli")
		other.UID = "u-bob"
		forged := []byte(mine)
		forged[len(forged)/2] ^= 1
		fields := func(kind seal.Kind, plain string) string {
			return `"` + string(w.keys.Seal(nil, kind, "uid-eng", []byte(plain))) + `"`
		}
		const plain = "\x01aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		for _, tc := range []struct {
			name, sent string
			c          *call.Caller
		}{
			{"another principal", mine, at("eng", other)},
			{"another client", mine, at("eng", ada("ide"))},
			{"another gateway", mine, at("ops", ada("cli"))},
			{"forged", string(forged), c},
			{"cut", mine[:len(mine)-2] + `"`, c},
			{"made up", `"pst1.AAAA"`, c},
			{"a word", `"new"`, c},
			{"false", `false`, c},
			{"null", `null`, c},
			{"a number", `1`, c},
			{"an object", `{}`, c},
			{"sealed for something else", fields(seal.Cursor, plain), c},
			{"of nobody", fields(seal.Context, plain), c},
			{"another layout", fields(seal.Context, "\x02"+plain[1:]), c},
			{"too short", fields(seal.Context, plain[:20]), c},
		} {
			_, err := w.node.Find(w.t.Context(), tc.c, []byte(tc.sent))
			if f := fault.From(err); err == nil || f.Kind != fault.Invalid || f.Reason != taint.ReasonHandle {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
		w.wants("mine", c, mine, "trusted")
		time.Sleep(23*time.Hour + 59*time.Minute)
		w.wants("mine, after a day", c, mine, "trusted")
		time.Sleep(time.Minute)
		if _, err := w.node.Find(w.t.Context(), c, []byte(mine)); fault.From(err).Reason != taint.ReasonHandleExpired {
			t.Errorf("expired: %v", err)
		}
	})
}

// Of a context with as many sources as are kept there may be others.
func TestManySources(t *testing.T) {
	inTime(t, func(w *world) {
		c := inSession(at("eng", ada("cli")), "1")
		var all []string
		for i := range taint.MaxSources + 1 {
			all = append(all, "server-"+string(rune('a'+i)))
			w.mark(c, "", all[i])
		}
		got := w.node.Trust(w.t.Context(), w.find(c, ""))
		want := call.Trust{Untrusted: true, Unknown: true, Sources: all[:taint.MaxSources]}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		h := w.find(c, w.handle(c))
		if !slices.Equal(h.Handle.Trust.Sources, want.Sources) || !h.Handle.Trust.Unknown {
			t.Errorf("a new handle began with %v", h.Handle.Trust)
		}
	})
}
