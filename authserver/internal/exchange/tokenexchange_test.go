// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/egress"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	accessType  = "urn:ietf:params:oauth:token-type:access_token"
	idType      = "urn:ietf:params:oauth:token-type:id_token"
	refreshType = "urn:ietf:params:oauth:token-type:refresh_token"
)

// UP-6, UP-9: everybody gets a token of their own, for what is configured, and keeps it.
func TestTokenExchange(t *testing.T) {
	w := newWorld(t)
	ada, bob := w.signIn("ada"), w.signIn("bob")
	first, until, err := w.resolve("ada", false)
	w.must(err)
	if left := until.Sub(w.now()); left < 3*time.Minute+50*time.Second || left > 4*time.Minute {
		t.Errorf("it may be kept for %s: the provider's tokens live five minutes, and a minute is left (JAU-7)", left)
	}
	if w.idp.whose(first) != "ada" || strings.Contains(first, ada.Access) {
		t.Error("Ada does not get a token of hers")
	}
	other := w.want("bob", false)
	if again := w.want("ada", false); again != first || other == first {
		t.Error("the token is not kept, or shared")
	}
	form := func(subject string) url.Values {
		return url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requested_token_type": {accessType}, "subject_token": {subject},
			"subject_token_type": {accessType}, "audience": {"crm"}, "resource": {w.mcp.URL}, "scope": {"openid email"},
		}
	}
	if diff := cmp.Diff([]url.Values{form(ada.Access), form(bob.Access)}, w.idp.exchanges()); diff != "" {
		t.Error("what was asked:\n", diff)
	}
	want := []string{"uid-ada upstream.credential.exchanged ok  crm", "uid-bob upstream.credential.exchanged ok  crm"}
	if diff := cmp.Diff(want, w.events()); diff != "" {
		t.Error("audit:\n", diff)
	}
	w.pass(4*time.Minute + time.Second)
	if w.want("ada", false) == first {
		t.Error("a token is given out within its last minute")
	}
	if w.mcp.asked != 1 {
		t.Errorf("the metadata of the server were read %d times", w.mcp.asked)
	}
	w.checkSecrecy(first, other)
}

// What else can be configured is asked for.
func TestTokenExchangeForms(t *testing.T) {
	idp := newProvider(t, "ada", "bob")
	for _, tt := range []struct {
		name string
		how  func(w *world, x *directory.Exchange)
		want func(w *world, ada tokens, form url.Values)
	}{
		{
			"an ID token", func(_ *world, x *directory.Exchange) { x.Subject = directory.SubjectIDToken },
			func(_ *world, ada tokens, form url.Values) {
				form.Set("subject_token", ada.ID)
				form.Set("subject_token_type", idType)
			},
		},
		{
			"a refresh token", func(_ *world, x *directory.Exchange) { x.Subject = directory.SubjectRefreshToken },
			func(_ *world, ada tokens, form url.Values) {
				form.Set("subject_token", ada.Refresh)
				form.Set("subject_token_type", refreshType)
			},
		},
		{
			"no resource", func(_ *world, x *directory.Exchange) { x.NoResource = true },
			func(_ *world, _ tokens, form url.Values) { form.Del("resource") },
		},
		{
			"no audience", func(_ *world, x *directory.Exchange) { x.Audience = "" },
			func(_ *world, _ tokens, form url.Values) { form.Del("audience") },
		},
		{
			"a server without metadata", func(w *world, _ *directory.Exchange) { w.mcp.set() },
			func(*world, tokens, url.Values) {},
		},
		{
			"the resource above the server's URL", func(w *world, _ *directory.Exchange) { w.mcp.resource = strings.TrimSuffix(w.mcp.URL, "/mcp") },
			func(w *world, _ tokens, form url.Values) { form.Set("resource", strings.TrimSuffix(w.mcp.URL, "/mcp")) },
		},
		{
			"a token endpoint set by hand", func(w *world, x *directory.Exchange) { x.TokenEndpoint = w.idp.issuer + "/oauth/token" },
			func(*world, tokens, url.Values) {},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, idp)
			ada := w.signIn("ada")
			w.change(func(x *directory.Exchange) { tt.how(w, x) })
			w.want("ada", false)
			want := url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requested_token_type": {accessType}, "subject_token": {ada.Access},
				"subject_token_type": {accessType}, "audience": {"crm"}, "resource": {w.mcp.URL}, "scope": {"openid email"},
			}
			tt.want(w, ada, want)
			if diff := cmp.Diff([]url.Values{want}, w.idp.exchanges()); diff != "" {
				t.Error(diff)
			}
			w.checkSecrecy()
		})
	}
}

