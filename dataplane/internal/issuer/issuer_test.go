// SPDX-License-Identifier: Apache-2.0

package issuer_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/issuer"
)

const id = "https://auth.example.com"

// authserver answers with a document and counts how often.
type authserver struct {
	mu      sync.Mutex
	doc     issuer.Document
	err     error
	fetched int
	hold    chan struct{} // if set, answers wait for it
}

func (a *authserver) fetch(ctx context.Context) (issuer.Document, error) {
	a.mu.Lock()
	a.fetched++
	hold := a.hold
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.doc, a.err
}

func (a *authserver) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *authserver) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fetched
}

// newKey returns a signing key as a JWK, and its kid.
func newKey(t testing.TB) (jose.JSONWebKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := jose.JSONWebKey{Key: &key.PublicKey, Algorithm: "ES256", Use: "sig"}
	thumb, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	k.KeyID = base64.RawURLEncoding.EncodeToString(thumb)
	return k, k.KeyID
}

func document(t testing.TB, keys ...jose.JSONWebKey) issuer.Document {
	t.Helper()
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return issuer.Document{Issuer: id, Metadata: []byte(`{"issuer":"` + id + `", "x":1}`), JWKS: set}
}

func newKeeper(t testing.TB, a *authserver, file string) *issuer.Keeper {
	t.Helper()
	k, err := issuer.New(issuer.Config{Source: a.fetch, File: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// running runs a keeper until the test ends.
func running(t *testing.T, k *issuer.Keeper) {
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// AS-22, RS-10: documents are kept over a restart of the node while the authserver is down, byte for byte.
func TestLastKnownGood(t *testing.T) {
	file := filepath.Join(t.TempDir(), "issuer.json")
	key, kid := newKey(t)
	a := &authserver{doc: document(t, key)}
	synctest.Test(t, func(t *testing.T) {
		k := newKeeper(t, a, file)
		if k.Issuer() != "" || k.Metadata() != nil || k.Key(t.Context(), kid) == nil {
			t.Error("a new keeper knows something, or cannot ask")
		}
	})
	a.set(func() { a.err = errors.New("down") })
	k := newKeeper(t, a, file)
	fetched := a.count()
	if k.Issuer() != id || string(k.Metadata()) != string(a.doc.Metadata) || k.Key(t.Context(), kid) == nil {
		t.Error("the documents are gone")
	}
	if a.count() != fetched {
		t.Error("a known key was asked for")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file %v, %v", info.Mode(), err)
	}
	for name, text := range map[string]string{"no JSON": "x", "no document": "{}", "cut": `{"issuer":"https://auth.exam`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k := newKeeper(t, a, file); k.Issuer() != "" {
			t.Errorf("%s is used", name)
		}
	}
}

// Documents come anew every minute, at once after Refresh, and every 5 s as long as there are none.
func TestRefresh(t *testing.T) {
	key, kid := newKey(t)
	next, nextKid := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		a := &authserver{doc: document(t, key), err: errors.New("down")}
		k := newKeeper(t, a, "")
		running(t, k)
		synctest.Wait()
		a.set(func() { a.err = nil })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if k.Issuer() != id || a.count() != 2 {
			t.Fatalf("issuer %q after %d fetches", k.Issuer(), a.count())
		}
		a.set(func() { a.doc = document(t, key, next) })
		time.Sleep(time.Minute)
		synctest.Wait()
		fetched := a.count()
		if k.Key(t.Context(), nextKid) == nil || k.Key(t.Context(), kid) == nil || a.count() != fetched {
			t.Error("the next key is not known")
		}
		a.set(func() { a.doc = document(t, next) })
		k.Refresh()
		synctest.Wait()
		if a.count() != fetched+1 || k.Key(t.Context(), kid) != nil {
			t.Error("a key that is gone is known")
		}
	})
}

// Keys that nobody knows cost the authserver little (as JW-8), and one that it has is found.
func TestUnknownKeys(t *testing.T) {
	key, _ := newKey(t)
	next, nextKid := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		a := &authserver{doc: document(t, key)}
		k := newKeeper(t, a, "")
		started := time.Now()
		for i := range 1000 {
			if k.Key(t.Context(), fmt.Sprint("kid", i)) != nil {
				t.Error("a key that does not exist")
			}
			time.Sleep(60 * time.Millisecond)
		}
		if time.Since(started) != time.Minute || a.count() > 6 {
			t.Errorf("%d fetches in %s", a.count(), time.Since(started))
		}
		time.Sleep(time.Minute)
		fetched := a.count()
		k.Key(t.Context(), "the-same")
		time.Sleep(30 * time.Second)
		k.Key(t.Context(), "the-same")
		if a.count() != fetched+1 {
			t.Errorf("one kid was asked for %d times within a minute", a.count()-fetched)
		}
		time.Sleep(31 * time.Second)
		k.Key(t.Context(), "the-same")
		if a.count() != fetched+2 {
			t.Error("a kid is unknown for ever")
		}
		if k.Key(t.Context(), string(make([]byte, 65))) != nil || a.count() != fetched+2 {
			t.Error("a kid that is none was asked for")
		}
		time.Sleep(10 * time.Second)
		a.set(func() { a.doc = document(t, key, next) })
		if k.Key(t.Context(), nextKid) == nil {
			t.Error("a new key was not found")
		}
	})
}

