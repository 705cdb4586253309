// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/account"
	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of tests

const (
	issuer = "https://auth.example.com"
	secret = "the secret of a login"
)

// house is a person's page on a real store. It takes access back by removing consents and revoking grants there.
type house struct {
	t     *testing.T
	store store.OAuth
	view  *directory.View
	err   error // of whoever asks for the login
	now   time.Time
	mux   *http.ServeMux
}

func newHouse(t *testing.T) *house {
	t.Helper()
	st, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "auth.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{t: t, store: st, now: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), mux: http.NewServeMux()}
	h.view = directory.NewView(directory.Content{
		Users: []*directory.User{
			{User: compile.User{UID: "u1", Name: "ada@example.com"}, DisplayName: "Ada Lovelace"},
			{User: compile.User{UID: "u2", Name: "bob@example.com"}},
			{User: compile.User{UID: "u3", Name: "eve@example.com", Deactivated: true}},
		},
		Gateways: []*directory.Gateway{{UID: "gw-a", Name: "eng", DisplayName: "Engineering"}},
	})
	a, err := account.New(account.Config{
		Issuer: issuer, Store: st, View: func() *directory.View { return h.view }, Logins: h, Revoker: h, Now: func() time.Time { return h.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.mux.HandleFunc("GET /{$}", a.Home)
	h.mux.HandleFunc("GET "+account.Path, a.Page)
	h.mux.HandleFunc("POST "+account.RevokePath, a.Revoke)
	return h
}

// Current implements account.Logins: the cookie is a user's uid and a secret.
func (h *house) Current(r *http.Request) (*store.Login, error) {
	user, _, ok := strings.Cut(pages.CookieValue(r, issuer, pages.LoginCookie), "/")
	if h.err != nil || !ok {
		return nil, h.err
	}
	return &store.Login{User: user, Hash: sha256.Sum256([]byte(user + secret))}, nil
}

// RevokeConsent implements account.Revoker.
func (h *house) RevokeConsent(ctx context.Context, user, client, gateway string) error {
	return h.store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		all, err := tx.Grants(ctx, user, h.now)
		if err != nil {
			return err
		}
		for _, g := range all {
			if g.Client == client && g.Gateway == gateway {
				if _, err := tx.RevokeGrant(ctx, g.ID, h.now); err != nil {
					return err
				}
			}
		}
		return tx.DeleteConsents(ctx, user, client, gateway)
	})
}

func (h *house) put(consents []store.Consent, grants []store.Grant) {
	h.t.Helper()
	err := h.store.Update(h.t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		for _, c := range consents {
			if err := tx.PutConsent(ctx, c); err != nil {
				return err
			}
		}
		for _, g := range grants {
			if err := tx.PutGrant(ctx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) do(user, target string, form url.Values) *httptest.ResponseRecorder {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if form != nil {
		r = httptest.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if user != "" {
		r.Header.Set("Cookie", "__Host-penstock-login="+user+"/secret")
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	for name, value := range map[string]string{"X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
		if got := w.Header().Get(name); got != value {
			h.t.Errorf("%s: %s is %q", target, name, got)
		}
	}
	return w
}

func (h *house) fill() {
	day := 24 * time.Hour
	claude := "https://claude.ai/oauth/claude-code-client-metadata"
	h.put([]store.Consent{
		{User: "u1", Client: claude, RedirectHost: "http://localhost", Gateway: "gw-a", Scopes: []string{"mcp"}, ClientName: "Claude", CreateTime: h.now.Add(-9 * day), UpdateTime: h.now},
		{User: "u1", Client: claude, RedirectHost: "http://127.0.0.1", Gateway: "gw-a", Scopes: []string{"mcp", "mcp:write"}, ClientName: "Claude Code", CreateTime: h.now.Add(-day), UpdateTime: h.now},
		{User: "u1", Client: "dcr_A", RedirectHost: "https://c.example", Gateway: "gw-gone", Scopes: []string{"mcp"}, ClientName: "<b>Open</b>", CreateTime: h.now.Add(-40 * day), UpdateTime: h.now},
		{User: "u2", Client: "dcr_B", RedirectHost: "https://c.example", Gateway: "gw-a", Scopes: []string{"mcp"}, ClientName: "Of another", CreateTime: h.now, UpdateTime: h.now},
	}, []store.Grant{
		{ID: "g1", User: "u1", Client: claude, RedirectHost: "http://localhost", Gateway: "gw-a", Resource: "r", Scopes: []string{"mcp"}, CreateTime: h.now.Add(-9 * day), UseTime: h.now.Add(-3 * day), ExpireTime: h.now.Add(day)},
		{ID: "g2", User: "u1", Client: claude, RedirectHost: "http://localhost", Gateway: "gw-a", Resource: "r", Scopes: []string{"mcp"}, CreateTime: h.now.Add(-8 * day), UseTime: h.now.Add(-2 * day), ExpireTime: h.now.Add(day)},
		{ID: "g3", User: "u1", Client: "acme", RedirectHost: "cursor:x", Gateway: "gw-a", Resource: "r", Scopes: []string{"mcp"}, CreateTime: h.now.Add(-50 * day), ExpireTime: h.now.Add(day)},
		{ID: "g4", User: "u1", Client: "over", RedirectHost: "cursor:x", Gateway: "gw-a", Resource: "r", Scopes: []string{"mcp"}, CreateTime: h.now.Add(-50 * day), ExpireTime: h.now.Add(-day)},
	})
}

func TestPage(t *testing.T) {
	h := newHouse(t)
	h.fill()
	got := h.do("u1", account.Path, nil)
	if got.Code != http.StatusOK {
		t.Fatalf("got %d", got.Code)
	}
	// The tokens are no secret here, but they say nothing in a golden file.
	body := regexp.MustCompile(`name="csrf" value="[\w-]{43}"`).ReplaceAllString(got.Body.String(), `name="csrf" value="token"`)
	file := filepath.Join("testdata", "account.html")
	if *update {
		if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), body); d != "" {
		t.Errorf("the page differs from its golden file (-want +got):\n%s", d)
	}
}

func TestWhoGetsIn(t *testing.T) {
	h := newHouse(t)
	if w := h.do("", "/", nil); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/account" {
		t.Errorf("/ answers %d %v", w.Code, w.Header())
	}
	for _, target := range []string{account.Path, account.RevokePath} {
		var form url.Values
		if target == account.RevokePath {
			form = url.Values{"client": {"x"}}
		}
		if w := h.do("", target, form); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login" {
			t.Errorf("%s: nobody logged in gets %d %v", target, w.Code, w.Header())
		}
		if w := h.do("u3", target, form); w.Code != http.StatusForbidden {
			t.Errorf("%s: a deactivated user gets %d", target, w.Code)
		}
	}
	if w := h.do("u2", account.Path, nil); !strings.Contains(w.Body.String(), "No app has access") || !strings.Contains(w.Body.String(), "bob@example.com") {
		t.Errorf("a person without apps sees\n%s", w.Body)
	}
	h.err = fault.New(fault.Unavailable, "STORE_AWAY", "Away.")
	if w := h.do("u1", account.Path, nil); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("without a store: %d", w.Code)
	}
	h.err = errors.New("a defect that names ada@example.com")
	if w := h.do("u1", account.Path, nil); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "defect") {
		t.Errorf("a defect: %d\n%s", w.Code, w.Body)
	}
	h.err, h.view = nil, nil
	if w := h.do("u1", account.Path, nil); w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a directory: %d", w.Code)
	}
}

