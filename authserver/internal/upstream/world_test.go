// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/upstream/upstreamfake"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	issuer     = "https://auth.example.com"
	state      = "state-of-the-test-which-is-long-enough-43ch"
	verifier   = "verifier-of-the-test-with-43-characters-abcd"
	connection = "c1"
)

// world is the room on a real store and vault, with an authorization server beside it.
type world struct {
	t      testing.TB
	dir    string
	url    string // of the database
	fake   *upstreamfake.Fake
	store  *sqlstore.Store
	vault  *vault.Vault
	keys   *envelope.KeyFile
	keyset string // its path
	up     *upstream.Upstream
	egress egress.Policy
	log    *obstest.Log
	view   atomic.Pointer[directory.View]
	late   atomic.Int64 // added to the clock
	server directory.Server
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	return newWorldOn(t, dir, "sqlite://"+filepath.Join(dir, "a.db"))
}

func newWorldOn(t testing.TB, dir, database string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, url: database, fake: upstreamfake.New(t), log: &obstest.Log{}, egress: egress.Policy{AllowLoopback: true}}
	w.keyset = filepath.Join(t.TempDir(), "keys.json")
	w.must(envelope.CreateKeyFile(w.keyset))
	var err error
	w.keys, err = envelope.OpenKeyFile(w.keyset)
	w.must(err)
	w.server = directory.Server{UID: "s1", Name: "github", URL: w.fake.MCP, OAuth: &directory.OAuth{}}
	w.publish()
	w.up, w.store, w.vault = w.another()
	return w
}

// another is an authserver on the same database.
func (w *world) another() (*upstream.Upstream, *sqlstore.Store, *vault.Vault) {
	w.t.Helper()
	s, err := sqlstore.Open(w.t.Context(), w.url)
	w.must(err)
	w.t.Cleanup(func() { _ = s.Close() })
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	v, err := vault.New(vault.Config{Secrets: s, KMS: w.keys, Log: log, Now: w.now})
	w.must(err)
	up, err := upstream.New(upstream.Config{Issuer: issuer, View: w.view.Load, Vault: v, Audit: s, Egress: w.egress, Log: log, Now: w.now})
	w.must(err)
	return up, s, v
}

func (w *world) publish() {
	s := w.server
	w.view.Store(directory.NewView(directory.Content{
		Servers:     []*directory.Server{&s},
		Connections: []*directory.Connection{{UID: connection, Name: "ada-github", Server: s.Name}},
	}))
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.late.Load())) }
func (w *world) pass(d time.Duration) { w.late.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// begin goes to the authorization server and returns the answer that a browser brings back.
func (w *world) begin() (upstream.Journey, url.Values, error) {
	w.t.Helper()
	j, to, err := w.up.Begin(w.t.Context(), w.view.Load().Server("github"), upstream.Departure{State: state, Verifier: verifier})
	if err != nil {
		return j, nil, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, to, http.NoBody)
	w.must(err)
	res, err := client.Do(r)
	w.must(err)
	_ = res.Body.Close()
	back, err := url.Parse(res.Header.Get("Location"))
	w.must(err)
	if got := strings.TrimSuffix(back.String(), "?"+back.RawQuery); got != issuer+"/upstream/callback/github" {
		w.t.Fatalf("the answer goes to %q: %d", got, res.StatusCode)
	}
	return j, back.Query(), nil
}

// grant gets a grant and returns the version that the vault has it under.
func (w *world) grant() string {
	w.t.Helper()
	version, err := w.tryGrant()
	w.must(err)
	return version
}

func (w *world) tryGrant() (string, error) {
	w.t.Helper()
	j, response, err := w.begin()
	if err != nil {
		return "", err
	}
	code, err := j.Judge(response)
	if err != nil {
		return "", err
	}
	secret, err := w.up.Finish(w.t.Context(), w.view.Load().Server("github"), j, code, verifier)
	if err != nil {
		return "", err
	}
	return w.vault.Put(w.t.Context(), connection, secret)
}

// resolve returns the header that a node gets.
func (w *world) resolve(up *upstream.Upstream, version string, refused bool) (header string, until time.Time, err error) {
	w.t.Helper()
	s, until, err := up.Resolve(w.t.Context(), connection, version, refused)
	return s.Headers["Authorization"].Reveal(), until, err
}

// want resolves and checks that the MCP server takes what comes.
func (w *world) want(version string, refused bool) string {
	w.t.Helper()
	header, _, err := w.resolve(w.up, version, refused)
	w.must(err)
	if !w.fake.Valid(header) {
		w.t.Fatalf("the server does not take %q", header)
	}
	return header
}

// events returns the audit events, as "action result reason target".
func (w *world) events() []string {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 1000)
	w.must(err)
	var list []string
	for _, r := range records {
		e := r.Event
		list = append(list, strings.Join([]string{e.Action, e.Result, e.Reason, e.Target}, " "))
	}
	return list
}

// checkSecrecy fails the test if the log, the audit or the database has what nothing may have.
func (w *world) checkSecrecy(more ...string) {
	w.t.Helper()
	places := map[string]string{"log": w.log.String(), "audit": strings.Join(w.events(), "\n")}
	files, err := filepath.Glob(filepath.Join(w.dir, "a.db*"))
	w.must(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		w.must(err)
		places[filepath.Base(f)] = string(b)
	}
	w.fake.Lock()
	defer w.fake.Unlock()
	secrets := append(append([]string{verifier}, w.fake.Secrets...), more...)
	if len(w.fake.Secrets) == 0 {
		w.t.Error("there is nothing secret to be looked for")
	}
	for place, text := range places {
		for _, s := range secrets {
			if strings.Contains(text, s) {
				w.t.Errorf("%s has %q", place, s)
			}
		}
	}
}

func wantFault(t testing.TB, err error, kind fault.Kind, reason string) {
	t.Helper()
	if f := fault.From(err); err == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("got %v, want %s %s", err, kind, reason)
	}
}
