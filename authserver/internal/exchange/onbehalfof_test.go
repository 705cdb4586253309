// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// newTenant is a world whose provider is a tenant of Entra ID. Ada has logged in, for a token of Penstock's app.
func newTenant(t *testing.T) (*world, *entra) {
	t.Helper()
	w, e := newWorldWith(t, &provider{secret: "canary-of-no-provider"}), newEntra(t) // zitadel has no part in it
	e.now = w.now
	w.provider = directory.Provider{
		UID: "p1", Name: "example", Issuer: e.issuer, ClientID: entraApp, Kept: &directory.Kept{}, SecretVersion: w.put("p1", entraSecret),
	}
	w.server.Exchange = &directory.Exchange{
		Provider: "example", Grant: directory.GrantOnBehalfOf, Subject: directory.SubjectAccessToken, Scopes: []string{entraScope},
	}
	w.publish()
	w.logins.renew = func(refresh string) (tokens, error) {
		var got tokens
		res, err := http.PostForm(e.url+"/tenant/oauth2/v2.0/token", url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {refresh}, "client_id": {entraApp}, "client_secret": {entraSecret}, "scope": {"api://" + entraApp + "/.default"},
		})
		if err != nil {
			return got, err
		}
		defer func() { _ = res.Body.Close() }()
		return got, json.NewDecoder(res.Body).Decode(&got)
	}
	w.logins.put("uid-ada", tokens{Access: e.access("ada", nil), ID: "canary-entra-id-token", Refresh: "canary-entra-refresh-1"})
	return w, e
}

// UP-7: the form of Microsoft's documents, and the token that comes of it, for as long as both tokens live.
func TestOnBehalfOf(t *testing.T) {
	w, e := newTenant(t)
	header, until, err := w.resolve("ada", false)
	w.must(err)
	if left := until.Sub(w.now()); header != "Bearer entra-for-ada" || left > 3209*time.Second || left < 3190*time.Second {
		t.Errorf("got %q for %s", header, left)
	}
	if again, _, err := w.resolve("ada", false); err != nil || again != header {
		t.Error(err)
	}
	if requests, _ := e.counts(); requests != 1 {
		t.Errorf("%d requests", requests)
	}
	for _, aud := range []string{entraApp, "api://" + entraApp} {
		if _, _, err := w.resolveWith("ada", e.access("ada", map[string]any{"aud": aud}), false); err != nil {
			t.Errorf("audience %s: %v", aud, err)
		}
	}
	e.check()
	w.checkSecrecy(entraSecret, "canary-description", "entra-for-ada")
}

// Whatever Entra ID documents to refuse is not sent there; both ways that a token comes.
func TestOnBehalfOfSubjects(t *testing.T) {
	const app = "Penstock's app (" + entraApp + " or api://" + entraApp + "): have logins ask for a scope of that app (token_exchange.scopes of the provider)."
	for _, tt := range []struct {
		name    string
		changes map[string]any
		what    string
	}{
		{"for Graph", map[string]any{"aud": "https://graph.microsoft.com"}, "is for another audience than " + app},
		{"for a longer name", map[string]any{"aud": "api://" + entraApp + "/x"}, "is for another audience than " + app},
		{"for two audiences", map[string]any{"aud": []string{entraApp, "x"}}, "is for another audience than " + app},
		{"for nobody", map[string]any{"aud": nil}, "is for another audience than " + app},
		{"ID token", map[string]any{"aud": entraApp, "scp": nil, "nonce": "n"}, "has no scp: it is an ID token, or an app's own, and on-behalf-of takes access tokens of people only."},
		{"app-only, by its roles", map[string]any{"scp": nil, "roles": []string{"x"}}, "has no scp: it is an ID token, or an app's own, and on-behalf-of takes access tokens of people only."},
		{"app-only, by idtyp", map[string]any{"idtyp": "app"}, "is an app's own (idtyp), and on-behalf-of takes those of people only."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, e := newTenant(t)
			text := `The caller's token of the identity provider "example" ` + tt.what
			_, _, err := w.resolveWith("ada", e.access("ada", tt.changes), false)
			w.refusedWith(err, fault.Precondition, exchange.ReasonSubject, text)
			w.logins.put("uid-ada", tokens{Access: e.access("ada", tt.changes), Refresh: "canary-entra-refresh-1"})
			_, _, err = w.resolve("ada", false)
			w.refusedWith(err, fault.Precondition, exchange.ReasonSubject, text)
			if requests, _ := e.counts(); requests != 0 {
				t.Errorf("%d requests", requests)
			}
			w.checkSecrecy()
		})
	}
}

