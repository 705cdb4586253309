// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
)

func TestSessionMovesBetweenNodes(t *testing.T) {
	server := redistest.Start(t)
	f := newFleet(t, server)
	s := f.open(f.a)

	// M-88, M-92: the session goes on elsewhere, with its log level, all of its capabilities and the same upstream session.
	if status, text, _ := f.post(f.a, s, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"debug"}}`); status != http.StatusOK {
		t.Fatalf("setLevel: %d %s", status, text)
	}
	f.echo(f.a, s)
	f.echo(f.b, s)
	f.echo(f.a, s)
	f.server.seen(func(m *memory) {
		if d := cmp.Diff([]string{"up-1", "up-1", "up-1"}, m.calls); d != "" || m.opened != 1 {
			t.Errorf("the server opened %d sessions; calls:\n%s", m.opened, d)
		}
		if d := cmp.Diff([]string{"up-1 debug", "up-1 debug"}, m.levels); d != "" { // once by each node
			t.Errorf("levels:\n%s", d)
		}
	})

	f.steady(s)
	f.resumes(s)
	f.subscriptionsMove(s)

	// M-91: the newest GET stream has the session, on whatever node.
	atA := f.reading(f.send(f.a, http.MethodGet, s, "", "")) //nolint:bodyclose // wantEnd closes it
	atA.want("")
	atB := f.reading(f.send(f.b, http.MethodGet, s, "", "")) //nolint:bodyclose // wantEnd closes it
	atB.want("")
	atA.wantEnd()
	atA = f.reading(f.send(f.a, http.MethodGet, s, "", "")) //nolint:bodyclose // wantEnd closes it
	atA.want("")
	atB.wantEnd()

	// M-36, M-87: DELETE on one node ends all of it on the other, and the upstream session once.
	resp := f.send(f.b, http.MethodDelete, s, "", "")
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("DELETE: %d", resp.StatusCode)
	}
	atA.wantEnd()
	for _, node := range []*httptest.Server{f.a, f.b} {
		if status, text, _ := f.post(node, s, echo); status != http.StatusNotFound || !strings.Contains(text, "Invalid session ID") {
			t.Errorf("after the end: %d %s", status, text)
		}
	}
	var over []string
	f.until("the upstream session is ended", func() bool {
		f.server.seen(func(m *memory) { over = slices.Clone(m.ended) })
		return slices.Contains(over, "up-2")
	})
	f.noSecrets(s)
	for _, n := range f.nodes {
		if err := n.pool.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	f.server.seen(func(m *memory) { over = slices.DeleteFunc(m.ended, func(id string) bool { return id != "up-2" }) })
	if len(over) != 1 {
		t.Errorf("the upstream session was ended %d times, want once", len(over))
	}
}

// steady is M-87: requests with JSON answers cost no command of Redis, whichever of the nodes that know the session gets them.
func (f *fleet) steady(s string) {
	f.t.Helper()
	if err := f.redis.ConfigResetStat(f.t.Context()).Err(); err != nil {
		f.t.Fatal(err)
	}
	for range 25 {
		f.echo(f.a, s)
		f.echo(f.b, s)
	}
	stats, err := f.redis.Info(f.t.Context(), "commandstats").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`cmdstat_([a-z|]+):calls=(\d+)`).FindAllStringSubmatch(stats, -1) {
		switch m[1] {
		case "ping", "info", "config|resetstat": // the subscription that is silent, and this test
		default:
			f.t.Errorf("50 requests cost %s commands %s", m[2], m[1])
		}
	}
}

// resumes is M-40, M-41, M-90, M-92: what a call on one node has sent is replayed by the other, whole if it has ended; what is
// in flight on a node that cannot be asked has an unknown outcome.
func (f *fleet) resumes(s string) {
	t := f.t
	t.Helper()
	call := f.reading(f.send(f.a, http.MethodPost, s, "", steps)) //nolint:bodyclose // closed below
	first := call.want("")
	one := call.want(`"progress":1`)
	_ = call.body.Close() // no cancellation: the call goes on (M-41)
	f.server.step <- struct{}{}
	var last string
	f.until("the call has ended on the first node", func() bool {
		again := f.resume(f.a, s, one)
		id, data, ok := again.next()
		_ = again.body.Close()
		last = id
		return ok && strings.Contains(data, `"result"`)
	})
	for _, from := range []struct {
		id   string
		want []string
	}{{first, []string{`"progress":1`, `"id":"c1","result"`}}, {one, []string{`"id":"c1","result"`}}, {last, nil}} {
		again := f.resume(f.b, s, from.id)
		for _, part := range from.want {
			again.want(part)
		}
		again.wantEnd()
	}

	call = f.reading(f.send(f.a, http.MethodPost, s, "", steps)) //nolint:bodyclose // closed below
	call.want("")
	one = call.want(`"progress":1`)
	again := f.resume(f.b, s, one) // without a way to the first node it is as good as dead
	again.want(`"id":"c1","result":{"content":[{"type":"text","text":"The gateway lost the call while it ran.`)
	again.wantEnd()
	again = f.resume(f.b, s, one)
	again.want(`"penstock_error":{"type":"OUTCOME_UNKNOWN","retryable":false}`)
	again.wantEnd()
	f.server.step <- struct{}{}
	call.want(`"id":"c1","result":{"content":[]}`)
	call.wantEnd()
	resp := f.send(f.b, http.MethodGet, s, "nobody.s.1-1", "")
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("an event that nobody sent: %d", resp.StatusCode)
	}
}

// subscriptionsMove is M-88, M-92: the server that has lost its sessions is initialized by one node for both, and told what
// the session has subscribed to by the node that has its stream.
func (f *fleet) subscriptionsMove(s string) {
	t := f.t
	t.Helper()
	if status, text, _ := f.post(f.a, s, `{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"test://r"}}`); status != http.StatusOK || strings.Contains(text, "error") {
		t.Fatalf("subscribe: %d %s", status, text)
	}
	f.server.forget()
	f.echo(f.b, s)
	f.echo(f.a, s)
	f.server.seen(func(m *memory) {
		if n := len(m.calls); m.opened != 2 || m.calls[n-1] != "up-2" || m.calls[n-2] != "up-2" {
			t.Errorf("%d sessions were opened, the last calls were in %v, want two and the second", m.opened, m.calls[n-2:])
		}
		if !slices.Contains(m.watched, "up-1 test://r") || !slices.Contains(m.watched, "up-2 test://r") {
			t.Errorf("subscribed %v, want in both sessions of the server", m.watched)
		}
		if !slices.Contains(m.levels, "up-2 debug") {
			t.Errorf("levels %v, want that of the session told anew", m.levels)
		}
	})
}

// noSecrets: what lies in Redis shows nothing of messages, and no session id of an upstream.
func (f *fleet) noSecrets(s string) {
	f.t.Helper()
	keys, err := f.redis.Keys(f.t.Context(), "*").Result()
	if err != nil || len(keys) == 0 {
		f.t.Fatalf("keys %q, %v", keys, err)
	}
	for _, key := range keys {
		dump, err := f.redis.Dump(f.t.Context(), key).Result()
		if err != nil {
			continue // expired just now
		}
		for _, secret := range []string{"up-1", "up-2", "progress", "content", "test://r", "sampling", s} {
			if strings.Contains(key+dump, secret) {
				f.t.Errorf("%s holds %q in the clear", key, secret)
			}
		}
	}
}

// TestRedisLost is M-88: sessions go on without Redis, also on a node that does not know them, and what ended meanwhile stays
// so; when Redis is back, the nodes go on with it by themselves.
func TestRedisLost(t *testing.T) {
	server := redistest.Start(t)
	f := newFleet(t, server)
	known, ended := f.open(f.a), f.open(f.a)
	f.echo(f.a, known)
	f.echo(f.b, known)
	f.echo(f.a, ended)
	server.Stop()
	fresh := f.open(f.a)
	for _, s := range []string{known, fresh} {
		f.echo(f.a, s)
		f.echo(f.b, s)
	}
	if status, text, _ := f.post(f.a, known, `{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"error"}}`); status != http.StatusOK {
		t.Errorf("setLevel without Redis: %d %s", status, text)
	}
	resp := f.send(f.a, http.MethodDelete, ended, "", "")
	_ = resp.Body.Close()
	if status, _, _ := f.post(f.a, ended, echo); status != http.StatusNotFound {
		t.Errorf("a session that ended here without Redis: %d", status)
	}
	server.Restart()
	f.until("the other node hears of the end", func() bool {
		status, _, _ := f.post(f.b, ended, echo)
		return status == http.StatusNotFound
	})
	f.until("new sessions are shared", func() bool {
		s := f.open(f.a)
		f.echo(f.a, s)
		f.echo(f.b, s)
		f.server.seen(func(m *memory) { s = m.calls[len(m.calls)-1] + m.calls[len(m.calls)-2] })
		return s[:len(s)/2] == s[len(s)/2:]
	})
}
