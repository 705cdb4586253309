// SPDX-License-Identifier: Apache-2.0

package process

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// plainManifests is a server that needs no secret, behind the gateway "plain".
func plainManifests(url, description string) string {
	return fmt.Sprintf(`
kind: Server
name: open
streamable_http: {url: %q}
visibility: {organization: {}}
---
kind: Connection
name: open
server: open
owner: {organization: {}}
---
kind: Gateway
name: plain
description: %q
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: open/echo, pinned: {connection: open}}
- {tool: open/slow, pinned: {connection: open}}
`, url, description)
}

// protectedManifests is a server that wants a secret header, behind the gateway "locked".
func protectedManifests(url string) string {
	return fmt.Sprintf(`
kind: Server
name: vaulted
streamable_http: {url: %q}
credential: {static_headers: {}}
visibility: {organization: {}}
---
kind: Connection
name: vaulted
server: vaulted
owner: {organization: {}}
secret_headers: {%s: {from_env: KEY}}
---
kind: Gateway
name: locked
visibility: {organization: {}}
authentication: {bearer_token: {}}
tools:
- {tool: vaulted/echo, pinned: {connection: vaulted}}
`, url, secretHeader)
}

// states lists the states on a node's disk, newest first.
func states(t *testing.T, data string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, "state", "state.*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(a, b string) int {
		number := func(name string) int {
			var n int
			_, _ = fmt.Sscan(name[strings.LastIndexByte(name, '.')+1:], &n) // 0 sorts last
			return n
		}
		return cmp.Compare(number(b), number(a))
	})
	return found
}

// onDisk waits until a node has written what it enforces: the older of two states is to be usable too.
func onDisk(t *testing.T, f *fleet, node string) {
	t.Helper()
	var revision int
	if _, err := fmt.Sscanf(f.must("wait"), "revision %d is enforced", &revision); err != nil {
		t.Fatalf("penstock wait: %v", err)
	}
	eventually(t, startTimeout, func() error {
		found := states(t, f.path(node))
		if len(found) == 0 || !strings.HasSuffix(found[0], fmt.Sprintf(".%d", revision)) {
			return fmt.Errorf("no state of revision %d on disk, but %q", revision, found)
		}
		return nil
	})
}

// flip changes one byte in the middle.
func flip(t *testing.T, path string) {
	t.Helper()
	text := readBytes(t, path)
	text[len(text)/2] ^= 0x20
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// diskDamage is what happens to a node's folder, whether the node serves afterwards, and what its log says.
type diskDamage struct {
	name   string
	damage func(t *testing.T, data string)
	serves bool
	log    string
}

func damages() []diskDamage {
	newest := func(damage func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, data string) { damage(t, states(t, data)[0]) }
	}
	all := func(pattern string, damage func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, data string) {
			found, err := filepath.Glob(filepath.Join(data, pattern))
			if err != nil || len(found) == 0 {
				t.Fatalf("no %s: %v", pattern, err)
			}
			for _, path := range found {
				damage(t, path)
			}
		}
	}
	const skipped = "damaged state file is skipped"
	return []diskDamage{
		{"nothing", func(*testing.T, string) {}, true, "last known good state loaded"},
		{"newest cut off", newest(cut(1, 2)), true, skipped},
		{"newest empty", newest(cut(0, 1)), true, skipped},
		{"newest with a flipped byte", newest(flip), true, skipped},
		{"newest is a foreign file", newest(replace("Dear diary,\n")), true, skipped},
		{"a state of another node", func(t *testing.T, data string) {
			copyFile(t, states(t, data)[1], states(t, data)[0]) // sealed under another name
		}, true, skipped},
		{"files that nobody knows", func(t *testing.T, data string) {
			replace("Dear diary,\n")(t, filepath.Join(data, "state", "notes.txt"))
		}, true, "last known good state loaded"},
		{"recent denials cut off", all("state/recent", cut(1, 2)), true, "damaged file of recent denials is skipped"},
		{"all states with a flipped byte", all("state/state.*", flip), false, skipped},
		{"bodies with a flipped byte", all("state/blobs.*", flip), false, skipped},
		{"key lost", all("state.key", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}), false, skipped},
		{"everything gone", all("state", func(t *testing.T, path string) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}), false, "no last known good state on disk"},
	}
}

