// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/oauthclient"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// redeemer is an authorization server that takes identity assertions of Penstock's client, each once. The real one is Penstock's own:
// see TestIdentityAssertionsBothWays of the authserver.
type redeemer struct {
	issuer, token string

	mu       sync.Mutex // guards what follows
	forms    []url.Values
	used     map[string]bool
	metadata func(m map[string]any)
	answer   func(w http.ResponseWriter) bool // answers in its place, if it says so
}

func newRedeemer(t *testing.T) *redeemer {
	t.Helper()
	r := &redeemer{used: make(map[string]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server/tenant", func(w http.ResponseWriter, _ *http.Request) {
		m := map[string]any{
			"issuer": r.issuer, "token_endpoint": r.token, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
			"grant_types_supported": []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.metadata != nil {
			r.metadata(m)
		}
		reply(w, http.StatusOK, m)
	})
	mux.HandleFunc("POST /token", r.redeem)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.issuer, r.token = server.URL+"/tenant", server.URL+"/token"
	return r
}

func (r *redeemer) redeem(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := q.ParseForm(); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	r.forms = append(r.forms, q.PostForm)
	id, secret, _ := q.BasicAuth()
	assertion := q.PostForm.Get("assertion")
	switch {
	case r.answer != nil && r.answer(w):
	case id != "agent" || secret != serverSecret:
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	case q.PostForm.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || assertion == "" || r.used[assertion]:
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
	default:
		r.used[assertion] = true
		reply(w, http.StatusOK, map[string]any{"access_token": "at-" + assertion[len(assertion)-10:], "token_type": "Bearer", "expires_in": 900})
	}
}

func (r *redeemer) set(change func(r *redeemer)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *redeemer) redemptions() []url.Values {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forms
}

// newAsserted is a world whose server takes tokens of an authorization server that takes identity assertions. Ada has logged in.
func newAsserted(t *testing.T) (*world, *redeemer, tokens) {
	t.Helper()
	return newAssertedWith(t, newProvider(t, "ada", "bob"))
}

func newAssertedWith(t *testing.T, p *provider) (*world, *redeemer, tokens) {
	t.Helper()
	w, r := newWorldWith(t, p), newRedeemer(t)
	w.mcp.set("https://other.example", r.issuer)
	w.server.Exchange = &directory.Exchange{
		Provider: "example", Grant: directory.GrantIDJAG, Subject: directory.SubjectIDToken, Scopes: []string{"mcp"}, Issuer: r.issuer,
		ClientID: "agent", SecretVersion: w.put("s1", serverSecret),
	}
	w.publish()
	return w, r, w.signIn("ada")
}

// JAU-1, JAU-4, JAU-5, JAU-7: what the provider and the authorization server are asked, once per token.
func TestIdentityAssertion(t *testing.T) {
	for kind, typ := range map[directory.Subject]string{directory.SubjectIDToken: idType, directory.SubjectRefreshToken: refreshType} {
		w, r, ada := newAsserted(t)
		w.change(func(x *directory.Exchange) { x.Subject, x.TokenEndpoint = kind, r.token })
		header, until, err := w.resolve("ada", false)
		w.must(err)
		if left := until.Sub(w.now()); left > 14*time.Minute || left < 13*time.Minute+50*time.Second {
			t.Errorf("it may be kept for %s", left)
		}
		want := url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "requested_token_type": {idJAGType}, "audience": {r.issuer},
			"resource": {w.mcp.URL}, "scope": {"mcp"}, "subject_token_type": {typ},
			"subject_token": {map[directory.Subject]string{directory.SubjectIDToken: ada.ID, directory.SubjectRefreshToken: ada.Refresh}[kind]},
		}
		if diff := cmp.Diff([]url.Values{want}, w.idp.exchanges()); diff != "" {
			t.Error("the provider was asked:\n", diff)
		}
		redeemed := r.redemptions()
		if len(redeemed) != 1 || len(redeemed[0]) != 2 || !strings.HasSuffix(redeemed[0].Get("assertion"), strings.TrimPrefix(header, "Bearer at-")) {
			t.Errorf("redeemed: %v", redeemed)
		}
		if again, _, err := w.resolve("ada", false); err != nil || again != header {
			t.Errorf("it is not kept: %v", err)
		}
		w.pass(14*time.Minute + time.Second)
		if next, _, err := w.resolve("ada", false); err != nil || next == header {
			t.Errorf("after its end: %v", err)
		}
		if n := len(r.redemptions()); n != 2 {
			t.Errorf("%d redemptions", n)
		}
		w.checkSecrecy(redeemed[0].Get("assertion"), strings.TrimPrefix(header, "Bearer "))
	}
}