// forms returns the forms of the page, by client.
func forms(body string) map[string]url.Values {
	list := make(map[string]url.Values)
	for _, f := range strings.Split(body, "</form>") {
		v := url.Values{}
		for _, field := range regexp.MustCompile(`name="(\w+)" value="([^"]*)"`).FindAllStringSubmatch(f, -1) {
			v.Set(field[1], field[2])
		}
		if v.Has("csrf") {
			list[v.Get("client")] = v
		}
	}
	return list
}

func TestRevoke(t *testing.T) {
	h := newHouse(t)
	h.fill()
	all := forms(h.do("u1", account.Path, nil).Body.String())
	good, of := all["dcr_A"], all["acme"]
	for name, form := range map[string]url.Values{
		"no token":               {"client": {"dcr_A"}, "gateway": {"gw-gone"}},
		"token of another app":   {"client": {"dcr_A"}, "gateway": {"gw-gone"}, "csrf": {of.Get("csrf")}},
		"token of the log-out":   {"client": {"dcr_A"}, "gateway": {"gw-gone"}, "csrf": {all[""].Get("csrf")}},
		"token, another gateway": {"client": {"dcr_A"}, "gateway": {"gw-a"}, "csrf": {good.Get("csrf")}},
	} {
		if w := h.do("u1", account.RevokePath, form); w.Code != http.StatusForbidden {
			t.Errorf("%s: got %d", name, w.Code)
		}
	}
	if w := h.do("u2", account.RevokePath, good); w.Code != http.StatusForbidden {
		t.Errorf("another person's form: got %d", w.Code)
	}
	w := h.do("u1", account.RevokePath, good)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/account?removed=1" {
		t.Fatalf("got %d %v", w.Code, w.Header())
	}
	body := h.do("u1", "/account?removed=1", nil).Body.String()
	if strings.Contains(body, "dcr_A") || !strings.Contains(body, `role="status"`) || !strings.Contains(body, "Claude Code") {
		t.Errorf("after the removal the page is\n%s", body)
	}
	if !pages.ValidCSRF(all[""].Get("csrf"), "u1/secret", account.LogoutAbout) {
		t.Error("the token of the log-out form is not the one that is agreed on")
	}
	large := url.Values{"pad": {strings.Repeat("x", 16<<10)}}
	if w := h.do("u1", account.RevokePath, large); w.Code != http.StatusBadRequest {
		t.Errorf("a form of 16 KiB answers %d", w.Code)
	}
}
