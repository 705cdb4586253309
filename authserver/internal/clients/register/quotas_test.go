// SPDX-License-Identifier: Apache-2.0

package register_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/register"
	"github.com/penstockhq/penstock/authserver/internal/limit"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// REG-5: the secret is told once, and kept as a hash.
func TestConfidential(t *testing.T) {
	k := newKit(t, func(c *register.Config) { c.Confidential = true })
	text := body(`,"token_endpoint_auth_method":"client_secret_basic"`)
	a, b := k.post(t, text), k.post(t, text)
	secret, _ := a.body["client_secret"].(string)
	sha, ok := ident.ParseSecret("psc_", secret)
	if a.status != http.StatusCreated || !ok || a.body["client_secret_expires_at"] != float64(0) {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a.body["client_id"] == b.body["client_id"] || secret == b.body["client_secret"] {
		t.Error("two confidential clients are one")
	}
	row, err := k.store.Client(t.Context(), fmt.Sprint(a.body["client_id"]))
	if err != nil {
		t.Fatal(err)
	}
	if row.SecretHash != sha || bytes.Contains(row.Metadata, []byte(secret)) || strings.Contains(k.log.String(), secret) || row.Fingerprint != (store.Hash{}) {
		t.Errorf("got row %+v", row)
	}
	for _, uri := range []string{"http://localhost/cb", "https://localhost/cb", "https://127.0.0.1:8/cb", "https://[::1]/cb", "cursor://anysphere.cursor-mcp/oauth/callback"} {
		a := k.post(t, `{"token_endpoint_auth_method":"client_secret_post","redirect_uris":["https://c.example/cb","`+uri+`"]}`)
		if a.status != http.StatusBadRequest || a.body["error"] != "invalid_client_metadata" {
			t.Errorf("%s: %d %s", uri, a.status, a.text)
		}
	}
}

// REG-9: the same registration is the same client, as long as it lives.
func TestDedupe(t *testing.T) {
	k := newKit(t)
	first := k.post(t, `{"client_name":"A","redirect_uris":["https://c.example/a","https://c.example/b"]}`)
	k.pass(time.Hour)
	again := k.post(t, `{"redirect_uris":["https://c.example/b","https://c.example/a"],"client_name":"A","token_endpoint_auth_method":"none","logo_uri":"https://c.example/l"}`)
	if again.status != http.StatusCreated || again.body["client_id"] != first.body["client_id"] || again.body["client_id_issued_at"] != first.body["client_id_issued_at"] {
		t.Errorf("got %s and %s", first.text, again.text)
	}
	for _, text := range []string{
		`{"client_name":"B","redirect_uris":["https://c.example/a","https://c.example/b"]}`, `{"client_name":"A","redirect_uris":["https://c.example/a"]}`,
		`{"client_name":"A","redirect_uris":["https://c.example/a","https://c.example/b"],"software_id":"s"}`,
	} {
		if other := k.post(t, text); other.body["client_id"] == first.body["client_id"] {
			t.Errorf("%s is the same client", text)
		}
	}
	row, err := k.store.Client(t.Context(), fmt.Sprint(first.body["client_id"]))
	if err != nil || !row.ExpireTime.Equal(k.clock().Add(30*day)) {
		t.Errorf("it ends at %s (%v)", row.ExpireTime, err)
	}
	if got := k.events(t); !slices.Equal(got[:2], []string{"client.registered", "client.registered KNOWN"}) {
		t.Errorf("got events %q", got)
	}
	k.pass(31 * day)
	if late := k.post(t, `{"client_name":"A","redirect_uris":["https://c.example/a","https://c.example/b"]}`); late.body["client_id"] == first.body["client_id"] {
		t.Error("a client that is over came back")
	}
}

// auth.md §16, DCR 55, and the cap on unused clients.
func TestQuotas(t *testing.T) {
	k := newKit(t)
	for i := range 21 {
		a := k.post(t, uris("https://c.example/"+strconv.Itoa(i)))
		if want := map[bool]int{true: 201, false: 429}[i < 20]; a.status != want {
			t.Fatalf("registration %d: %d %s", i+1, a.status, a.text)
		}
		if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if n := len(k.events(t)); n != 20 {
		t.Errorf("%d events, want those of 20 registrations", n)
	}
	if !strings.Contains(k.log.String(), "client registration refused") {
		t.Error("the refusal is not logged")
	}

	k = newKit(t, func(c *register.Config) { c.MaxUnused = 2; c.UnusedTTL = day })
	a := k.post(t, uris("https://c.example/1"))
	k.post(t, uris("https://c.example/2"))
	full := k.post(t, uris("https://c.example/3"))
	if full.status != http.StatusTooManyRequests || full.header.Get("Retry-After") != "600" {
		t.Errorf("over the cap: %d %s", full.status, full.text)
	}
	if n, err := k.store.UnusedClients(t.Context()); n != 2 || err != nil {
		t.Errorf("%d unused clients (%v)", n, err)
	}
	if known := k.post(t, uris("https://c.example/1")); known.status != http.StatusCreated {
		t.Errorf("a known client is refused: %s", known.text)
	}
	id := fmt.Sprint(a.body["client_id"])
	row, err := k.store.Client(t.Context(), id)
	if err != nil || !row.ExpireTime.Equal(k.clock().Add(day)) {
		t.Errorf("an unused client ends at %s (%v)", row.ExpireTime, err)
	}
	if err := k.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		return tx.TouchClient(ctx, id, k.clock(), k.clock().Add(30*day))
	}); err != nil {
		t.Fatal(err)
	}
	if again := k.post(t, uris("https://c.example/3")); again.status != http.StatusCreated {
		t.Errorf("with one client in use: %s", again.text)
	}
}

