// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/memstate"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/lease"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/link"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// registry is one that can be away.
type registry struct {
	*memstate.Sessions
	away   atomic.Bool
	values sync.Map // all that it was given
}

var errAway = errors.New("away")

func (r *registry) TakePlace(ctx context.Context, session, place, token string, lock time.Duration) ([]byte, bool, error) {
	if r.away.Load() {
		return nil, false, errAway
	}
	return r.Sessions.TakePlace(ctx, session, place, token, lock)
}

func (r *registry) FillPlace(ctx context.Context, session, place, token string, value []byte) (bool, error) {
	r.values.Store(session+place+string(value), true)
	return r.Sessions.FillPlace(ctx, session, place, token, value)
}

func (r *registry) ClaimPlace(ctx context.Context, session, place string, value []byte, idle time.Duration) (bool, error) {
	if r.away.Load() {
		return false, errAway
	}
	return r.Sessions.ClaimPlace(ctx, session, place, value, idle)
}

// pools are the pools of nodes that share a registry.
type pools struct {
	t        *testing.T
	registry *registry
	keys     *seal.Keyset
}

func newPools(t *testing.T) *pools {
	t.Helper()
	keys, err := seal.Parse(seal.Generate())
	if err != nil {
		t.Fatal(err)
	}
	return &pools{t, &registry{Sessions: memstate.NewSessions()}, keys}
}

func (s *pools) pool(change func(*Config)) *Pool {
	s.t.Helper()
	return newPool(s.t, func(c *Config) {
		c.Registry, c.Keys = s.registry, s.keys
		if change != nil {
			change(c)
		}
	})
}

func (s *pools) echo(p *Pool, to Target) {
	s.t.Helper()
	r, err := p.Call(s.t.Context(), to, Request{Method: "tools/call", Params: closed(callParams("echo", "x"))}, nil)
	if err != nil || text(s.t, r) != "x" {
		s.t.Errorf("echo: %s %v", r.Raw, err)
	}
}

// clientSession is a target of a client's session.
func clientSession(url string) (Target, session.UID) {
	id := session.UID{1, 2, 3}
	to := target(url, wire.V20251125)
	to.Session = hex.EncodeToString(id[:])
	return to, id
}

