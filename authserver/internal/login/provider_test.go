// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

const loginCookie = "__Host-penstock-login"

func TestProviderLogin(t *testing.T) {
	w := newWorld(t, nil)
	w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) { c["amr"] = []string{"pwd", "otp"} }})
	b := w.browser()
	at := b.away("req1")
	answer := b.get(b.visit(at))
	if answer.StatusCode != 303 || answer.Header.Get("Location") != "/api/auth/oauth2/consent?request=req1" {
		t.Fatalf("%d %s %s", answer.StatusCode, answer.Header.Get("Location"), answer.Body)
	}
	if len(w.idp.Mistakes) > 0 {
		t.Error(w.idp.Mistakes)
	}
	if got := w.idp.Seen.Get("scope"); got != "openid email profile" || w.idp.Seen.Has("prompt") {
		t.Errorf("asked for %q, prompt %q", got, w.idp.Seen.Get("prompt"))
	}
	secret := b.cookies[loginCookie]
	got, err := w.store.Login(t.Context(), sha256.Sum256([]byte(secret)))
	if err != nil {
		t.Fatal(err)
	}
	want := store.Login{
		Hash: sha256.Sum256([]byte(secret)), User: "alice-uid", Provider: "okta", AMR: []string{"pwd", "otp"},
		AuthTime: got.UseTime, UseTime: got.UseTime, ExpireTime: got.UseTime.Add(7 * 24 * time.Hour),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if ago := w.now().Sub(got.UseTime); ago < 0 || ago > time.Minute {
		t.Errorf("logged in %v ago", ago)
	}
	if b.current() != "alice-uid" {
		t.Errorf("logged in is %q", b.current())
	}
	if diff := cmp.Diff([]string{"login.ok ok  alice-uid okta"}, w.events()); diff != "" {
		t.Error(diff)
	}
	if n := len(w.plane.accounts()); n != 1 {
		t.Errorf("the control plane was asked %d times", n)
	}
	if len(b.cookies) != 2 { // the login, and the browser's
		t.Errorf("cookies are %v", b.cookies)
	}
	w.checkSecrecy(b)
}

// TestWithoutRequest: whoever came by herself goes to her account.
func TestWithoutRequest(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	if got := b.federate("").Header.Get("Location"); got != "/account" {
		t.Errorf("led to %q", got)
	}
	if got := b.get("/login").Header.Get("Location"); got != "/account" {
		t.Errorf("the login page leads somebody who is logged in to %q", got)
	}
	if answer := b.get("/login?request=req1"); answer.StatusCode != 200 {
		t.Errorf("the login page of a request: %d", answer.StatusCode)
	}
}

