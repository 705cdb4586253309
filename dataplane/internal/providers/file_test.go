// SPDX-License-Identifier: Apache-2.0

package providers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/providers"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/keyset"
)

// TestRestartWithoutProvider: keys that one process fetched count for the next one while the provider is away, for the same source and
// for a day (JW-7); a file that is no such file is as none.
func TestRestartWithoutProvider(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	}))
	path := filepath.Join(t.TempDir(), "providers.json")
	var log strings.Builder
	look := func(at time.Time, keysURL string) error {
		t.Helper()
		keys, err := providers.New(providers.Config{
			View: view.NewHolder(), Egress: egress.Policy{AllowLoopback: true}, Failed: func(context.Context, string) {}, File: path,
			Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return at },
		})
		if err != nil {
			t.Fatal(err)
		}
		found, err := keys.Key(t.Context(), &view.Provider{Name: "okta", Issuer: idp.URL, KeysURL: keysURL}, "k1", "ES256")
		if err == nil && found == nil {
			t.Error("the key is not there")
		}
		return err
	}
	now := time.Now()
	if err := look(now, idp.URL+"/keys"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file: %v, %v", info, err)
	}
	at := idp.URL + "/keys"
	idp.Close()
	for _, tt := range []struct {
		name   string
		at     time.Time
		keys   string
		counts bool
	}{
		{"at once", now, at, true},
		{"23 hours later", now.Add(23 * time.Hour), at, true},
		{"a day later", now.Add(24 * time.Hour), at, false},
		{"keys of another place", now, at + "2", false},
	} {
		if err := look(tt.at, tt.keys); (err == nil) != tt.counts || err != nil && fault.From(err).Reason != keyset.ReasonNotLoaded {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if log.Len() > 0 && strings.Contains(log.String(), "not read") {
		t.Errorf("log: %s", log.String())
	}
	for _, text := range []string{"", "{", "[]", "null", `{"a":7}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		if err := look(now, at); fault.From(err).Reason != keyset.ReasonNotLoaded || !strings.Contains(log.String(), "not read") {
			t.Errorf("%q: %v, log %s", text, err, log.String())
		}
	}
}