// answering makes a token endpoint answer exchanges with a body.
func answering(status int, body map[string]any) func(w *world) {
	return func(w *world) {
		w.idp.answer = func(rw http.ResponseWriter, form url.Values) bool {
			if form.Has("subject_token") {
				reply(rw, status, body)
			}
			return form.Has("subject_token")
		}
	}
}

// good is an answer that is taken, changed.
func good(changes ...any) map[string]any {
	m := map[string]any{"access_token": "canary-access", "issued_token_type": accessType, "token_type": "Bearer", "expires_in": 300}
	for pair := range slices.Chunk(changes, 2) {
		m[pair[0].(string)] = pair[1]
	}
	maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
	return m
}

// Every way in which an exchange fails, with what is told, and how often the provider was asked for nothing.
func TestTokenExchangeRefusals(t *testing.T) {
	idp := newProvider(t, "ada", "bob")
	const pre, away = fault.Precondition, fault.Unavailable
	for _, tt := range []struct {
		name   string
		change func(w *world)
		kind   fault.Kind
		reason string
		text   string
		asked  int
	}{
		{"no login", func(w *world) { w.logins.kept = map[string]tokens{} }, pre, "CREDENTIAL_MISSING", "Log in first.", 0},
		{
			"provider disabled", func(w *world) { w.provider.Disabled = true }, pre, exchange.ReasonProvider,
			`The identity provider "example" of the server "crm" is gone or disabled (token_exchange.identity_provider).`, 0,
		},
		{"user deactivated", func(w *world) { w.gone = []string{"ada"} }, fault.Denied, exchange.ReasonUser, "The user is not there or is deactivated.", 0},
		{
			"client secret gone", func(w *world) { w.provider.SecretVersion = "v_gone" }, pre, oauthclient.ReasonClient,
			`The identity provider "example" has no client secret stored: set client_secret anew.`, 0,
		},
		{"another issuer in the provider's metadata", func(w *world) { w.provider.Issuer = strings.Replace(w.idp.issuer, "127.0.0.1", "localhost", 1) }, pre, oauthclient.ReasonIssuer, "", 0},
		{"provider inside", func(w *world) { w.provider.Issuer = "https://10.0.0.1" }, pre, egress.ReasonRefused, "", 0},
		{
			"endpoint without TLS", func(w *world) { w.server.Exchange.TokenEndpoint = "http://sts.example.com/token" }, pre, oauthclient.ReasonInsecure,
			"The token endpoint is not an https URL.", 0,
		},
		{
			"wrong secret", func(w *world) { w.provider.SecretVersion = w.put("p1", "wrong") }, pre, oauthclient.ReasonClient,
			`The identity provider "example" does not let Penstock's client exchange tokens: check client_id and client_secret of the provider, and what the client may do there.`, 1,
		},
		{
			"own client unknown", func(w *world) {
				w.server.Exchange.ClientID, w.server.Exchange.SecretVersion = "other", w.put("s1", serverSecret)
			}, pre, oauthclient.ReasonClient,
			`The identity provider "example" does not let Penstock's client exchange tokens: check token_exchange.client_id and client_secret, and what the client may do there.`, 1,
		},
		{
			"own secret gone", func(w *world) { w.server.Exchange.ClientID, w.server.Exchange.SecretVersion = "other", "v_gone" }, pre, oauthclient.ReasonClient,
			`The server "crm" has no client secret stored: set token_exchange.client_secret anew.`, 0,
		},
		{
			"not allowed", func(w *world) {
				w.idp.policy = func(op.TokenExchangeRequest) error { return oidc.ErrAccessDenied() }
			}, pre, exchange.ReasonRefused,
			`The identity provider "example" does not allow Penstock to act for this person at "crm": an administrator has to allow or consent to it there.`, 1,
		},
		{
			"no such audience", answering(400, map[string]any{"error": "invalid_target"}), pre, exchange.ReasonTarget,
			`The identity provider "example" gives no token for the server "crm": check audience, scopes and no_resource of token_exchange.`, 1,
		},
		{
			"no such scope", func(w *world) {
				w.idp.policy = func(op.TokenExchangeRequest) error { return oidc.ErrInvalidScope() }
			}, pre, exchange.ReasonTarget,
			`The identity provider "example" gives no token for the server "crm": check audience, scopes and no_resource of token_exchange.`, 1,
		},
		{
			"no exchanges there", answering(400, map[string]any{"error": "unsupported_grant_type"}), pre, exchange.ReasonRefused,
			`The identity provider "example" does no such exchange: check token_exchange.grant.`, 1,
		},
		{
			"consent missing", answering(400, map[string]any{"error": "consent_required"}), pre, exchange.ReasonRefused,
			`The identity provider "example" does not allow Penstock to act for this person at "crm": an administrator has to allow or consent to it there.`, 1,
		},
		{
			"an error that nobody knows", answering(400, map[string]any{"error": "canary_x", "error_description": "canary"}), pre, oauthclient.ReasonResponse,
			`The identity provider "example" refuses the exchange for "crm" (canary_x): check token_exchange.`, 1,
		},
		{
			"a request that stays invalid with a new token", answering(400, map[string]any{"error": "invalid_request"}), pre, oauthclient.ReasonResponse,
			`The identity provider "example" refuses the exchange for "crm" (invalid_request): check token_exchange.`, 2,
		},
		{
			"a login that has ended", answering(400, map[string]any{"error": "invalid_grant"}), pre, exchange.ReasonDead,
			"Your login with the identity provider is not accepted any more: log in there anew.", 2,
		},
		{
			"a stronger login", answering(400, map[string]any{"error": "insufficient_user_authentication"}), pre, exchange.ReasonDead,
			"The identity provider wants a stronger login for this server: log in there anew.", 1,
		},
		{
			"no issued type", answering(200, good("issued_token_type", nil)), pre, oauthclient.ReasonResponse,
			`The identity provider "example" gives another type of token than an access token (issued_token_type).`, 1,
		},
		{
			"an ID token", answering(200, good("issued_token_type", idType)), pre, oauthclient.ReasonResponse,
			`The identity provider "example" gives another type of token than an access token (issued_token_type).`, 1,
		},
		{"no bearer token", answering(200, good("token_type", "DPoP")), pre, oauthclient.ReasonResponse, "The token endpoint gives tokens that are no bearer tokens.", 1},
		{"no token type", answering(200, good("token_type", nil)), pre, oauthclient.ReasonResponse, "The token endpoint gives tokens that are no bearer tokens.", 1},
		{
			"a token that no header carries", answering(200, good("access_token", "a b")), pre, oauthclient.ReasonResponse,
			"The token endpoint gives no access token that a header can carry.", 1,
		},
		{
			"the subject given back", func(w *world) { answering(200, good("access_token", w.logins.kept["uid-ada"].Access))(w) }, pre, oauthclient.ReasonResponse,
			"The token endpoint gives back the token that it was given.", 1,
		},
		{"trouble", answering(503, nil), away, oauthclient.ReasonUnreachable, "The token endpoint cannot be reached.", 1},
		{"trouble that it tells", answering(400, map[string]any{"error": "temporarily_unavailable"}), away, oauthclient.ReasonUnreachable, "The token endpoint cannot be reached.", 1},
		{
			"metadata of another server", func(w *world) { w.mcp.resource = "https://other.example/mcp" }, pre, oauthclient.ReasonResource,
			"The server's protected resource metadata is that of another resource than the server's URL.", 0,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, idp)
			ada := w.signIn("ada")
			tt.change(w)
			w.publish()
			_, _, err := w.resolve("ada", false)
			if tt.text == "" { // it names ports, or is another room's
				tt.text = fault.From(err).Public
			}
			w.refusedWith(err, tt.kind, tt.reason, tt.text)
			if got := len(w.idp.exchanges()); got != tt.asked {
				t.Errorf("the provider was asked %d times, want %d", got, tt.asked)
			}
			w.checkSecrecy(ada.Access, "canary-access")
		})
	}
}