// TestBadLastKnownGood: what is damaged on a node's disk is skipped with a warning; the node serves from what is left,
// or says that it has nothing, and goes on (D-60, D-61). There is no control plane meanwhile.
func TestBadLastKnownGood(t *testing.T) {
	f := newFleet(t)
	control, auth, node := f.startAll()
	u := newUpstream(t, "")
	f.apply(nil, plainManifests(u.URL, "first"))
	token := f.must("token", "create", "--organization", "--gateway", "plain")
	data := f.path("node-a")
	onDisk(t, f, "node-a")
	first := states(t, data)[0]
	f.apply(nil, plainManifests(u.URL, "second"))
	eventually(t, startTimeout, func() error {
		if now := states(t, data); len(now) != 2 || now[0] == first || now[1] != first {
			return fmt.Errorf("states on disk: %q", now)
		}
		return nil
	})
	for _, p := range []*program{node, control, auth} {
		p.stop()
	}

	for _, tt := range damages() {
		t.Run(tt.name, func(t *testing.T) {
			g := *f
			g.t, g.dir = t, t.TempDir()
			if err := os.CopyFS(g.path("node-a"), os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			tt.damage(t, g.path("node-a"))
			p := g.startNode("node-a")
			p.said(p.stderr, tt.log)
			c := caller{url: f.gateway(8080, "plain"), token: token}
			if !tt.serves {
				notLoaded(t, f, c)
			} else {
				ready(t, f.ops(9080))
				if err := c.echo(t.Context(), "open__echo"); err != nil {
					t.Errorf("call from disk: %v", err)
				}
			}
			p.stop()
		})
	}
	t.Run("a key that is none", func(t *testing.T) { badKey(t, f, data) })
	t.Run("heals", func(t *testing.T) { heals(t, f, token) })
}

// badKey: a key file that holds no key is named, and the node does not start with another one.
func badKey(t *testing.T, f *fleet, data string) {
	t.Helper()
	g := *f
	g.t, g.dir = t, t.TempDir()
	if err := os.CopyFS(g.path("node-a"), os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(g.path("node-a"), "state.key")
	replace("Dear diary,\n")(t, key)
	p := g.startNode("node-a")
	if code := p.wait(); code != 1 || !strings.Contains(p.stderr.String(), key) {
		t.Errorf("exit code %d, want 1 and the name of the file: %s", code, p.stderr.tail())
	}
}

// notLoaded wants a node that is alive, unready and refuses calls with 503 (D-61).
func notLoaded(t *testing.T, f *fleet, c caller) {
	t.Helper()
	eventually(t, startTimeout, func() error {
		a, err := c.tool(t.Context(), "open__echo", map[string]any{"message": "hello"})
		if err != nil {
			return err // not listening yet
		}
		if a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("call: status %d: %s", a.status, a.body)
		}
		return nil
	})
	if status, body := get(t, f.ops(9080)+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "VIEW_NOT_LOADED") {
		t.Errorf("/readyz: status %d, want 503 and VIEW_NOT_LOADED: %s", status, body)
	}
	if status, _ := get(t, f.ops(9080)+"/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: status %d, want 200", status)
	}
}

// heals: a node that lost everything is whole again as soon as a control plane is there, on disk too.
func heals(t *testing.T, f *fleet, token string) {
	g := *f
	g.t = t
	data := g.path("node-a")
	for _, path := range states(t, data) {
		flip(t, path)
	}
	p := g.startNode("node-a")
	c := caller{url: f.gateway(8080, "plain"), token: token}
	notLoaded(t, f, c)
	control, auth := g.startControl(), g.startAuth()
	ready(t, f.ops(9080))
	if err := c.echo(t.Context(), "open__echo"); err != nil {
		t.Error(err)
	}
	for _, other := range []*program{control, auth, p} {
		other.stop()
	}
	began := time.Now()
	p = g.startNode("node-a")
	ready(t, f.ops(9080))
	if err := c.echo(t.Context(), "open__echo"); err != nil {
		t.Error(err)
	}
	t.Logf("healed node was ready from disk after %s", time.Since(began).Round(time.Millisecond))
	p.stop()
}
