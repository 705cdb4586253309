// SPDX-License-Identifier: Apache-2.0

package login_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func (w *world) backchannel(provider string, form url.Values) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, issuer+"/login/backchannel/"+provider, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	if rec.Header().Get("Cache-Control") != "no-store" {
		w.t.Errorf("%d may be kept", rec.Code)
	}
	return rec
}

// TestBackchannelLogout is SF-2: what is a logout token of a provider, and what is not.
func TestBackchannelLogout(t *testing.T) {
	type claims = map[string]any
	set := func(name string, value any) func(claims) { return func(c claims) { c[name] = value } }
	without := func(name string) func(claims) { return func(c claims) { delete(c, name) } }
	now := time.Now()
	for _, tt := range []struct {
		name   string
		typ    string
		change func(claims)
		sign   loginfake.Behavior
		want   string // "alice-uid okta", "nobody", or the reason of the refusal
	}{
		{"good", "logout+jwt", nil, loginfake.Behavior{}, "alice-uid okta"},
		{"good, full typ", "application/logout+jwt", nil, loginfake.Behavior{}, "alice-uid okta"},
		{"good, typ JWT", "JWT", nil, loginfake.Behavior{}, "alice-uid okta"},
		{"good, no typ", "", nil, loginfake.Behavior{}, "alice-uid okta"},
		{"good, without exp", "", without("exp"), loginfake.Behavior{}, "alice-uid okta"},
		{"good, with sid", "", set("sid", "s1"), loginfake.Behavior{}, "alice-uid okta"},
		{"good, several audiences", "", set("aud", []string{"x", clientID}), loginfake.Behavior{}, "alice-uid okta"},
		{"somebody unknown", "", set("sub", "sub-9"), loginfake.Behavior{}, "nobody"},
		{"typ of an access token", "at+jwt", nil, loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"another issuer", "", set("iss", "https://evil.example"), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"another client", "", set("aud", "other"), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"no audience", "", without("aud"), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"nonce: an ID token", "", set("nonce", "n"), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"no events: an ID token", "", without("events"), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"another event", "", set("events", claims{"https://x": claims{}}), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"event is no object", "", set("events", claims{"http://schemas.openid.net/event/backchannel-logout": true}), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"no jti", "", without("jti"), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"long jti", "", set("jti", strings.Repeat("x", 257)), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"jti is a number", "", set("jti", 7), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"no iat", "", without("iat"), loginfake.Behavior{}, "ID_TOKEN_TIME"},
		{"old", "", set("iat", now.Add(-11*time.Minute).Unix()), loginfake.Behavior{}, "ID_TOKEN_TIME"},
		{"ahead", "", set("iat", now.Add(2*time.Minute).Unix()), loginfake.Behavior{}, "ID_TOKEN_TIME"},
		{"expired", "", set("exp", now.Add(-2*time.Minute).Unix()), loginfake.Behavior{}, "ID_TOKEN_TIME"},
		{"no subject, but a session", "", func(c claims) { delete(c, "sub"); c["sid"] = "s1" }, loginfake.Behavior{}, "session s1 okta"},
		{"neither a subject nor a session", "", without("sub"), loginfake.Behavior{}, "SUBJECT_INVALID"},
		{"a session that is too long", "", func(c claims) { delete(c, "sub"); c["sid"] = strings.Repeat("s", 256) }, loginfake.Behavior{}, "SUBJECT_INVALID"},
		{"a session that is a number", "", func(c claims) { delete(c, "sub"); c["sid"] = 7 }, loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"a session that no database can hold", "", func(c claims) { delete(c, "sub"); c["sid"] = "a\x00b" }, loginfake.Behavior{}, "SUBJECT_INVALID"},
		{"too long", "", set("x", strings.Repeat("x", 20<<10)), loginfake.Behavior{}, "LOGOUT_TOKEN_INVALID"},
		{"unsigned", "", nil, loginfake.Behavior{Sign: loginfake.Unsigned}, "LOGOUT_TOKEN_INVALID"},
		{"HMAC with the public key", "", nil, loginfake.Behavior{Sign: loginfake.HS256}, "LOGOUT_TOKEN_INVALID"},
		{"another key", "", nil, loginfake.Behavior{Sign: loginfake.Stranger}, "LOGOUT_TOKEN_INVALID"},
		{"a key that it brings along", "", nil, loginfake.Behavior{Sign: loginfake.Embedded}, "LOGOUT_TOKEN_INVALID"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.idp.Set(tt.sign)
			token := w.idp.LogoutToken(tt.typ, tt.change)
			got := w.backchannel("okta", url.Values{"logout_token": {token}})
			switch {
			case strings.Contains(tt.want, " "):
				if got.Code != 200 || got.Body.Len() != 0 || len(w.loggedOut) != 1 || !strings.HasPrefix(w.loggedOut[0], tt.want+" ") {
					t.Errorf("%d %s, logged out %q", got.Code, got.Body, w.loggedOut)
				}
			case tt.want == "nobody":
				if got.Code != 200 || len(w.loggedOut) != 0 {
					t.Errorf("%d %s, logged out %q", got.Code, got.Body, w.loggedOut)
				}
			default:
				if got.Code != 400 || !strings.Contains(got.Body.String(), `"error":"invalid_request"`) || len(w.loggedOut) != 0 {
					t.Errorf("%d %s, logged out %q", got.Code, got.Body, w.loggedOut)
				}
				if event := w.lastEvent(); !strings.Contains(strings.ToUpper(event), tt.want) {
					t.Errorf("recorded %q", event)
				}
			}
			if strings.Contains(w.log.String(), token) {
				t.Error("the token is in the log")
			}
		})
	}
}

// TestBackchannelRequests: what is no request, and what cannot be done now.
func TestBackchannelRequests(t *testing.T) {
	w := newWorld(t, nil)
	token := w.idp.LogoutToken("", nil)
	for i, tt := range []struct {
		provider string
		form     url.Values
		want     int
	}{
		{"okta", nil, 400},
		{"okta", url.Values{"logout_token": {""}}, 400},
		{"okta", url.Values{"logout_token": {"a.b.c"}}, 400},
		{"okta", url.Values{"logout_token": {token, token}}, 400},
		{"nobody", url.Values{"logout_token": {token}}, 400},
	} {
		if got := w.backchannel(tt.provider, tt.form); got.Code != tt.want || len(w.loggedOut) != 0 {
			t.Errorf("%d: %d %s, logged out %q", i, got.Code, got.Body, w.loggedOut)
		}
	}
	w.logOut = fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "x")
	if got := w.backchannel("okta", url.Values{"logout_token": {token}}); got.Code != 503 || got.Header().Get("Retry-After") == "" && !strings.Contains(got.Body.String(), "temporarily_unavailable") {
		t.Errorf("the store is away: %d %s", got.Code, got.Body)
	}
	fresh := newWorld(t, nil)
	fresh.idp.Set(loginfake.Behavior{Discovery: func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) }})
	if got := fresh.backchannel("okta", url.Values{"logout_token": {fresh.idp.LogoutToken("", nil)}}); got.Code != 503 {
		t.Errorf("the provider is away: %d %s", got.Code, fmt.Sprint(got.Body))
	}
}