// The types that RFC 8693 §2.2.1 has for an access token, and lives that are not said, or end with the subject's.
func TestLives(t *testing.T) {
	idp := newProvider(t, "ada", "bob")
	for _, tt := range []struct {
		name string
		body map[string]any
		want time.Duration
	}{
		{"a JWT", good("issued_token_type", "urn:ietf:params:oauth:token-type:jwt"), 4 * time.Minute},
		{"bearer in lower case", good("token_type", "bearer"), 4 * time.Minute},
		{"not said", good("expires_in", nil), 5 * time.Minute},
		{"over at once", good("expires_in", 0), 5 * time.Minute},
		{"less than a minute", good("expires_in", 30), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorldWith(t, idp)
			w.signIn("ada")
			answering(200, tt.body)(w)
			header, until, err := w.resolve("ada", false)
			w.must(err)
			if left := until.Sub(w.now()); header != "Bearer canary-access" || left > tt.want || left < tt.want-10*time.Second {
				t.Errorf("it may be kept for %s, want %s", left, tt.want)
			}
			if _, _, err := w.resolve("ada", false); err != nil {
				t.Error(err)
			}
			if want := map[bool]int{true: 2, false: 1}[tt.want == 0]; len(w.idp.exchanges()) != want {
				t.Errorf("%d exchanges, want %d", len(w.idp.exchanges()), want)
			}
		})
	}
}

