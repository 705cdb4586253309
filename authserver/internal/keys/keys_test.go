// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	typ    = "at+jwt"
	retain = 16 * time.Minute
	day    = 24 * time.Hour
)

// bench is a store and a vault that several processes share.
type bench struct {
	t     *testing.T
	store *sqlstore.Store
	vault *vault.Vault
	at    atomic.Int64
	log   bytes.Buffer

	keyFile string
}

func newBench(t *testing.T, database string) *bench {
	t.Helper()
	b := &bench{t: t}
	b.at.Store(time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC).UnixNano())
	var err error
	b.store, err = sqlstore.Open(t.Context(), database)
	must(t, err)
	t.Cleanup(func() { _ = b.store.Close() })
	b.keyFile = filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(b.keyFile))
	kms, err := envelope.OpenKeyFile(b.keyFile)
	must(t, err)
	b.vault, err = vault.New(vault.Config{Secrets: b.store, KMS: kms, Log: b.logger(), Now: b.now})
	must(t, err)
	return b
}

func sqlite(t *testing.T) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "auth.db")
}

func (b *bench) now() time.Time          { return time.Unix(0, b.at.Load()).UTC() }
func (b *bench) advance(d time.Duration) { b.at.Add(int64(d)) }
func (b *bench) logger() *slog.Logger    { return slog.New(slog.NewJSONHandler(&b.log, nil)) }

// process returns keys as one more process has them.
func (b *bench) process() *keys.Keys {
	b.t.Helper()
	k, err := keys.New(keys.Config{Store: b.store, Vault: b.vault, Retain: retain, Log: b.logger(), Now: b.now})
	must(b.t, err)
	return k
}

func (b *bench) started() *keys.Keys {
	b.t.Helper()
	k := b.process()
	must(b.t, k.Start(b.t.Context()))
	return k
}

// states returns how many keys are in each state.
func (b *bench) states() map[store.SigningKeyState]int {
	b.t.Helper()
	list, err := b.store.SigningKeys(b.t.Context())
	must(b.t, err)
	n := make(map[store.SigningKeyState]int)
	for _, k := range list {
		n[k.State]++
	}
	return n
}

func (b *bench) expect(active, next, retired, revoked int) {
	b.t.Helper()
	n := b.states()
	if n[store.KeyActive] != active || n[store.KeyNext] != next || n[store.KeyRetired] != retired || n[store.KeyRevoked] != revoked {
		b.t.Fatalf("states are %v, want %d active, %d next, %d retired, %d revoked", n, active, next, retired, revoked)
	}
}

func sign(t *testing.T, k *keys.Keys) string {
	t.Helper()
	token, err := k.Sign(t.Context(), typ, map[string]any{"sub": "u1"})
	must(t, err)
	return token
}

// kids returns the published kids, in order.
func kids(t *testing.T, k *keys.Keys) []string {
	t.Helper()
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal(k.JWKS(), &set))
	var list []string
	for _, one := range set.Keys {
		list = append(list, one.KeyID)
	}
	return list
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
	must(t, err)
	return parsed.Signatures[0].Header.KeyID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// KM-1, KM-2: what the first start makes, and what is published of it.
