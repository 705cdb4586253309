// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/authserver/internal/clients/assertion"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// ask authenticates a request with a form and, unless it is empty, an Authorization header.
func (k *kit) ask(authorization string, form url.Values) (*clients.Client, error) {
	r := httptest.NewRequestWithContext(k.ctx, http.MethodPost, endpoint, nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return k.Authenticate(k.ctx, r, form)
}

func basic(id, secret string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret)
	return r.Header.Get("Authorization")
}

// answer checks an error as it is written.
func answer(t *testing.T, err error, status int, code oauthfault.Code) *httptest.ResponseRecorder {
	t.Helper()
	var e *oauthfault.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want %s", err, code)
	}
	w := httptest.NewRecorder()
	oauthfault.Write(w, err)
	var body struct{ Error oauthfault.Code }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if w.Code != status || body.Error != code {
		t.Fatalf("got %d %s (%v), want %d %s", w.Code, body.Error, err, status, code)
	}
	return w
}

func TestAuthenticate(t *testing.T) {
	k := newKit(t)
	cimdID := k.web.URL("client.example", "/c.json")
	k.web.Serve(cimdID, document(cimdID, ""))
	k.register(t, store.Client{
		ID: "dcr_S", Metadata: []byte(`{"redirect_uris":["https://c.example/cb"],"token_endpoint_auth_method":"client_secret_post"}`),
		SecretHash: sha256.Sum256([]byte("psc_d")), CreateTime: k.clock(), ExpireTime: k.clock().Add(time.Hour),
	})
	form := func(pairs ...string) url.Values {
		v := url.Values{}
		for pair := range slices.Chunk(pairs, 2) {
			v.Add(pair[0], pair[1])
		}
		return v
	}
	for name, tc := range map[string]struct {
		header string
		form   url.Values
		id     string // of the client; empty for an error
		status int
		code   oauthfault.Code
		basic  bool
	}{
		"public":                    {"", form("client_id", "desktop"), "desktop", 0, "", false},
		"CIMD":                      {"", form("client_id", cimdID), cimdID, 0, "", false},
		"row 82, post":              {"", form("client_id", "desktop", "client_secret", "x"), "desktop", 0, "", false},
		"row 82, Basic":             {basic("desktop", "x"), nil, "desktop", 0, "", false},
		"CIMD in Basic":             {basic(url.QueryEscape(cimdID), ""), nil, cimdID, 0, "", false},
		"post":                      {"", form("client_id", "backend", "client_secret", "psc_new"), "backend", 0, "", false},
		"Basic":                     {basic("backend", "psc_new"), nil, "backend", 0, "", false},
		"the older secret":          {basic("backend", "psc_old"), nil, "backend", 0, "", false},
		"Basic and the same id":     {basic("backend", "psc_new"), form("client_id", "backend"), "backend", 0, "", false},
		"Basic, escaped":            {basic("%62ackend", "psc%5Fnew"), nil, "backend", 0, "", false},
		"registered itself":         {"", form("client_id", "dcr_S", "client_secret", "psc_d"), "dcr_S", 0, "", false},
		"another scheme":            {"Bearer x", form("client_id", "desktop"), "desktop", 0, "", false},
		"empty secret":              {"", form("client_id", "desktop", "client_secret", ""), "desktop", 0, "", false},
		"row 79":                    {"", form("client_id", "nobody"), "", 401, oauthfault.InvalidClient, false},
		"row 79, Basic":             {basic("nobody", "x"), nil, "", 401, oauthfault.InvalidClient, true},
		"REG-15":                    {"", form("client_id", "dcr_gone"), "", 401, oauthfault.InvalidClient, false},
		"row 80":                    {basic("backend", "wrong"), nil, "", 401, oauthfault.InvalidClient, true},
		"wrong secret, post":        {"", form("client_id", "backend", "client_secret", "wrong"), "", 401, oauthfault.InvalidClient, false},
		"no secret":                 {"", form("client_id", "backend"), "", 401, oauthfault.InvalidClient, false},
		"no secret, Basic":          {basic("backend", ""), nil, "", 401, oauthfault.InvalidClient, true},
		"no client_id":              {"", form(), "", 400, oauthfault.InvalidRequest, false},
		"client_id twice":           {"", form("client_id", "desktop", "client_id", "desktop"), "", 400, oauthfault.InvalidRequest, false},
		"Basic and post":            {basic("backend", "psc_new"), form("client_secret", "psc_new"), "", 400, oauthfault.InvalidRequest, false},
		"Basic and assertion":       {basic("backend", "psc_new"), form("client_assertion", "x"), "", 400, oauthfault.InvalidRequest, false},
		"post and assertion":        {"", form("client_id", "backend", "client_secret", "psc_new", "client_assertion", "x"), "", 400, oauthfault.InvalidRequest, false},
		"Basic and another id":      {basic("backend", "psc_new"), form("client_id", "desktop"), "", 400, oauthfault.InvalidRequest, false},
		"Basic is no base64":        {"Basic !", nil, "", 401, oauthfault.InvalidClient, true},
		"Basic is not escaped":      {basic("backend", "%zz"), nil, "", 401, oauthfault.InvalidClient, true},
		"assertion without type":    {"", form("client_assertion", "x"), "", 400, oauthfault.InvalidRequest, false},
		"type without assertion":    {"", form("client_id", "desktop", "client_assertion_type", assertion.Type), "", 400, oauthfault.InvalidRequest, false},
		"assertion that is no JWT":  {"", form("client_assertion", "x", "client_assertion_type", assertion.Type), "", 401, oauthfault.InvalidClient, false},
		"disabled, a refresh token": {"", form("client_id", "gone", "grant_type", "refresh_token"), "", 400, oauthfault.InvalidGrant, false},
		"disabled":                  {"", form("client_id", "gone"), "", 401, oauthfault.InvalidClient, false},
		"CIMD-17":                   {"", form("client_id", k.web.URL("client.example", "/other")), "", 401, oauthfault.InvalidClient, false},
		"CIMD that is no URL":       {"", form("client_id", "https://client.example/"), "", 401, oauthfault.InvalidClient, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := k.ask(tc.header, tc.form)
			if tc.id != "" {
				if err != nil || c.ID != tc.id {
					t.Fatalf("got %+v (%v)", c, err)
				}
				return
			}
			w := answer(t, err, tc.status, tc.code)
			if got := w.Header().Get("WWW-Authenticate"); strings.HasPrefix(got, `Basic realm="`) != tc.basic {
				t.Errorf("got challenge %q", got)
			}
		})
	}
	for _, secret := range []string{"psc_new", "psc_old", "wrong", "psc_d"} {
		if bytes.Contains(k.log.Bytes(), []byte(secret)) && secret != "wrong" {
			t.Errorf("the log has the secret %s", secret)
		}
	}
}

// RL-2: a pair of client and address is shut out after ten failures in a minute, and nobody else.
func TestFailuresAreLimited(t *testing.T) {
	k := newKit(t)
	for i := range 20 {
		_, err := k.ask(basic("backend", "wrong"), nil)
		if i < 10 {
			answer(t, err, 401, oauthfault.InvalidClient)
			continue
		}
		if w := answer(t, err, 429, oauthfault.SlowDown); w.Header().Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	_, err := k.ask(basic("backend", "psc_new"), nil)
	answer(t, err, 429, oauthfault.SlowDown)
	if _, err := k.ask(basic("robot", "psc_r"), nil); err != nil {
		t.Errorf("another client: %v", err)
	}
	here := k.ctx
	k.ctx = reqctx.With(k.ctx, reqctx.Info{IP: netip.MustParseAddr("192.0.2.8")})
	if _, err := k.ask(basic("backend", "psc_new"), nil); err != nil {
		t.Errorf("another address: %v", err)
	}
	k.ctx = here
	k.pass(time.Minute)
	for range 100 {
		if _, err := k.ask(basic("backend", "psc_new"), nil); err != nil {
			t.Fatalf("the right secret is counted: %v", err)
		}
	}
}
