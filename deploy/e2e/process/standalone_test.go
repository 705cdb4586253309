// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// alone is a penstock-standalone with a data folder that outlives its process.
type alone struct {
	t      *testing.T
	home   string // working directory; the data folder is .penstock in it
	data   string
	offset int
}

// newAlone prepares one. A space and a quote in the path show what is not quoted.
func newAlone(t *testing.T) *alone {
	t.Helper()
	home := filepath.Join(t.TempDir(), "ada's work")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	return &alone{t: t, home: home, data: filepath.Join(home, ".penstock"), offset: freeOffset(t)}
}

func (a *alone) options(env ...string) options {
	return options{dir: a.home, env: append(env, portOffset(a.offset), "PENSTOCK_DATA_DIR="+a.data)}
}

// start is what `make run` does; it returns when the last line of the greeting is there.
func (a *alone) start(env ...string) *program {
	a.t.Helper()
	p := start(a.t, a.options(env...), "penstock-standalone", "--demo")
	p.said(p.stdout, "bin/penstock connect demo")
	return p
}

func (a *alone) demo() caller {
	a.t.Helper()
	return caller{url: a.endpoints().DemoGateway, token: readFile(a.t, filepath.Join(a.data, "demo.token"))}
}

// cli runs the command line in the working directory, where it finds the token by itself.
func (a *alone) cli(args ...string) finished {
	a.t.Helper()
	return run(a.t, options{dir: a.home, env: []string{portOffset(a.offset)}}, "penstock", args...)
}

// endpoints is endpoints.json, by the names of the contract (architecture.md section 2).
type endpoints struct {
	MCP         string            `json:"mcp"`
	DemoGateway string            `json:"demo_gateway"`
	Admin       string            `json:"admin"`
	Authserver  string            `json:"authserver"`
	Ops         map[string]string `json:"ops"`
}

func (a *alone) endpoints() endpoints {
	a.t.Helper()
	var e endpoints
	d := json.NewDecoder(strings.NewReader(readFile(a.t, filepath.Join(a.data, "endpoints.json"))))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		a.t.Fatalf("endpoints.json: %v", err)
	}
	return e
}

// TestStandalone is the `make run` contract of architecture.md section 2.
func TestStandalone(t *testing.T) {
	a := newAlone(t)
	began := time.Now()
	p := a.start("PENSTOCK_LOG_LEVEL=debug")
	t.Logf("first start took %s", time.Since(began).Round(time.Millisecond))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the first start took %s, want a few seconds", took)
	}

	t.Run("files", func(t *testing.T) { checkFiles(t, a.data) })
	t.Run("endpoints", func(t *testing.T) { checkEndpoints(t, a) })
	t.Run("printed commands", func(t *testing.T) { checkGreeting(t, a, p.stdout.String()) })
	first := a.demo()
	if err := first.echo(t.Context(), "demo__echo"); err != nil {
		t.Errorf("call with demo.token: %v", err)
	}
	t.Run("resource and prompt", func(t *testing.T) { checkFeatures(t, first) })
	t.Run("second process", func(t *testing.T) {
		got := run(t, options{dir: a.home, env: []string{portOffset(freeOffset(t)), "PENSTOCK_DATA_DIR=" + a.data}}, "penstock-standalone", "--demo")
		if got.code != 1 || !strings.Contains(got.stderr, a.data) || !strings.Contains(got.stderr, "in use by another penstock-standalone") {
			t.Errorf("got exit code %d and %q, want 1 and the name of the folder", got.code, got.stderr)
		}
		if err := first.echo(t.Context(), "demo__echo"); err != nil {
			t.Errorf("the first process was disturbed: %v", err)
		}
	})
	t.Run("interrupt", func(t *testing.T) { checkInterrupt(t, p, first) })
	secrets := map[string]string{
		"demo.token": first.token, "admin.token": readFile(t, filepath.Join(a.data, "admin.token")),
		"vault.keyset": readFile(t, filepath.Join(a.data, "vault.keyset")), "approvals.keyset": readFile(t, filepath.Join(a.data, "approvals.keyset")), "demo.user": account(t, a).Password,
	}

	began = time.Now()
	p = a.start("PENSTOCK_LOG_LEVEL=debug")
	t.Logf("second start took %s", time.Since(began).Round(time.Millisecond))
	if diff := cmp.Diff(first, a.demo(), cmp.AllowUnexported(caller{})); diff != "" {
		t.Errorf("the second start changed the demo (-first +second):\n%s", diff)
	}
	if err := first.echo(t.Context(), "demo__echo"); err != nil {
		t.Errorf("call with the token of the first start: %v", err)
	}
	if got := a.cli("get", "gateways"); got.code != 0 || !strings.Contains(got.stdout, "demo") {
		t.Errorf("the admin token of the first start: exit code %d, %s %s", got.code, got.stdout, got.stderr)
	}
	p.stop()
	for name, secret := range secrets {
		if strings.Contains(p.stdout.String()+p.stderr.String(), secret) {
			t.Errorf("the output holds the content of %s", name)
		}
	}
}

// checkFeatures: the demo gateway shows what the demo server has besides tools.
func checkFeatures(t *testing.T, c caller) {
	tests := []struct {
		method, name string
		params       map[string]any
		want         string
	}{
		{"resources/list", "", map[string]any{}, `"uri":"demo://about"`},
		{"resources/read", "demo://about", map[string]any{"uri": "demo://about"}, `"mimeType":"text/plain"`},
		{"prompts/list", "", map[string]any{}, `"name":"demo__summarize"`},
		{"prompts/get", "demo__summarize", map[string]any{"name": "demo__summarize", "arguments": map[string]any{"text": "long"}}, `long`},
	}
	for _, tt := range tests {
		if got, err := c.send(t.Context(), tt.method, tt.name, tt.params, nil); err != nil || got.status != http.StatusOK || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: status %d, %v: %s", tt.method, got.status, err, got.body)
		}
	}
}