func TestModes(t *testing.T) {
	off := newKit(t, func(c *register.Config) { c.Mode = register.Off })
	if a := off.post(t, body("")); a.status != http.StatusNotFound || a.body["error"] == nil {
		t.Errorf("off: %d %s", a.status, a.text)
	}

	k := newKit(t, func(c *register.Config) {
		c.Mode, c.InitialTokens = register.InitialToken, [][32]byte{sha256.Sum256([]byte("psi_1")), sha256.Sum256([]byte("psi_2"))}
	})
	for header, want := range map[string]int{
		"Bearer psi_1": 201, "bearer psi_2": 201, "": 401, "Bearer": 401, "Bearer psi_3": 401, "Basic psi_1": 401, "psi_1": 401,
	} {
		a := k.post(t, body(""), "Authorization", header)
		if a.status != want {
			t.Errorf("%q: %d %s", header, a.status, a.text)
		}
		if want == 401 && (a.body["error"] != "invalid_token" || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ")) {
			t.Errorf("%q: %s, challenge %q", header, a.text, a.header.Get("WWW-Authenticate"))
		}
	}

	k = newKit(t, func(c *register.Config) {
		c.Mode, c.Hosts = register.AllowListed, []string{"chat.corp.example", "dev.example:8443"}
	})
	for uri, want := range map[string]int{
		"https://chat.corp.example/x": 201, "https://CHAT.corp.example:443/x": 201, "https://dev.example:8443/": 201, "http://localhost/cb": 201, "https://localhost/cb": 201,
		"https://claude.ai/api/mcp/auth_callback": 201, "https://chatgpt.com/connector/oauth/abc": 201, "cursor://anysphere.cursor-mcp/oauth/callback": 201,
		"https://dev.example/": 400, "https://evil.chat.corp.example/x": 400, "https://chat.corp.example.evil/x": 400, "https://claude.ai/other": 400,
		"https://claude.ai/api/mcp/auth_callback?x=1": 400, "https://chatgpt.com/connector/oauth/a/b": 400, "https://c.example/cb": 400, "https://claude.ai.evil.example/api/mcp/auth_callback": 400,
	} {
		k.pass(time.Minute)
		if a := k.post(t, uris(uri)); a.status != want {
			t.Errorf("%s: %d %s", uri, a.status, a.text)
		}
	}
}

func TestOtherMethods(t *testing.T) {
	k := newKit(t)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead} {
		w := httptest.NewRecorder()
		k.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/api/auth/oauth2/register", nil))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
			t.Errorf("%s: %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

func TestStoreAway(t *testing.T) {
	k := newKit(t)
	if err := k.store.Close(); err != nil {
		t.Fatal(err)
	}
	if a := k.post(t, body("")); a.status < 500 || strings.Contains(a.text, "sql") {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestConfigIsChecked(t *testing.T) {
	k := newKit(t)
	good := register.Config{
		Store: k.store, Limiter: &limit.Limiter{}, Mode: register.Open, Scopes: func() []string { return nil }, TTL: day, MaxUnused: 1, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
	if _, err := register.New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*register.Config){
		"no store": func(c *register.Config) { c.Store = nil }, "mode": func(c *register.Config) { c.Mode = "ajar" }, "no tokens": func(c *register.Config) { c.Mode = register.InitialToken },
		"no life": func(c *register.Config) { c.TTL = 0 }, "no room": func(c *register.Config) { c.MaxUnused = 0 },
	} {
		c := good
		change(&c)
		if _, err := register.New(c); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
