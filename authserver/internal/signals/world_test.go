// SPDX-License-Identifier: Apache-2.0

package signals_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/signals"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

const (
	issuer    = "https://auth.example.com"
	pollToken = "canary-poll-token-of-the-provider"
	caep      = "https://schemas.openid.net/secevent/caep/event-type/"
	risc      = "https://schemas.openid.net/secevent/risc/event-type/"
	ssf       = "https://schemas.openid.net/secevent/ssf/event-type/"
)

type claims = map[string]any

// world is the room on a real store and vault, with an identity provider that has keys and a poll endpoint.
type world struct {
	t      *testing.T
	idp    *idp
	store  *sqlstore.Store
	vault  *vault.Vault
	log    *obstest.Log
	people *people
	clock  func() time.Time
	view   *directory.View
	given  directory.Provider
	r      *signals.Receiver
}

func newWorld(t *testing.T, change ...func(p *directory.Provider)) *world {
	t.Helper()
	w := &world{t: t, idp: newIDP(t), log: &obstest.Log{}, people: &people{owned: []string{"uid-ada"}}, clock: time.Now}
	var err error
	w.store, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	w.must(err)
	t.Cleanup(func() { _ = w.store.Close() })
	keyset := filepath.Join(t.TempDir(), "keys.json")
	w.must(envelope.CreateKeyFile(keyset))
	keys, err := envelope.OpenKeyFile(keyset)
	w.must(err)
	w.vault, err = vault.New(vault.Config{Secrets: w.store, KMS: keys, Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	w.given = directory.Provider{UID: "uid-idp", Name: "okta", Issuer: w.idp.url, ClientID: "c", Signals: &directory.Signals{Issuer: w.idp.url}}
	for _, f := range change {
		f(&w.given)
	}
	w.publish()
	w.r = w.another()
	return w
}

// another is an authserver on the same database.
func (w *world) another() *signals.Receiver {
	w.t.Helper()
	limiter, err := limit.New(limit.Config{Rates: map[string]limit.Rate{limit.SignalsFailure: {PerMinute: 1, Burst: 20}}})
	w.must(err)
	r, err := signals.New(signals.Config{
		Issuer: issuer, View: func() *directory.View { return w.view }, Directory: w.people, Await: w.people.await, Sessions: w.people, Secrets: w.vault,
		Store: w.store, Limiter: limiter, Egress: egress.Policy{AllowLoopback: true}, Meter: noop.NewMeterProvider(),
		Log: slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: func() time.Time { return w.clock() },
	})
	w.must(err)
	return r
}

func (w *world) publish() {
	p, quiet := w.given, directory.Provider{UID: "uid-quiet", Name: "quiet", Issuer: "https://quiet.example"}
	user := func(uid, name string, off bool, accounts ...string) *directory.User {
		u := &directory.User{User: compile.User{UID: uid, Name: name, Deactivated: off}}
		for _, a := range accounts {
			u.Identities = append(u.Identities, compile.Identity{Issuer: w.idp.url, Subject: a})
		}
		return u
	}
	w.view = directory.NewView(directory.Content{
		Users: []*directory.User{
			user("uid-ada", "ada@example.com", false, "sub-ada"), user("uid-bob", "bob@example.com", false, "sub-bob"), user("uid-eve", "eve@example.com", true, "sub-eve"),
		},
		Providers: []*directory.Provider{&p, &quiet},
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// push pushes a token.
func (w *world) push(provider, kind, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	mux := http.NewServeMux()
	mux.Handle("POST "+signals.Path, w.r)
	q := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, "/ssf/"+provider, strings.NewReader(body))
	q.Header.Set("Content-Type", kind)
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, q)
	if strings.Contains(w.log.String(), body) && len(body) > 20 {
		w.t.Error("the token is in the log")
	}
	return rec
}

// events returns the audit events, as "action result reason target".
func (w *world) events() []string {
	w.t.Helper()
	records, err := w.store.Audit(w.t.Context(), 0, 1000)
	w.must(err)
	var list []string
	for _, r := range records {
		e := r.Event
		if e.ActorType != "identity_provider" || e.Actor != "okta" {
			w.t.Errorf("the actor is %s %s", e.ActorType, e.Actor)
		}
		list = append(list, strings.Join([]string{e.Action, e.Result, e.Reason, e.Target}, " "))
	}
	return list
}

// people is what there is to be ended, and the control plane's part of it.
type people struct {
	mu    sync.Mutex // guards what follows
	owned []string   // uids of users whom the provider made or linked
	calls []string
	fails error // answers everything
	meets int   // how many changes meet another one
}

func (p *people) call(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails != nil {
		return p.fails
	}
	p.calls = append(p.calls, fmt.Sprintf(format, args...))
	return nil
}

func (p *people) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func (p *people) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fails = err
}

func (p *people) await(_ context.Context, revision uint64) error { return p.call("await %d", revision) }

func (p *people) ListUsers(_ context.Context, provider string, w directory.Wanted) ([]directory.Provisioned, int, error) {
	if provider != "okta" || !slices.Contains(p.owned, w.UID) {
		return nil, 0, p.fails
	}
	return []directory.Provisioned{{UID: w.UID, Etag: "e", UserName: "ada", Active: true}}, 1, p.fails
}

func (p *people) PutUser(_ context.Context, provider string, u directory.Provisioned) (directory.Provisioned, uint64, error) {
	if p.meets > 0 {
		p.meets--
		return directory.Provisioned{}, 0, fault.New(fault.Conflict, "ETAG_STALE", "It was changed.")
	}
	return u, 7, p.call("put %s %s active=%t signal=%t", provider, u.UID, u.Active, u.Signal)
}

func (p *people) LogOut(_ context.Context, user, provider, _ string, _ time.Time) error {
	return p.call("log out %s of %s", user, provider)
}

func (p *people) LogOutSession(_ context.Context, provider, session, _ string, _ time.Time) error {
	return p.call("end session %s of %s", session, provider)
}

func (p *people) RevokeUser(_ context.Context, user string) error { return p.call("revoke %s", user) }

// idp is an identity provider: its keys, and tokens that wait to be polled.
type idp struct {
	t   *testing.T
	url string
	key *ecdsa.PrivateKey

	mu      sync.Mutex // guards what follows
	away    bool
	waiting map[string]string // jti to token
	acked   []string
	errs    map[string]string // jti to err
	polls   int
	status  int // of a poll; 0: 200
}

func newIDP(t *testing.T) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{t: t, key: key, waiting: make(map[string]string), errs: make(map[string]string)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.reply(w, claims{"issuer": p.url, "jwks_uri": p.url + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.reply(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /poll", p.poll)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *idp) reply(w http.ResponseWriter, body any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// poll is RFC 8936, as strict as it may be.
func (p *idp) poll(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Max         int                                          `json:"maxEvents"`
		Immediately *bool                                        `json:"returnImmediately"`
		Acks        []string                                     `json:"ack"`
		Errs        map[string]struct{ Err, Description string } `json:"setErrs"`
	}
	if json.NewDecoder(r.Body).Decode(&m) != nil || m.Immediately == nil || m.Max < 1 || r.Header.Get("Content-Type") != "application/json" {
		p.t.Error("a poll request that is none")
	}
	p.mu.Lock()
	p.polls++
	status, sets := p.status, claims{}
	if r.Header.Get("Authorization") != "Bearer "+pollToken {
		status = http.StatusUnauthorized
	}
	if status == 0 {
		for _, id := range m.Acks {
			p.acked = append(p.acked, id)
			delete(p.waiting, id)
		}
		for id, e := range m.Errs {
			p.errs[id] = e.Err
			delete(p.waiting, id)
		}
		for id, raw := range p.waiting {
			if len(sets) < m.Max {
				sets[id] = raw
			}
		}
	}
	more := len(p.waiting) > len(sets)
	p.mu.Unlock()
	if status != 0 {
		w.WriteHeader(status)
		return
	}
	p.reply(w, claims{"sets": sets, "moreAvailable": more})
}

// with runs fn under the lock.
func (p *idp) with(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// set is a good token about Ada's session, changed.
func (p *idp) set(change func(c claims)) string { return p.sign("secevent+jwt", p.key, "k1", change) }

func (p *idp) claims(change func(c claims)) []byte {
	c := claims{
		"iss": p.url, "aud": []string{issuer, "https://other.example"}, "jti": rand.Text(), "iat": time.Now().Unix(), "txn": "t",
		"sub_id": claims{"format": "iss_sub", "iss": p.url, "sub": "sub-ada"},
		"events": claims{caep + "session-revoked": claims{"event_timestamp": time.Now().Unix()}},
	}
	if change != nil {
		change(c)
	}
	text, err := json.Marshal(c)
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p *idp) sign(typ string, key any, kid string, change func(c claims)) string {
	p.t.Helper()
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	algorithm := jose.ES256
	if _, secret := key.([]byte); secret {
		algorithm = jose.HS256
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, options)
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := s.Sign(p.claims(change))
	if err != nil {
		p.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return compact
}

// withPolling has the provider polled, with a token in the vault.
func withPolling(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	version, err := w.vault.Put(t.Context(), "uid-idp/signals", vault.Secret{ClientSecret: obs.Secret(pollToken)})
	w.must(err)
	w.given.Signals = &directory.Signals{Issuer: w.idp.url, PollEndpoint: w.idp.url + "/poll", PollTokenVersion: version}
	w.publish()
	return w
}