// Calls wait for one fetch together, and for 3 s at most.
func TestOneFetchAtATime(t *testing.T) {
	key, kid := newKey(t)
	synctest.Test(t, func(t *testing.T) {
		a := &authserver{doc: document(t, key), hold: make(chan struct{})}
		k := newKeeper(t, a, "")
		var waiting sync.WaitGroup
		found := make(chan bool, 100)
		started := time.Now()
		for range 50 {
			waiting.Go(func() { found <- k.Key(t.Context(), kid) != nil })
		}
		time.Sleep(2 * time.Second)
		close(a.hold)
		waiting.Wait()
		for range 50 {
			if !<-found {
				t.Fatal("a waiting call does not have the key")
			}
		}
		if a.count() != 1 || time.Since(started) != 2*time.Second {
			t.Errorf("%d fetches in %s", a.count(), time.Since(started))
		}
		a.set(func() { a.hold = make(chan struct{}) })
		time.Sleep(10 * time.Second)
		before := time.Now()
		if k.Key(t.Context(), "other") != nil || time.Since(before) != 3*time.Second {
			t.Errorf("waited %s", time.Since(before))
		}
		close(a.hold)
		synctest.Wait()
	})
}

// What is no document of an authserver leaves the old one in place.
func TestBadDocuments(t *testing.T) {
	key, kid := newKey(t)
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	foreign := jose.JSONWebKey{Key: &private.PublicKey, KeyID: "rsa", Algorithm: "RS256", Use: "sig"}
	encrypting := key
	encrypting.Use = "enc"
	good := document(t, key)
	with := func(f func(*issuer.Document)) issuer.Document {
		d := good
		f(&d)
		return d
	}
	tests := map[string]issuer.Document{
		"none":         {},
		"no URL":       with(func(d *issuer.Document) { d.Issuer = "auth" }),
		"other issuer": with(func(d *issuer.Document) { d.Issuer = id + "/" }),
		"no metadata":  with(func(d *issuer.Document) { d.Metadata = []byte(`{`) }),
		"large metadata": with(func(d *issuer.Document) {
			d.Metadata = append(d.Metadata[:len(d.Metadata):len(d.Metadata)], make([]byte, 513<<10)...)
		}),
		"no keys":           with(func(d *issuer.Document) { d.JWKS = []byte(`{"keys":[]}`) }),
		"no key set":        with(func(d *issuer.Document) { d.JWKS = []byte(`[`) }),
		"RSA only":          document(t, foreign),
		"encryption only":   document(t, encrypting),
		"issuer in capital": with(func(d *issuer.Document) { d.Metadata = []byte(`{"Issuer":"` + id + `"}`) }),
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &authserver{doc: good}
				k := newKeeper(t, a, "")
				running(t, k)
				synctest.Wait()
				a.set(func() { a.doc = bad })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if k.Issuer() != id || string(k.Metadata()) != string(good.Metadata) || k.Key(t.Context(), kid) == nil {
					t.Error("the good document is gone")
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a := &authserver{doc: document(t, foreign, key)}
		k := newKeeper(t, a, "")
		if k.Key(t.Context(), "rsa") != nil || k.Key(t.Context(), kid) == nil {
			t.Error("a key of another kind counts, or hides ours")
		}
	})
}