// JAU-2: neither an access token nor what the caller presented is ever made an assertion of.
func TestIdentityAssertionOfAccessToken(t *testing.T) {
	w, r, _ := newAsserted(t)
	w.change(func(x *directory.Exchange) { x.Subject = directory.SubjectAccessToken })
	for _, presented := range []string{"", w.access(nil)} {
		_, _, err := w.resolveWith("ada", presented, false)
		w.refusedWith(err, fault.Precondition, exchange.ReasonSubject,
			"Identity assertions are made of ID tokens and refresh tokens only (token_exchange.subject_token).")
	}
	if len(w.idp.exchanges())+len(r.redemptions()) != 0 {
		t.Error("somebody was asked")
	}
}

// JAU-3, JAU-4, §16 125 and 157: what is not an assertion for Penstock's client at this server is not redeemed, and nobody but the
// pinned authorization server is asked.
func TestIdentityAssertionRefusals(t *testing.T) {
	idp := newProvider(t, "ada", "bob")
	const pre = fault.Precondition
	asserted := func(change func(claims, header map[string]any)) func(w *world, r *redeemer) {
		return func(w *world, _ *redeemer) { w.idp.assertion = change }
	}
	provider := func(status int, body map[string]any) func(w *world, r *redeemer) {
		return func(w *world, _ *redeemer) { answering(status, body)(w) }
	}
	server := func(status int, body map[string]any) func(w *world, r *redeemer) {
		return func(_ *world, r *redeemer) {
			r.answer = func(w http.ResponseWriter) bool {
				reply(w, status, body)
				return true
			}
		}
	}
	not := func(what string) string {
		return `What the identity provider "example" gives for "crm" ` + what + ". It was not redeemed."
	}
	for _, tt := range []struct {
		name         string
		change       func(w *world, r *redeemer)
		kind         fault.Kind
		reason, text string
		exchanges    int
		redemptions  int
	}{
		{"access token (§16 125)", provider(200, good()), pre, exchange.ReasonAssertion, not("cannot be read, or its token_type is not N_A"), 1, 0},
		{
			"access token without a type (§16 125)", provider(200, good("token_type", "N_A")), pre, exchange.ReasonAssertion,
			not("is another type of token (issued_token_type)"), 1, 0,
		},
		{
			"bearer token (JAU-3)", provider(200, good("issued_token_type", idJAGType)), pre, exchange.ReasonAssertion,
			not("cannot be read, or its token_type is not N_A"), 1, 0,
		},
		{
			"no issued type", provider(200, good("issued_token_type", nil, "token_type", "N_A")), pre, exchange.ReasonAssertion,
			not("is another type of token (issued_token_type)"), 1, 0,
		},
		{
			"opaque", provider(200, good("issued_token_type", idJAGType, "token_type", "n_a")), pre, exchange.ReasonAssertion,
			not("is no identity assertion, by its typ"), 1, 0,
		},
		{
			"another typ", asserted(func(_, header map[string]any) { header["typ"] = "JWT" }), pre, exchange.ReasonAssertion,
			not("is no identity assertion, by its typ"), 1, 0,
		},
		{
			"another audience", asserted(func(claims, _ map[string]any) { claims["aud"] = "https://evil.example" }), pre, exchange.ReasonAssertion,
			"", 1, 0,
		},
		{
			"another client", asserted(func(claims, _ map[string]any) { claims["client_id"] = "penstock" }), pre, exchange.ReasonAssertion,
			not("names another client than agent: map Penstock to it at the provider, or set token_exchange.client_id"), 1, 0,
		},
		{
			"another resource", asserted(func(claims, _ map[string]any) { claims["resource"] = []string{"https://evil.example"} }), pre, exchange.ReasonAssertion,
			"", 1, 0,
		},
		{
			"the provider says no", provider(400, map[string]any{"error": "access_denied"}), pre, exchange.ReasonRefused,
			`The identity provider "example" does not allow Penstock to act for this person at "crm": an administrator has to allow or consent to it there.`, 1, 0,
		},
		{
			"the provider does not take the client", func(w *world, _ *redeemer) { w.provider.SecretVersion = w.put("p1", "wrong") }, pre, oauthclient.ReasonClient,
			`The identity provider "example" does not let Penstock's client exchange tokens: check client_id and client_secret of the provider, and what the client may do there.`, 1, 0,
		},
		{
			"a server that names others", func(w *world, _ *redeemer) { w.mcp.set("https://other.example") }, pre, oauthclient.ReasonIssuer,
			"", 0, 0,
		},
		{
			"metadata of another issuer (§16 157)", func(_ *world, r *redeemer) {
				r.metadata = func(m map[string]any) { m["issuer"] = "https://evil.example" }
			}, pre, oauthclient.ReasonIssuer, "", 0, 0,
		},
		{
			"another token endpoint than the pinned one", func(w *world, _ *redeemer) { w.server.Exchange.TokenEndpoint = "https://evil.example/token" }, pre, oauthclient.ReasonIssuer,
			"", 0, 0,
		},
		{
			"an endpoint without TLS (§16 157)", func(_ *world, r *redeemer) {
				r.metadata = func(m map[string]any) { m["token_endpoint"] = "http://as.example.com/token" }
			}, pre, oauthclient.ReasonInsecure, "The token endpoint is not an https URL.", 1, 0,
		},
		{
			"an endpoint inside (§16 157)", func(_ *world, r *redeemer) {
				r.metadata = func(m map[string]any) { m["token_endpoint"] = "https://10.0.0.1/token" }
			}, pre, "EGRESS_REFUSED", "", 1, 0,
		},
		{
			"wrong secret there", func(w *world, _ *redeemer) { w.server.Exchange.SecretVersion = w.put("s1", "wrong") }, pre, oauthclient.ReasonClient,
			`The authorization server of "crm" does not take Penstock's client: check token_exchange.client_id and client_secret.`, 1, 1,
		},
		{
			"no client of its own: the provider's secret goes nowhere else", func(w *world, _ *redeemer) {
				w.server.Exchange.ClientID = ""
				w.idp.assertion = func(claims, _ map[string]any) { claims["client_id"] = clientID }
			}, pre, oauthclient.ReasonClient,
			`The authorization server of "crm" does not take Penstock's client: check token_exchange.client_id and client_secret.`, 1, 1,
		},
		{
			"refused twice (JAU-5)", server(400, map[string]any{"error": "invalid_grant"}), pre, exchange.ReasonDead,
			"Your login with the identity provider is not accepted any more: log in there anew.", 2, 2,
		},
		{
			"a stronger login (JAU-6)", server(400, map[string]any{"error": "insufficient_user_authentication", "max_age": 0}), pre, exchange.ReasonDead,
			"The identity provider wants a stronger login for this server: log in there anew.", 1, 1,
		},
		{
			"no such scope", server(400, map[string]any{"error": "invalid_scope"}), pre, exchange.ReasonTarget,
			`The authorization server of "crm" gives no token for that resource or scope: check token_exchange.scopes.`, 1, 1,
		},
		{
			"no assertions there", server(400, map[string]any{"error": "unsupported_grant_type"}), pre, exchange.ReasonRefused,
			`The authorization server of "crm" takes no identity assertions.`, 1, 1,
		},
		{
			"not this person", server(403, map[string]any{"error": "access_denied"}), pre, exchange.ReasonRefused,
			`The authorization server of "crm" does not allow this person.`, 1, 1,
		},
		{
			"something else", server(400, map[string]any{"error": "invalid_request", "error_description": "canary"}), pre, oauthclient.ReasonResponse,
			`The authorization server of "crm" refuses the identity assertion (invalid_request).`, 1, 1,
		},
		{
			"a token that is no bearer token", server(200, map[string]any{"access_token": "x", "token_type": "DPoP"}), pre, oauthclient.ReasonResponse,
			"The token endpoint gives tokens that are no bearer tokens.", 1, 1,
		},
		{
			"trouble", server(503, nil), fault.Unavailable, oauthclient.ReasonUnreachable, "The token endpoint cannot be reached.", 1, 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, r, ada := newAssertedWith(t, idp)
			tt.change(w, r)
			w.publish()
			_, _, err := w.resolve("ada", false)
			if tt.text == "" { // it names ports, or is another room's
				tt.text = fault.From(err).Public
			}
			w.refusedWith(err, tt.kind, tt.reason, tt.text)
			if e, n := len(w.idp.exchanges()), len(r.redemptions()); e != tt.exchanges || n != tt.redemptions {
				t.Errorf("%d exchanges and %d redemptions, want %d and %d", e, n, tt.exchanges, tt.redemptions)
			}
			seen := map[string]bool{}
			for _, f := range r.redemptions() {
				if a := f.Get("assertion"); seen[a] {
					t.Error("an assertion was redeemed twice")
				} else {
					seen[a] = true
				}
				if f.Has("client_secret") {
					t.Error("a secret is in the form")
				}
			}
			w.checkSecrecy(ada.ID, "canary")
		})
	}
}

