// SPDX-License-Identifier: Apache-2.0

package subject_test

import (
	"context"
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
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	callback     = "https://auth.example.com/login/callback/okta"
	clientSecret = "canary-s3cret"
	ada          = "u-ada"
)

// world is the room on a real store and vault, with an identity provider beside it.
type world struct {
	t      *testing.T
	dir    string
	url    string // of the database
	idp    *loginfake.Provider
	store  *sqlstore.Store
	vault  *vault.Vault
	keyset string
	keys   *envelope.KeyFile
	keeper *subject.Keeper
	party  *federation.Party
	log    *obstest.Log
	view   atomic.Pointer[directory.View]
	late   atomic.Int64 // added to the clock

	provider directory.Provider
	secret   error // in place of the client secret
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	return newWorldOn(t, dir, "sqlite://"+filepath.Join(dir, "a.db"))
}

func newWorldOn(t *testing.T, dir, database string) *world {
	t.Helper()
	w := &world{t: t, dir: dir, url: database, idp: loginfake.New(t), log: &obstest.Log{}}
	w.idp.Now = w.now
	w.idp.Client = loginfake.Client{ID: "penstock", Secret: clientSecret, Method: "client_secret_basic", RedirectURI: callback}
	w.provider = directory.Provider{
		UID: "idp-1", Name: "okta", DisplayName: "Okta", Issuer: w.idp.Issuer, ClientID: "penstock",
		Kept: &directory.Kept{Scopes: []string{"offline_access", "api"}},
	}
	w.publish()
	w.keyset = filepath.Join(t.TempDir(), "keys.json")
	w.must(envelope.CreateKeyFile(w.keyset))
	var err error
	w.keys, err = envelope.OpenKeyFile(w.keyset)
	w.must(err)
	w.party, err = federation.New(federation.Config{HTTP: &http.Client{}, Now: w.now})
	w.must(err)
	w.keeper, w.store, w.vault = w.another()
	return w
}

// another is an authserver on the same database.
func (w *world) another() (*subject.Keeper, *sqlstore.Store, *vault.Vault) {
	w.t.Helper()
	s, err := sqlstore.Open(w.t.Context(), w.url)
	w.must(err)
	w.t.Cleanup(func() { _ = s.Close() })
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	v, err := vault.New(vault.Config{Secrets: s, KMS: w.keys, Log: log, Now: w.now})
	w.must(err)
	k, err := subject.New(subject.Config{View: w.view.Load, Vault: v, Audit: s, Providers: w, Log: log, Now: w.now})
	w.must(err)
	return k, s, v
}

// Renew implements subject.Providers, as login does.
func (w *world) Renew(ctx context.Context, idp *directory.Provider, r federation.Refresh) (federation.Tokens, federation.Proof, error) {
	if w.secret != nil {
		return federation.Tokens{}, federation.Proof{}, w.secret
	}
	return w.party.Refresh(ctx, idp, clientSecret, r)
}

// Revoke implements subject.Providers.
func (w *world) Revoke(ctx context.Context, idp *directory.Provider, token obs.Secret) error {
	return w.party.Revoke(ctx, idp, clientSecret, token)
}

func (w *world) publish() {
	p := w.provider
	w.view.Store(directory.NewView(directory.Content{
		Users: []*directory.User{
			{User: compile.User{UID: ada, Name: "ada@example.com"}}, {User: compile.User{UID: "u-eve", Name: "eve@example.com", Deactivated: true}},
		},
		Providers: []*directory.Provider{&p},
	}))
}

func (w *world) p() *directory.Provider { return w.view.Load().ProviderByUID("idp-1") }

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.late.Load())) }
func (w *world) pass(d time.Duration) { w.late.Add(int64(d)) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// login logs a user in at the provider and keeps what that leaves.
func (w *world) login(user string) {
	w.t.Helper()
	a := federation.Attempt{
		State: strings.Repeat("s", 43), Nonce: strings.Repeat("n", 43), Verifier: strings.Repeat("v", 43), RedirectURI: callback,
	}
	to, err := w.party.AuthURL(w.t.Context(), w.p(), a)
	w.must(err)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, to, http.NoBody)
	w.must(err)
	res, err := client.Do(r)
	w.must(err)
	_ = res.Body.Close()
	back, err := url.Parse(res.Header.Get("Location"))
	w.must(err)
	account, err := w.party.Finish(w.t.Context(), w.p(), clientSecret, back.Query(), a)
	w.must(err)
	w.must(w.keeper.Keep(w.t.Context(), user, w.p(), account.Tokens))
}

func (w *world) token(kind directory.Subject) (string, error) {
	w.t.Helper()
	t, err := w.keeper.Token(w.t.Context(), ada, w.p(), kind)
	return t.Value.Reveal(), err
}

func (w *world) want(kind directory.Subject) string {
	w.t.Helper()
	value, err := w.token(kind)
	w.must(err)
	if value == "" {
		w.t.Fatal("an empty token")
	}
	return value
}

func (w *world) wantFault(err error, kind fault.Kind, reason string) {
	w.t.Helper()
	if f := fault.From(err); err == nil || f.Kind != kind || f.Reason != reason {
		w.t.Errorf("got %v, want %v %s", err, kind, reason)
	}
}

func (w *world) count(want int) {
	w.t.Helper()
	if got := w.idp.Count(); got != want {
		w.t.Errorf("%d refreshes, want %d", got, want)
	}
}

// requests returns how many requests the provider has seen.
func (w *world) requests() int {
	w.idp.Lock()
	defer w.idp.Unlock()
	return w.idp.Requests
}

// events returns the audit events, as "action result reason target".
func (w *world) events() []string {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 1000)
	w.must(err)
	var list []string
	for _, r := range records {
		list = append(list, strings.Join([]string{r.Event.Action, r.Event.Result, r.Event.Reason, r.Event.Target}, " "))
	}
	return list
}

func (w *world) lastEvent() string {
	w.t.Helper()
	list := w.events()
	return list[len(list)-1]
}

// check fails the test if Penstock did something wrong at the provider, or if the log, the audit or the database has what nothing
// may have.
func (w *world) check() {
	w.t.Helper()
	w.idp.Lock()
	defer w.idp.Unlock()
	if len(w.idp.Mistakes) > 0 {
		w.t.Error(w.idp.Mistakes)
	}
	if len(w.idp.Secrets) < 3 {
		w.t.Error("there is nothing secret to be looked for")
	}
	places := map[string]string{"log": w.log.String(), "audit": strings.Join(w.events(), "\n")}
	files, err := filepath.Glob(filepath.Join(w.dir, "a.db*"))
	w.must(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		w.must(err)
		places[filepath.Base(f)] = string(b)
	}
	for place, text := range places {
		for _, s := range append([]string{clientSecret}, w.idp.Secrets...) {
			if strings.Contains(text, s) {
				w.t.Errorf("%s has %q", place, s)
			}
		}
	}
}