// Entra ID's refusals: who mends them, and how often it is asked.
func TestOnBehalfOfRefusals(t *testing.T) {
	const pre = fault.Precondition
	for _, tt := range []struct {
		name         string
		change       func(w *world, e *entra)
		kind         fault.Kind
		reason, text string
		requests     int // without renewals
		renewals     int
	}{
		{
			"no secret (public client)", func(w *world, _ *entra) { w.provider.SecretVersion = "" }, pre, oauthclient.ReasonClient,
			`The identity provider "example" does not let Penstock's client exchange tokens: check client_id and client_secret of the provider, and what the client may do there.`, 1, 0,
		},
		{
			"wrong secret", func(w *world, _ *entra) { w.provider.SecretVersion = w.put("p1", "wrong") }, pre, oauthclient.ReasonClient,
			`The identity provider "example" does not let Penstock's client exchange tokens: check client_id and client_secret of the provider, and what the client may do there.`, 1, 0,
		},
		{
			"nobody consented (AADSTS65001)", func(_ *world, e *entra) { e.unconsent = true }, pre, exchange.ReasonRefused,
			`The identity provider "example" does not allow Penstock to act for this person at "crm": an administrator has to allow or consent to it there.`, 1, 0,
		},
		{
			"no such scope (AADSTS70011)", func(w *world, _ *entra) { w.server.Exchange.Scopes = []string{"api://x/.default"} }, pre, exchange.ReasonTarget,
			`The identity provider "example" gives no token for the server "crm": check audience, scopes and no_resource of token_exchange.`, 1, 0,
		},
		{
			"no scope (AADSTS900144)", func(w *world, _ *entra) { w.server.Exchange.Scopes = nil }, pre, oauthclient.ReasonResponse,
			`The identity provider "example" refuses the exchange for "crm" (invalid_request): check token_exchange.`, 1, 0,
		},
		{"token revoked, login ended (AADSTS50013, AADSTS70000)", func(w *world, e *entra) {
			e.revoked[w.logins.kept["uid-ada"].Access] = true
			e.refresh = "another"
		}, pre, exchange.ReasonDead, "Log in anew.", 1, 1},
		{"an assertion signed by nobody (AADSTS50013)", func(w *world, e *entra) {
			w.logins.put("uid-ada", tokens{Access: jwt(w.t, "JWT", map[string]any{"aud": entraApp, "scp": "x"}), Refresh: "gone"})
		}, pre, exchange.ReasonDead, "Log in anew.", 1, 1},
		{"down", func(_ *world, e *entra) { e.down = true }, fault.Unavailable, oauthclient.ReasonUnreachable, "The token endpoint cannot be reached.", 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, e := newTenant(t)
			tt.change(w, e)
			w.publish()
			_, _, err := w.resolve("ada", false)
			w.refusedWith(err, tt.kind, tt.reason, tt.text)
			requests, renewals := e.counts()
			if requests-renewals != tt.requests || renewals != tt.renewals {
				t.Errorf("%d requests and %d renewals, want %d and %d", requests-renewals, renewals, tt.requests, tt.renewals)
			}
			w.checkSecrecy(entraSecret, "canary-description")
		})
	}
}

// UP-7: an assertion that Entra ID does not take any more is renewed once, and sent once more; if that is refused too, the person logs in.
func TestOnBehalfOfRenewed(t *testing.T) {
	w, e := newTenant(t)
	old := w.logins.kept["uid-ada"].Access
	e.set(func(e *entra) { e.revoked[old] = true })
	header, _, err := w.resolve("ada", false)
	w.must(err)
	if requests, renewals := e.counts(); header != "Bearer entra-for-ada" || requests != 3 || renewals != 1 {
		t.Errorf("%d requests, %d renewals", requests, renewals)
	}
	e.check()

	w, e = newTenant(t)
	answerAll := func(rw http.ResponseWriter, _ *http.Request) { // AADSTS50013 whatever comes
		e.fail(rw, http.StatusBadRequest, "invalid_grant", "AADSTS50013", nil)
	}
	e.set(func(e *entra) { e.always = answerAll })
	_, _, err = w.resolve("ada", false)
	w.refusedWith(err, fault.Precondition, exchange.ReasonDead,
		"Your login with the identity provider is not accepted any more: log in there anew.")
	for range 3 {
		_, _, err = w.resolve("ada", false)
		w.refusedWith(err, fault.Precondition, exchange.ReasonDead, "Log in anew.")
	}
	if requests, renewals := e.counts(); requests-renewals != 2 {
		t.Errorf("%d requests and %d renewals", requests-renewals, renewals)
	}
}