// An assertion under another issuer than the one that people log in at is redeemed: the server's authorization server judges whose
// assertions it takes.
func TestIdentityAssertionOfAnotherIssuer(t *testing.T) {
	w, r, _ := newAsserted(t)
	w.idp.assertion = func(claims, _ map[string]any) { claims["iss"] = "https://example.okta.example/oauth2/partners" }
	header, _, err := w.resolve("ada", false)
	w.must(err)
	redeemed := r.redemptions()
	if len(redeemed) != 1 || !strings.HasSuffix(redeemed[0].Get("assertion"), strings.TrimPrefix(header, "Bearer at-")) {
		t.Errorf("redeemed: %v", redeemed)
	}
}

// JAU-5: an assertion that is not taken is replaced by a new one, and nobody logs in.
func TestIdentityAssertionAgain(t *testing.T) {
	w, r, _ := newAsserted(t)
	first := true
	r.set(func(r *redeemer) {
		r.answer = func(w http.ResponseWriter) bool {
			refused := first
			if first = false; refused {
				reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			}
			return refused
		}
	})
	_, _, err := w.resolve("ada", false)
	w.must(err)
	if refused, _ := w.logins.counts(); refused != 0 || len(w.idp.exchanges()) != 2 || len(r.redemptions()) != 2 {
		t.Errorf("%d refused, %d exchanges", refused, len(w.idp.exchanges()))
	}
}