// checkFiles: what holds a secret is its owner's alone, and so is everything else but the list of addresses.
func checkFiles(t *testing.T, data string) {
	want := map[string]fs.FileMode{
		".": 0o700, "admin.token": 0o600, "demo.token": 0o600, "demo.user": 0o600, "vault.keyset": 0o600, "approvals.keyset": 0o600, "controlplane.db": 0o600, "authserver.db": 0o600,
		"endpoints.json": 0o644,
	}
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		if mode, ok := want[name]; ok {
			if info.Mode().Perm() != mode {
				t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
			}
			delete(want, name)
		} else if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o, which lets others in", name, info.Mode().Perm())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range want {
		t.Errorf("%s is missing", name)
	}
	for _, name := range []string{"admin.token", "demo.token"} {
		if token := readFile(t, filepath.Join(data, name)); !strings.HasPrefix(token, "pst_") || strings.ContainsAny(token, " \n") {
			t.Errorf("%s holds no bearer token alone", name)
		}
	}
}

func checkEndpoints(t *testing.T, a *alone) {
	mcp := "http://" + address(8080+a.offset) + "/v1/mcp/"
	want := endpoints{MCP: mcp, DemoGateway: mcp + "demo", Admin: "http://" + address(8081+a.offset), Authserver: "http://" + address(8083+a.offset), Ops: map[string]string{
		"dataplane": "http://" + address(9080+a.offset), "controlplane": "http://" + address(9081+a.offset),
		"authserver": "http://" + address(9083+a.offset),
	}}
	if diff := cmp.Diff(want, a.endpoints()); diff != "" {
		t.Errorf("endpoints.json (-want +got):\n%s", diff)
	}
	for name, origin := range want.Ops {
		for _, page := range []string{"/healthz", "/readyz", "/metrics"} {
			if status, body := get(t, origin+page); status != http.StatusOK {
				t.Errorf("%s%s: status %d: %s", name, page, status, body)
			}
		}
	}
}

// checkGreeting runs the printed commands as they are printed: curl for real, the others with a function in their place
// that shows what they got.
func checkGreeting(t *testing.T, a *alone, greeting string) {
	if !strings.Contains(greeting, "Penstock "+testVersion+" is running. Ctrl-C stops it.") {
		t.Errorf("no first line in:\n%s", greeting)
	}
	_, rest, ok := strings.Cut(greeting, "  curl ")
	command, _, end := strings.Cut(rest, "\n\n")
	if !ok || !end {
		t.Fatalf("no curl command in:\n%s", greeting)
	}
	// Anywhere: a new terminal is not where Penstock was started.
	got := run(t, options{dir: t.TempDir()}, "/bin/bash", "-c", "curl "+command)
	if a := read(got.stdout); got.code != 0 || a.failed || a.text != "hello" {
		t.Errorf("the printed curl command: exit code %d, %s %s", got.code, got.stdout, got.stderr)
	}
	for _, tt := range []struct{ program, want string }{
		{"claude", fmt.Sprintf("mcp|add|--transport|http|demo|%s|", a.demo().url)},
		{"bin/penstock", fmt.Sprintf("connect|demo|PENSTOCK_ADDR=%s|", a.endpoints().Admin)},
	} {
		line := ""
		for l := range strings.Lines(greeting) {
			if strings.Contains(l, tt.program+" ") {
				line = strings.TrimSpace(l)
			}
		}
		script := `show() { printf '%s|' "$@"; if [ -n "$PENSTOCK_ADDR" ]; then printf 'PENSTOCK_ADDR=%s|' "$PENSTOCK_ADDR"; fi; }; ` +
			strings.Replace(line, tt.program, "show", 1)
		if got := run(t, options{dir: t.TempDir()}, "/bin/bash", "-c", script); got.stdout != tt.want {
			t.Errorf("%s got %q, want %q; %s", tt.program, got.stdout, tt.want, got.stderr)
		}
	}
	if got := a.cli("connect", "demo"); got.code != 0 || !strings.Contains(got.stdout, a.demo().url) {
		t.Errorf("penstock connect demo: exit code %d, %s %s", got.code, got.stdout, got.stderr)
	}
}

// checkInterrupt presses Ctrl-C while a call is in flight: the call is finished, however long the demo server takes to
// answer it, and the process ends with 0.
func checkInterrupt(t *testing.T, p *program, c caller) {
	var pressed time.Time
	a, err := c.watch(t.Context(), "demo__countdown", map[string]any{"steps": 10, "step_ms": 200}, func(line string) {
		if pressed.IsZero() && strings.Contains(line, "notifications/progress") {
			pressed = time.Now()
			p.signal(syscall.SIGINT)
		}
	})
	if pressed.IsZero() {
		t.Fatalf("no progress came: %v, %s", err, a.body)
	}
	if err != nil || a.failed || a.text != "Lift-off!" {
		t.Errorf("the call in flight: %v, status %d, %s", err, a.status, a.body)
	}
	if code := p.wait(); code != 0 {
		t.Errorf("Ctrl-C: exit code %d, want 0", code)
	}
	t.Logf("stop took %s", time.Since(pressed).Round(time.Millisecond))
	if text := p.stderr.String(); strings.Contains(text, "panic") || strings.Contains(text, "level=ERROR") {
		t.Errorf("errors in the log:\n%s", p.stderr.tail())
	}
	if status, _ := get(t, c.url); status != 0 {
		t.Errorf("something still answers at %s: %d", c.url, status)
	}
}