// TestRefusedLogins is AZ-10 and §16 row 25: each answer of the provider that cannot be accepted is a page 400, no login, and an
// audit event with its reason.
func TestRefusedLogins(t *testing.T) {
	claim := func(name string, value any) loginfake.Behavior {
		return loginfake.Behavior{Claims: func(c map[string]any) {
			if value == nil {
				delete(c, name)
				return
			}
			c[name] = value
		}}
	}
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for _, tc := range []struct {
		name     string
		behavior loginfake.Behavior
		status   int
		event    string
	}{
		{"wrong nonce", claim("nonce", "another"), 400, "login.failed refused nonce_mismatch"},
		{"no nonce", claim("nonce", nil), 400, "login.failed refused nonce_mismatch"},
		{"aud of another client", claim("aud", "another"), 400, "login.failed refused id_token_invalid"},
		{"no aud", claim("aud", nil), 400, "login.failed refused id_token_invalid"},
		{"several aud without azp", claim("aud", []string{clientID, "another"}), 400, "login.failed refused authorized_party"},
		{
			"several aud and azp of another client",
			loginfake.Behavior{Claims: func(c map[string]any) { c["aud"], c["azp"] = []string{clientID, "another"}, "another" }},
			400, "login.failed refused authorized_party",
		},
		{"azp of another client", claim("azp", "another"), 400, "login.failed refused authorized_party"},
		{"another issuer", claim("iss", "https://evil.example"), 400, "login.failed refused id_token_invalid"},
		{"expired", claim("exp", ago(time.Minute)), 400, "login.failed refused id_token_invalid"},
		{"no exp", claim("exp", nil), 400, "login.failed refused id_token_invalid"},
		{"made an hour ago", claim("iat", ago(time.Hour)), 400, "login.failed refused id_token_time"},
		{"made in five minutes", claim("iat", ago(-5*time.Minute)), 400, "login.failed refused id_token_time"},
		{"no iat", claim("iat", nil), 400, "login.failed refused id_token_time"},
		{"no sub", claim("sub", nil), 400, "login.failed refused subject_invalid"},
		{"endless sub", claim("sub", strings.Repeat("x", 256)), 400, "login.failed refused subject_invalid"},
		{"at_hash of another access token", claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), 400, "login.failed refused access_token_hash"},
		{"alg none", loginfake.Behavior{Sign: loginfake.Unsigned}, 400, "login.failed refused id_token_invalid"},
		{"HS256 with the public key", loginfake.Behavior{Sign: loginfake.HS256}, 400, "login.failed refused id_token_invalid"},
		{"key of a stranger", loginfake.Behavior{Sign: loginfake.Stranger}, 400, "login.failed refused id_token_invalid"},
		{"key in the header", loginfake.Behavior{Sign: loginfake.Embedded}, 400, "login.failed refused id_token_invalid"},
		{"no ID token", loginfake.Behavior{Tokens: func(m map[string]any) { delete(m, "id_token") }}, 400, "login.failed refused id_token_missing"},
		{
			"answer of another issuer", // RFC 9207, and not even announced
			loginfake.Behavior{Response: func(v url.Values) { v.Set("iss", "https://evil.example") }},
			400, "login.issuer_mismatch refused issuer_mismatch",
		},
		{
			"no iss though it is announced",
			loginfake.Behavior{NamesIssuer: true, Response: func(v url.Values) { v.Del("iss") }},
			400, "login.issuer_mismatch refused issuer_mismatch",
		},
		{"two codes", loginfake.Behavior{Response: func(v url.Values) { v.Add("code", "x") }}, 400, "login.failed refused response_invalid"},
		{"no code", loginfake.Behavior{Response: func(v url.Values) { v.Del("code") }}, 400, "login.failed refused response_invalid"},
		{"another code", loginfake.Behavior{Response: func(v url.Values) { v.Set("code", "x") }}, 400, "login.failed refused code_refused"},
		{
			"the person says no",
			loginfake.Behavior{Response: func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }},
			400, "login.failed refused provider_refused",
		},
		{
			"token endpoint in trouble",
			loginfake.Behavior{Token: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }},
			503, "login.failed refused provider_unreachable",
		},
		{
			"token endpoint answers 2 MiB",
			loginfake.Behavior{Token: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"id_token":"` + strings.Repeat("x", 2<<20) + `"}`))
			}},
			400, "login.failed refused code_refused",
		},
		{
			"token endpoint redirects",
			loginfake.Behavior{Token: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			}},
			400, "login.failed refused code_refused",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.idp.Set(tc.behavior)
			b := w.browser()
			answer := b.federate("req1")
			text := answer.Body
			if answer.StatusCode != tc.status || answer.Header.Get("Location") != "" || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
				t.Errorf("%d %v %s", answer.StatusCode, answer.Header, text)
			}
			if b.cookies[loginCookie] != "" || b.current() != "" {
				t.Error("somebody is logged in")
			}
			if diff := cmp.Diff([]string{tc.event + "  okta"}, w.events()); diff != "" {
				t.Error(diff)
			}
			w.checkSecrecy(b)
		})
	}
}

// TestAcceptedVariants: what looks unusual and is right.
func TestAcceptedVariants(t *testing.T) {
	for _, tc := range []struct {
		name     string
		behavior loginfake.Behavior
		change   func(w *world)
	}{
		{"several aud with our azp", loginfake.Behavior{Claims: func(c map[string]any) { c["aud"], c["azp"] = []string{"api", clientID}, clientID }}, nil},
		{"no at_hash", loginfake.Behavior{Claims: func(c map[string]any) { delete(c, "at_hash") }}, nil},
		{"iss announced and sent", loginfake.Behavior{NamesIssuer: true}, nil},
		{"clock 30 s ahead", loginfake.Behavior{Claims: func(c map[string]any) { c["iat"] = time.Now().Add(30 * time.Second).Unix() }}, nil},
		{"client_secret_post", loginfake.Behavior{}, func(w *world) { w.idp.Client.Method = "client_secret_post" }},
		{"public client", loginfake.Behavior{}, func(w *world) {
			w.idp.Client.Secret = ""
			w.plane.change(func(p *plane) { p.provider.SecretVersion = "" })
		}},
		{"required claim", loginfake.Behavior{Claims: func(c map[string]any) { c["tid"] = "t1" }}, func(w *world) {
			w.plane.change(func(p *plane) { p.provider.RequiredClaims = map[string]string{"tid": "t1", "email_verified": "true"} })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.idp.Set(tc.behavior)
			if tc.change != nil {
				tc.change(w)
			}
			b := w.browser()
			if answer := b.federate("req1"); answer.StatusCode != 303 || b.current() != "alice-uid" {
				t.Errorf("%d, %q is logged in; %v %v", answer.StatusCode, b.current(), w.events(), w.idp.Mistakes)
			}
		})
	}
}

func TestRequiredClaims(t *testing.T) {
	for name, value := range map[string]any{"another value": "t2", "missing": nil, "a list with it": []string{"t1"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.plane.change(func(p *plane) { p.provider.RequiredClaims = map[string]string{"tid": "t1"} })
			w.idp.Set(loginfake.Behavior{Claims: func(c map[string]any) {
				if value != nil {
					c["tid"] = value
				}
			}})
			b := w.browser()
			answer := b.federate("req1")
			if answer.StatusCode != 400 || w.lastEvent() != "login.failed refused required_claim_missing  okta" || b.current() != "" {
				t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
			}
		})
	}
}

func TestProviderWithoutItsSecret(t *testing.T) {
	w := newWorld(t, nil)
	w.plane.change(func(p *plane) { p.provider.SecretVersion = "v_gone" })
	b := w.browser()
	if answer := b.federate("req1"); answer.StatusCode != 500 || w.lastEvent() != "login.failed refused credential_missing  okta" {
		t.Errorf("%d %s", answer.StatusCode, w.lastEvent())
	}
}

func TestUnknownProvider(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser()
	if answer := b.post("/login/provider/entra", b.form("req1")); answer.StatusCode != 400 || w.lastEvent() != "login.failed refused provider_unknown  " {
		t.Errorf("%d %q", answer.StatusCode, w.lastEvent())
	}
	w.plane.change(func(p *plane) { p.provider.Disabled = true })
	if answer := b.post("/login/provider/okta", b.form("req1")); answer.StatusCode != 400 {
		t.Errorf("disabled: %d", answer.StatusCode)
	}
}

func TestUnreachableProvider(t *testing.T) {
	w := newWorld(t, nil)
	w.idp.Set(loginfake.Behavior{Discovery: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }})
	b := w.browser()
	answer := b.post("/login/provider/okta", b.form("req1"))
	if answer.StatusCode != 503 || w.lastEvent() != "login.failed refused provider_unreachable  okta" || len(b.cookies) != 1 {
		t.Errorf("%d %s %v", answer.StatusCode, w.lastEvent(), b.cookies)
	}
}