// A token that the provider does not take any more is renewed, once; real answers of the library to a subject token that it does not
// know (RFC 8693 §2.2.2).
func TestSubjectRenewed(t *testing.T) {
	w := newWorld(t)
	ada := w.signIn("ada")
	w.logins.put("uid-ada", tokens{Access: "revoked", ID: ada.ID, Refresh: ada.Refresh})
	w.want("ada", false)
	if refused, renewed := w.logins.counts(); refused != 1 || renewed != 1 || len(w.idp.exchanges()) != 2 {
		t.Errorf("%d refused, %d renewed, %d exchanges", refused, renewed, len(w.idp.exchanges()))
	}
	// A second time it is not the token that is suspected.
	w.logins.put("uid-ada", tokens{Access: "revoked", ID: ada.ID, Refresh: ada.Refresh})
	w.pass(5 * time.Minute)
	_, _, err := w.resolve("ada", false)
	w.refusedWith(err, fault.Precondition, oauthclient.ReasonResponse,
		`The identity provider "example" refuses the exchange for "crm" (invalid_request): check token_exchange.`)
	if refused, _ := w.logins.counts(); refused != 1 {
		t.Errorf("%d refused", refused)
	}
}

// What an administrator has to mend is not tried for every call, until it was changed.
func TestFailuresRest(t *testing.T) {
	w := newWorld(t)
	w.signIn("ada")
	answering(400, map[string]any{"error": "invalid_target"})(w)
	for range 5 {
		_, _, err := w.resolve("ada", true)
		if fault.From(err).Reason != exchange.ReasonTarget {
			t.Fatal(err)
		}
	}
	if n := len(w.idp.exchanges()); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	if diff := cmp.Diff([]string{"uid-ada upstream.credential.failed refused UPSTREAM_TARGET_REFUSED crm"}, w.events()); diff != "" {
		t.Error(diff)
	}
	w.pass(31 * time.Second)
	if _, _, err := w.resolve("ada", false); fault.From(err).Reason != exchange.ReasonTarget || len(w.idp.exchanges()) != 2 {
		t.Errorf("%v; %d exchanges", err, len(w.idp.exchanges()))
	}
	w.idp.set(func(p *provider) { p.answer = nil })
	w.change(func(x *directory.Exchange) { x.Audience = "crm2" })
	w.want("ada", false)
}
