// SPDX-License-Identifier: Apache-2.0

package oauthclient_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ask sends one token request to a server that answers as it is told.
func ask(t *testing.T, status int, body, tokenType string) (oauthclient.Tokens, error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") != "penstock" {
			t.Errorf("the request is %v", r.Form)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	now := time.Now()
	r := oauthclient.Requester{Egress: egress.Policy{AllowLoopback: true}, Now: func() time.Time { return now }}
	tokens, err := r.Token(t.Context(), oauthclient.TokenRequest{
		Endpoint: server.URL, Identity: oauthclient.Identity{ID: "penstock", Method: oauthclient.MethodNone},
		Form: url.Values{"grant_type": {"client_credentials"}}, TokenType: tokenType,
	})
	if !tokens.Expires.IsZero() {
		tokens.Expires = time.Time{}.Add(tokens.Expires.Sub(now))
	}
	return tokens, err
}

// RFC 6749 §5.1, RFC 8693 §2.2: everything that a token response can say.
func TestTokens(t *testing.T) {
	got, err := ask(t, 200, `{"access_token":"a","refresh_token":"r","id_token":"i","token_type":"n_a","expires_in":90.0,
		"issued_token_type":"urn:x","scope":"s"}`, oauthclient.TokenTypeNone)
	want := oauthclient.Tokens{Access: "a", Refresh: "r", ID: "i", IssuedType: "urn:x", Scope: "s", Expires: time.Time{}.Add(90 * time.Second)}
	if err != nil || got != want {
		t.Errorf("got %+v (%v)", got, err)
	}
	if got, err = ask(t, 200, `{"access_token":"a","token_type":"bearer"}`, ""); err != nil || got != (oauthclient.Tokens{Access: "a"}) {
		t.Errorf("got %+v (%v)", got, err)
	}
}

// What a token endpoint may not answer, and its errors, of which nothing but the code is told.
func TestTokenErrors(t *testing.T) {
	const pre, away = fault.Precondition, fault.Unavailable
	for _, tt := range []struct {
		name, body, tokenType string
		status                int
		kind                  fault.Kind
		reason                string
	}{
		{"no JSON", "canary", "", 200, pre, oauthclient.ReasonResponse},
		{"no bearer token", `{"access_token":"canary","token_type":"DPoP"}`, "", 200, pre, oauthclient.ReasonResponse},
		{"a bearer token where none may be", `{"access_token":"canary","token_type":"Bearer"}`, "N_A", 200, pre, oauthclient.ReasonResponse},
		{"no token", `{"token_type":"Bearer"}`, "", 200, pre, oauthclient.ReasonResponse},
		{"a token with a space", `{"access_token":"canary x","token_type":"Bearer"}`, "", 200, pre, oauthclient.ReasonResponse},
		{"a token of 16 KiB and one", `{"access_token":"` + strings.Repeat("x", 16<<10+1) + `","token_type":"Bearer"}`, "", 200, pre, oauthclient.ReasonResponse},
		{"a redirect", "", "", 302, fault.Bug, "unreadable"},
		{"an error", `{"error":"invalid_grant","error_description":"canary"}`, "", 400, fault.Bug, "invalid_grant"},
		{"an error with 200", `{"error":"invalid_scope","access_token":"canary","token_type":"Bearer"}`, "", 200, fault.Bug, "invalid_scope"},
		{"an error that nobody logs", `{"error":"canary 1"}`, "", 400, fault.Bug, "unreadable"},
		{"an error of 65 letters", `{"error":"` + strings.Repeat("x", 65) + `"}`, "", 400, fault.Bug, "unreadable"},
		{"trouble", `{"error":"temporarily_unavailable"}`, "", 400, away, oauthclient.ReasonUnreachable},
		{"trouble of its own", `{"error":"server_error"}`, "", 400, away, oauthclient.ReasonUnreachable},
		{"more trouble", `{"error":"invalid_grant"}`, "", 503, away, oauthclient.ReasonUnreachable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ask(t, tt.status, tt.body, tt.tokenType)
			if got != (oauthclient.Tokens{}) || err == nil || strings.Contains(err.Error(), "canary") {
				t.Fatalf("got %+v, %v", got, err)
			}
			reason := fault.From(err).Reason
			refusal, refused := errors.AsType[*oauthclient.Refusal](err)
			if refused {
				reason = refusal.Code
			}
			if fault.KindOf(err) != tt.kind || reason != tt.reason || refused != (tt.kind == fault.Bug) {
				t.Errorf("got %v, want %s %s", err, tt.kind, tt.reason)
			}
		})
	}
}

// Entra ID says with claims what the next login must bring; it is passed on, and in no error's text.
func TestClaimsChallenge(t *testing.T) {
	_, err := ask(t, 400, `{"error":"interaction_required","claims":"{\"access_token\":{}}"}`, "")
	refusal, ok := errors.AsType[*oauthclient.Refusal](err)
	if !ok || refusal.Claims != `{"access_token":{}}` || err.Error() != "error is interaction_required" {
		t.Errorf("got %v", err)
	}
	_, err = ask(t, 400, `{"error":"interaction_required","claims":"`+strings.Repeat("x", 8<<10+1)+`"}`, "")
	if refusal, ok = errors.AsType[*oauthclient.Refusal](err); !ok || refusal.Claims != "" {
		t.Errorf("got %v", err)
	}
}

// What the next login has to prove, in whichever form it is said (draft-ietf-oauth-identity-assertion-authz-grant, RFC 9470 §3).
func TestStepUp(t *testing.T) {
	for _, tt := range []struct {
		body string
		want oauthclient.Refusal
	}{
		{`{"error":"insufficient_user_authentication","acr_values":"urn:mfa urn:hw","max_age":300}`, oauthclient.Refusal{ACRValues: "urn:mfa urn:hw", MaxAge: 5 * time.Minute}},
		{`{"error":"insufficient_user_authentication","max_age":"300"}`, oauthclient.Refusal{MaxAge: 5 * time.Minute}},
		{`{"error":"insufficient_user_authentication","max_age":0}`, oauthclient.Refusal{MaxAge: time.Second}},
		{`{"error":"insufficient_user_authentication","max_age":-1}`, oauthclient.Refusal{}},
		{`{"error":"insufficient_user_authentication","max_age":"canary","acr_values":["urn:mfa"]}`, oauthclient.Refusal{}},
		{`{"error":"insufficient_user_authentication","suberror":"basic_action"}`, oauthclient.Refusal{Suberror: "basic_action"}},
		{`{"error":"insufficient_user_authentication","suberror":"Canary 1"}`, oauthclient.Refusal{Suberror: "unreadable"}},
	} {
		_, err := ask(t, 400, tt.body, "")
		tt.want.Code = "insufficient_user_authentication"
		if got, ok := errors.AsType[*oauthclient.Refusal](err); !ok || *got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.body, got, tt.want)
		}
	}
}