// TestPlaceIsShared is M-92: however many nodes call at a time, the upstream has one session for a client's session, and it is
// ended once, by whichever node is to.
func TestPlaceIsShared(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, id := clientSession(f.url)
	nodes := []*Pool{s.pool(nil), s.pool(nil), s.pool(nil)}
	var calls sync.WaitGroup
	for i := range 12 {
		calls.Go(func() { s.echo(nodes[i%len(nodes)], to) })
	}
	calls.Wait()
	if n := f.opened.Load(); n != 1 {
		t.Errorf("%d sessions were opened, want one", n)
	}
	if err := s.registry.End(t.Context(), id, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, p := range nodes {
		p.EndSession(to.Session)
	}
	until(t, func() bool { return f.deleted.Load() == 1 })
	for _, p := range nodes {
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.deleted.Load(); n != 1 {
		t.Errorf("the session was ended %d times", n)
	}
	s.registry.values.Range(func(k, _ any) bool {
		for _, secret := range []string{f.last().Get("Mcp-Session-Id"), "upstream-secret", "user:ada", "conn-1", "2025-11-25"} {
			if strings.Contains(k.(string), secret) {
				t.Errorf("the registry was given %q", secret)
			}
		}
		return true
	})
}

// TestPlacesAreApart: what parts sessions on one node parts them in the fleet: principal, credential, client's session, what
// is declared, and the server's address.
func TestPlacesAreApart(t *testing.T) {
	base, _ := clientSession("http://127.0.0.1:1/mcp")
	seen := map[string]string{}
	for name, change := range map[string]func(*Target){
		"the same": func(*Target) {}, "principal": func(t *Target) { t.PrincipalKey = "user:bob" }, "credential": func(t *Target) { t.Key = "conn-1|2" },
		"address": func(t *Target) { t.URL += "x" }, "capabilities": func(t *Target) { t.Capabilities = []byte(`{}`) },
		"moved bytes": func(t *Target) { t.Key, t.URL = t.Key+"h", t.URL[1:] },
	} {
		to := base
		change(&to)
		if other, ok := seen[placeOf(&to)]; ok {
			t.Errorf("%s and %s have one place", name, other)
		}
		seen[placeOf(&to)] = name
	}
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	a, b := s.pool(nil), s.pool(nil)
	s.echo(a, to)
	to.PrincipalKey = "user:bob"
	s.echo(b, to)
	if n := f.opened.Load(); n != 2 {
		t.Errorf("two principals have %d sessions", n)
	}
	value, _, err := s.registry.TakePlace(t.Context(), to.Session, placeOf(&to), "x", time.Second)
	if err != nil || value == nil {
		t.Fatal(err)
	}
	if site, err := a.site(&to); err != nil || a.adopt(site, &to, placeOf(&base), value) != nil {
		t.Errorf("a value opens in another place: %v", err)
	} else {
		site.users.Add(-1)
	}
}

// TestPlaceLost is M-92: an upstream that does not know the session any more gets one new one, for all nodes.
func TestPlaceLost(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	a, b := s.pool(nil), s.pool(nil)
	s.echo(a, to)
	s.echo(b, to)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, f.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Mcp-Session-Id", f.last().Get("Mcp-Session-Id"))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	s.echo(b, to)
	s.echo(a, to)
	s.echo(b, to)
	if n := f.opened.Load(); n != 2 {
		t.Errorf("%d sessions were opened, want two", n)
	}
}

// TestDrainLeavesSessions is M-95: a node that stops leaves the sessions of clients' sessions to the others.
func TestDrainLeavesSessions(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	leased := target(f.url, wire.V20251125)
	a, b := s.pool(nil), s.pool(nil)
	s.echo(a, to)
	s.echo(a, leased)
	if err := a.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.deleted.Load(); n != 1 {
		t.Errorf("%d sessions were ended, want that of no client's session", n)
	}
	s.echo(b, to)
	if n := f.opened.Load(); n != 2 {
		t.Errorf("%d sessions were opened, want two", n)
	}
}

// TestIdlePlace: a session that this node has not used for long, but another one has, is not ended.
func TestIdlePlace(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	a, b := s.pool(nil), s.pool(nil)
	s.echo(a, to)
	s.echo(b, to)
	a.deleteSessions(t.Context(), a.idleSessions(time.Now(), -1000*time.Hour))
	if n := f.deleted.Load(); n != 0 {
		t.Errorf("%d sessions were ended", n)
	}
	s.echo(b, to)
	s.echo(a, to)
	if n := f.opened.Load(); n != 1 {
		t.Errorf("%d sessions were opened, want one", n)
	}
}

// TestRegistryAway is M-88: without the registry each node has a session of its own, which it ends.
func TestRegistryAway(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	a, b := s.pool(nil), s.pool(nil)
	s.registry.away.Store(true)
	s.echo(a, to)
	s.echo(b, to)
	a.EndSession(to.Session)
	until(t, func() bool { return f.deleted.Load() == 1 })
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := f.deleted.Load(); f.opened.Load() != 2 || n != 2 {
		t.Errorf("%d sessions were opened, %d ended, want two", f.opened.Load(), n)
	}
}

// TestRegistryBack is M-88: when the registry is back, the nodes agree on one of the sessions that they have opened meanwhile.
func TestRegistryBack(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	a, b := s.pool(nil), s.pool(nil)
	s.registry.away.Store(true)
	s.echo(a, to)
	s.echo(b, to)
	s.registry.away.Store(false)
	kept := func(p *Pool) (value []byte) {
		p.eachOf(to.Session, func(h *lease.Held[*link.Session]) { value = h.Value.Kept })
		return value
	}
	for _, p := range []*Pool{a, b} {
		until(t, func() bool {
			s.echo(p, to)
			return kept(p) != nil
		})
	}
	if !bytes.Equal(kept(a), kept(b)) {
		t.Error("the nodes use different sessions")
	}
	b.deleteSessions(t.Context(), b.idleSessions(time.Now(), time.Hour))
	if n := f.deleted.Load(); f.opened.Load() != 2 || n != 1 {
		t.Errorf("%d sessions were opened, %d ended, want one left of two", f.opened.Load(), n)
	}
}

// TestOpenerDies: a node that does not come back with the session it was to open holds the others up, but not for long; what
// another one has put cannot be opened, if it is none of ours.
func TestOpenerDies(t *testing.T) {
	f, s := newFixture(t), newPools(t)
	to, _ := clientSession(f.url)
	if _, mine, err := s.registry.TakePlace(t.Context(), to.Session, placeOf(&to), "dead", 300*time.Millisecond); err != nil || !mine {
		t.Fatal(err)
	}
	p := s.pool(nil)
	s.echo(p, to)
	other := to
	other.PrincipalKey = "user:bob"
	if _, _, err := s.registry.TakePlace(t.Context(), other.Session, placeOf(&other), "t", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := s.registry.FillPlace(t.Context(), other.Session, placeOf(&other), "t", []byte("forged")); err != nil {
		t.Fatal(err)
	}
	s.echo(p, other)
	if n := f.opened.Load(); n != 2 {
		t.Errorf("%d sessions were opened, want two", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other.PrincipalKey = "user:eve"
	if _, _, err := s.registry.TakePlace(t.Context(), other.Session, placeOf(&other), "t", time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Call(ctx, other, Request{Method: "ping"}, nil); err == nil {
		t.Error("a call that was given up is made")
	}
}
