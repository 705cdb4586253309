// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/deploy/conformance/gateway"
)

const fakeLink = "/connect/0123456789abcdefghijkl"

// Person implements Protector.
func (f *fakeGateway) Person(context.Context) (gateway.Person, error) {
	return gateway.Person{Issuer: f.url, Email: "ada@penstock.test", Password: "correct"}, nil
}

// Protect implements Protector.
func (f *fakeGateway) Protect(ctx context.Context, s gateway.Protected) (gateway.Gateway, error) {
	f.note(fmt.Sprintf("protect by %s, shared %t, secret %q", s.Credential, s.Shared, s.Secrets["SECRET"]))
	return f.Publish(ctx, s.Server)
}

// Settle implements Protector.
func (f *fakeGateway) Settle(context.Context) error {
	f.note("settle")
	return nil
}

// page serves what a browser sees: a login, a form, a page that leads away, and the end.
func (f *fakeGateway) page(w http.ResponseWriter, r *http.Request) {
	f.note(r.Method + " " + r.URL.Path)
	_, err := r.Cookie("login")
	form := func(action, button string) string {
		return `<head><title>x</title></head><form method="post" action="` + action + `"><input name="csrf" value="a&amp;b">` + button + `</form>`
	}
	text := ""
	switch {
	case r.Method == http.MethodPost && r.PostFormValue("csrf") != "a&b":
		text = "no csrf"
	case r.URL.Path == "/login/password" && r.PostFormValue("password") == "correct":
		http.SetCookie(w, &http.Cookie{Name: "login", Value: "1", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}) //nolint:gosec // over plain http on this machine
		text = form(fakeLink, "Connect")
	case err != nil:
		text = form("/login/password", "Log in")
	case r.Method == http.MethodPost && f.pages == "not away":
		text = `<p>It cannot be <a class="button primary" href="` + fakeLink + `">connected</a></p>`
	case r.Method == http.MethodPost:
		text = `<a class="button primary" href="` + f.url + `/authorize?a=1&amp;b=2">go</a>`
	case r.URL.Path == "/authorize" && r.URL.RawQuery == "a=1&b=2" && f.pages == "not back":
		text = "<p>The answer is refused</p>"
	case r.URL.Path == "/authorize" && r.URL.RawQuery == "a=1&b=2":
		f.mu.Lock()
		f.connected++
		f.mu.Unlock()
		text = "Connected. Go back to your client and try again."
	default:
		text = form(fakeLink, "Connect")
	}
	_, _ = w.Write([]byte(text))
}

// TestAuthorized: the person follows links, as far as the scenario lets her; where it must not let her, that is what is good.
func TestAuthorized(t *testing.T) {
	for _, tt := range []struct {
		scenario, pages string
		asks            int // how often she is asked to connect
		want            string
		connects        int
	}{
		{"auth/metadata-default", "", 1, "", 1},
		{"auth/scope-step-up", "", 2, "", 2},
		{"auth/scope-step-up", "", 3, "once more", 2},
		{"auth/metadata-default", "not away", 1, "not connected: It cannot be connected", 0},
		{"auth/metadata-default", "not back", 1, "not connected: The answer is refused", 0},
		{"auth/iss-wrong-issuer", "not back", 1, "", 0},
		{"auth/resource-mismatch", "not away", 1, "", 0},
		{"auth/iss-wrong-issuer", "", 1, "the calls went through", 1},
		{"auth/scope-retry-limit", "", 3, "", 2},
		{"auth/client-credentials-basic", "", 0, "", 0},
	} {
		t.Run(tt.scenario+tt.pages, func(t *testing.T) {
			f := startFake(t)
			f.pages, f.asks = tt.pages, tt.asks
			t.Setenv(envContext, `{"client_id":"id","client_secret":"s3cret"}`)
			outcomes, err := runScenario(t, f, tt.scenario)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(fmt.Sprint(outcomes[tt.scenario]), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if f.connected != tt.connects {
				t.Errorf("connected %d times, want %d:\n%s", f.connected, tt.connects, f.noted())
			}
		})
	}
}

// How an administrator configures what the scenario has registered.
func TestProtected(t *testing.T) {
	hints := scenarioHints{ClientID: "id", ClientSecret: "s3cret", PrivateKey: "key"}
	for scenario, want := range map[string]string{
		"auth/metadata-default":         `{oauth: {}} false s3cret`,
		"auth/pre-registration":         `{oauth: {client_id: "id", client_secret: {from_env: SECRET}}} false s3cret`,
		"auth/client-credentials-basic": `{oauth_client_credentials: {client_id: "id", client_secret: {from_env: SECRET}}} true s3cret`,
		"auth/client-credentials-jwt":   `{oauth_client_credentials: {client_id: "id", client_secret: {from_env: SECRET}, authentication: PRIVATE_KEY_JWT}} true key`,
	} {
		p := protected(task{Scenario: scenario, Context: hints}, gateway.Server{})
		if got := fmt.Sprint(p.Credential, " ", p.Shared, " ", p.Secrets["SECRET"]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", scenario, got, want)
		}
	}
}