// JAU-6: what the authorization server wants the person to prove is what the next login asks for; nobody is asked again before.
func TestIdentityAssertionStepUp(t *testing.T) {
	w, r, _ := newAsserted(t)
	r.set(func(r *redeemer) {
		r.answer = func(w http.ResponseWriter) bool {
			reply(w, http.StatusBadRequest, map[string]any{"error": "insufficient_user_authentication", "acr_values": "urn:mfa", "max_age": 600})
			return true
		}
	})
	for range 4 {
		_, _, err := w.resolve("ada", false)
		if fault.From(err).Reason != exchange.ReasonDead {
			t.Error(err)
		}
	}
	if got := w.logins.wanted()["uid-ada"]; got != (exchange.StepUp{ACRValues: "urn:mfa", MaxAge: 10 * time.Minute}) {
		t.Errorf("the next login has to prove %+v", got)
	}
	if n := len(r.redemptions()); n != 1 {
		t.Errorf("%d redemptions", n)
	}
	r.set(func(r *redeemer) { r.answer = nil })
	w.signIn("ada")
	_, _, err := w.resolve("ada", false)
	w.must(err)
}

// A server without metadata is known by its URL; the authorization server is the pinned one.
func TestIdentityAssertionPinned(t *testing.T) {
	w, r, _ := newAsserted(t)
	w.mcp.set()
	_, _, err := w.resolve("ada", false)
	w.must(err)
	if got := w.idp.exchanges(); len(got) != 1 || got[0].Get("resource") != w.mcp.URL || len(r.redemptions()) != 1 {
		t.Errorf("asked: %v", got)
	}
}

// A redeemed token that is the assertion or the subject token is not given to the server.
func TestIdentityAssertionEchoed(t *testing.T) {
	for _, what := range []string{"assertion", "subject"} {
		w, r, ada := newAsserted(t)
		r.set(func(r *redeemer) {
			r.answer = func(w http.ResponseWriter) bool {
				token := ada.ID
				if what == "assertion" {
					token = r.forms[0].Get("assertion")
				}
				reply(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "Bearer"})
				return true
			}
		})
		_, _, err := w.resolve("ada", false)
		w.refusedWith(err, fault.Precondition, oauthclient.ReasonResponse, "The token endpoint gives back the token that it was given.")
	}
}