func TestStart(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.process()
	if _, err := k.Sign(t.Context(), typ, 1); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("signing before the start: %v", err)
	}
	if err := k.Check(); fault.From(err).Reason != keys.ReasonNotReady {
		t.Errorf("ready before the start: %v", err)
	}
	w := httptest.NewRecorder()
	k.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("key set before the start: %d", w.Code)
	}
	must(t, k.Start(t.Context()))
	must(t, k.Check())
	b.expect(1, 1, 0, 0)
	must(t, k.Start(t.Context()))
	b.expect(1, 1, 0, 0)

	w = httptest.NewRecorder()
	k.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/auth/jwks", nil))
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "max-age=300", "Access-Control-Allow-Origin": "*"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	if !bytes.Equal(w.Body.Bytes(), k.JWKS()) {
		t.Error("the endpoint serves something else")
	}
	var set struct{ Keys []map[string]string }
	must(t, json.Unmarshal(w.Body.Bytes(), &set))
	if len(set.Keys) != 2 {
		t.Fatalf("key set is %s", w.Body)
	}
	for _, one := range set.Keys {
		for name := range one {
			if !slices.Contains([]string{"kty", "crv", "x", "y", "kid", "use", "alg"}, name) {
				t.Errorf("a key has the member %s", name)
			}
		}
		// RFC 7638 §3: the required members in order, without white space.
		sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + one["x"] + `","y":"` + one["y"] + `"}`))
		if one["kid"] != base64.RawURLEncoding.EncodeToString(sum[:]) || one["alg"] != "ES256" || one["use"] != "sig" {
			t.Errorf("key is %v", one)
		}
	}
	w = httptest.NewRecorder()
	k.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestNewRefuses(t *testing.T) {
	b := newBench(t, sqlite(t))
	for name, c := range map[string]keys.Config{
		"nothing":        {},
		"no retain":      {Store: b.store, Vault: b.vault, Log: b.logger()},
		"rotate by hour": {Store: b.store, Vault: b.vault, Log: b.logger(), Retain: retain, Rotate: time.Hour},
	} {
		if _, err := keys.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// What is no token of ours, whatever it says of itself.
func TestVerify(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	token := sign(t, k)
	payload, err := k.Verify(token, typ)
	must(t, err)
	if string(payload) != `{"sub":"u1"}` {
		t.Errorf("claims are %s", payload)
	}
	parts := strings.Split(token, ".")
	public := k.JWKS()
	foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	forge := func(key any, alg jose.SignatureAlgorithm, header map[jose.HeaderKey]any, embed bool) string {
		o := &jose.SignerOptions{EmbedJWK: embed, ExtraHeaders: header}
		s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o.WithType(typ))
		must(t, err)
		signed, err := s.Sign([]byte(`{"sub":"u1"}`))
		must(t, err)
		text, err := signed.CompactSerialize()
		must(t, err)
		return text
	}
	kid := kidOf(t, token)
	encode := base64.RawURLEncoding.EncodeToString
	none := encode([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+kid+`"}`)) + "." + parts[1] + "."
	for name, tc := range map[string]struct{ token, typ string }{
		"other typ":       {token, "JWT"},
		"empty":           {"", typ},
		"no signature":    {parts[0] + "." + parts[1] + ".", typ},
		"alg none":        {none, typ},
		"HS256":           {forge(public, jose.HS256, map[jose.HeaderKey]any{"kid": kid}, false), typ},
		"foreign key":     {forge(foreign, jose.ES256, map[jose.HeaderKey]any{"kid": kid}, false), typ},
		"embedded key":    {forge(foreign, jose.ES256, nil, true), typ},
		"no kid":          {forge(foreign, jose.ES256, nil, false), typ},
		"strange kid":     {forge(foreign, jose.ES256, map[jose.HeaderKey]any{"kid": "../../etc/passwd' OR 1=1"}, false), typ},
		"other claims":    {parts[0] + "." + encode([]byte(`{"sub":"u2"}`)) + "." + parts[2], typ},
		"JSON form":       {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, typ},
		"far too long":    {strings.Repeat("a", 1<<20), typ},
		"critical header": {forge(foreign, jose.ES256, map[jose.HeaderKey]any{"kid": kid, "crit": []string{"x"}}, false), typ},
	} {
		if _, err := k.Verify(tc.token, tc.typ); fault.From(err).Reason != keys.ReasonUnverified {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// SE-2, KM-5: the private key lies sealed, and in no other row.
func TestSealed(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	list, err := b.store.SigningKeys(t.Context())
	must(t, err)
	var active, next store.SigningKey
	for _, one := range list {
		if bytes.Contains(one.Public, []byte(`"d"`)) || len(one.Sealed) == 0 || one.KeyID == "" {
			t.Errorf("row is %+v", one)
		}
		if one.State == store.KeyActive {
			active = one
		} else {
			next = one
		}
	}
	must(t, b.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		if err := tx.DeleteSigningKey(ctx, active.ID); err != nil {
			return err
		}
		active.Sealed, active.KeyID = next.Sealed, next.KeyID
		return tx.CreateSigningKey(ctx, active)
	}))
	if err := b.process().Start(t.Context()); err == nil {
		t.Error("a process starts with a key of another row")
	}
	if !strings.Contains(b.log.String(), "signing key does not open") {
		t.Error("nobody is told")
	}
	// A running process keeps what it has.
	if _, err := k.Verify(sign(t, k), typ); err != nil {
		t.Error(err)
	}
}

// A private key that is sealed for the row, but is not that of its public key, signs nothing.
func TestSealedOfAnother(t *testing.T) {
	b := newBench(t, sqlite(t))
	k := b.started()
	list, err := b.store.SigningKeys(t.Context())
	must(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(other)
	must(t, err)
	for _, one := range list {
		if one.ID != kidOf(t, sign(t, k)) {
			continue
		}
		one.KeyID, one.Sealed, err = b.vault.SealRow(t.Context(), "signing_keys", one.ID, "sealed", der)
		must(t, err)
		must(t, b.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			return errors.Join(tx.DeleteSigningKey(ctx, one.ID), tx.CreateSigningKey(ctx, one))
		}))
	}
	if err := b.process().Start(t.Context()); err == nil {
		t.Error("a process starts with it")
	}
}