// §16 160: where Entra ID wants more, the next login is told what, and nothing is asked of Entra ID before it.
func TestOnBehalfOfStepUp(t *testing.T) {
	w, e := newTenant(t)
	e.set(func(e *entra) { e.wantsMFA = true })
	_, _, err := w.resolve("ada", false)
	w.refusedWith(err, fault.Precondition, exchange.ReasonDead, "The identity provider wants a stronger login for this server: log in there anew.")
	want := exchange.StepUp{Claims: `{"access_token":{"polids":{"essential":true,"values":["9ab03e19"]}}}`}
	if got := w.logins.wanted()["uid-ada"]; got != want {
		t.Errorf("the next login has to prove %+v", got)
	}
	presented := e.access("ada", nil)
	for range 10 { // no retry storm
		_, _, err := w.resolve("ada", true)
		w.refusedWith(err, fault.Precondition, exchange.ReasonDead, "Log in anew.")
		_, _, err = w.resolveWith("ada", presented, false) // asks once for itself
		w.refusedWith(err, fault.Precondition, exchange.ReasonDead, "Log in anew.")
	}
	if requests, _ := e.counts(); requests != 2 {
		t.Errorf("%d requests", requests)
	}
	e.set(func(e *entra) { e.strong["ada"] = true })
	w.logins.put("uid-ada", tokens{Access: e.access("ada", nil), Refresh: e.refresh})
	for _, token := range []string{"", presented} {
		if header, _, err := w.resolveWith("ada", token, false); err != nil || header != "Bearer entra-for-ada" {
			t.Errorf("after the login: %q, %v", header, err)
		}
	}
	if strings.Contains(w.log.String(), "polids") {
		t.Error("the log has the claims challenge")
	}
	e.check()
	w.checkSecrecy()
}

// The double refuses what Microsoft documents that Entra ID refuses: else the tests above would show nothing.
func TestEntraRules(t *testing.T) {
	w, e := newTenant(t)
	good := func() url.Values {
		return url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "requested_token_use": {"on_behalf_of"}, "scope": {entraScope},
			"client_id": {entraApp}, "client_secret": {entraSecret}, "assertion": {e.access("ada", nil)},
		}
	}
	assertion := func(changes map[string]any) func(url.Values) {
		return func(f url.Values) { f.Set("assertion", e.access("ada", changes)) }
	}
	for _, tt := range []struct {
		name   string
		change func(f url.Values)
		want   string
	}{
		{"good", func(url.Values) {}, ""},
		{"with resource", func(f url.Values) { f.Set("resource", "https://x") }, "AADSTS901002"},
		{"another client", func(f url.Values) { f.Set("client_id", "x") }, "AADSTS700016"},
		{"another secret", func(f url.Values) { f.Set("client_secret", "x") }, "AADSTS7000215"},
		{"no scope", func(f url.Values) { f.Del("scope") }, "AADSTS900144"},
		{"another scope", func(f url.Values) { f.Set("scope", "x") }, "AADSTS70011"},
		{"another grant", func(f url.Values) { f.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange") }, "AADSTS70003"},
		{"no requested_token_use", func(f url.Values) { f.Del("requested_token_use") }, "AADSTS900144"},
		{"a parameter twice", func(f url.Values) { f.Add("scope", "x") }, "AADSTS90100 scope"},
		{"a parameter too many", func(f url.Values) { f.Set("audience", "x") }, "more than is documented: assertion audience client_id client_secret grant_type requested_token_use scope"},
		{"no JWT", func(f url.Values) { f.Set("assertion", "x") }, "AADSTS50027"},
		{"signed by somebody else", func(f url.Values) { f.Set("assertion", jwt(t, "JWT", map[string]any{"aud": entraApp, "scp": "x"})) }, "AADSTS50013"},
		{"another audience", assertion(map[string]any{"aud": "https://graph.microsoft.com"}), "AADSTS500131"},
		{"ID token", assertion(map[string]any{"scp": nil}), "AADSTS5002710"},
		{"app-only", assertion(map[string]any{"idtyp": "app"}), "AADSTS5002710"},
		{"over", assertion(map[string]any{"exp": w.now().Add(-time.Minute).Unix()}), "AADSTS500133"},
	} {
		f := good()
		tt.change(f)
		res, err := http.PostForm(e.url+"/tenant/oauth2/v2.0/token", f)
		w.must(err)
		var said struct {
			Description string `json:"error_description"`
		}
		w.must(json.NewDecoder(res.Body).Decode(&said))
		w.must(res.Body.Close())
		if got, _, _ := strings.Cut(said.Description, ": canary"); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
