// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// publishProvider makes a view with the provider: A accepts its tokens beside others, only its tokens, or is like A with another
// setting.
func (w *rsWorld) publishProvider(p *rsProvider, change func(b *view.Builder)) {
	w.publish(func(b *view.Builder) {
		for _, name := range []string{"u1", "u2", "gone"} {
			b.PutUser(name, &view.User{
				Name: name, UID: "uid-" + name, Deactivated: name == "gone", Identities: []view.Identity{{Issuer: p.issuer, Subject: "sub-" + name[len(name)-1:]}},
			})
		}
		b.PutProvider("okta", p.provided())
		put := func(g compile.Gateway) {
			g.UID = "uid-" + g.Name
			tools := []*view.Tool{aTool("srv", "echo", `{"name":"echo"}`)}
			write := aTool("srv", "write", `{"name":"write"}`)
			write.RequiredScopes = []string{"mcp:write"}
			b.PutGateway(&view.Gateway{Gateway: g, Tools: append(tools, write)})
		}
		eng, all := view.Visibility{Teams: []string{"eng"}}, view.Visibility{Organization: true}
		put(compile.Gateway{Name: "eng", DisplayName: "Engineering", Visibility: eng, OAuth: true, BearerTokens: true, JWKS: p.accepts("eng")})
		put(compile.Gateway{Name: "support", DisplayName: "Support", Visibility: all, JWKS: p.accepts("support")})
		put(compile.Gateway{Name: "oauth", Visibility: all, OAuth: true})
		put(compile.Gateway{Name: "strict", Visibility: all, JWKS: p.accepts("eng", func(i *view.JWKSIssuer) {
			i.RequireATJWT, i.RequiredClaims = true, map[string]string{"env": "prod", "level": "3", "ok": "true"}
		})})
		put(compile.Gateway{Name: "lenient", Visibility: all, JWKS: p.accepts("eng", func(i *view.JWKSIssuer) {
			i.AcceptIDTokens, i.AcceptMissingScope, i.Audiences = true, true, append(i.Audiences, "penstock-login")
		})})
		put(compile.Gateway{Name: "oid", Visibility: all, JWKS: p.accepts("eng", func(i *view.JWKSIssuer) {
			i.SubjectClaim, i.ScopeClaims = "oid", []string{"roles"}
		})})
		put(compile.Gateway{Name: "elsewhere", Visibility: all, JWKS: []view.JWKSIssuer{{Provider: "gone", Audiences: []string{rsRA}, SubjectClaim: "sub"}}})
		change(b)
	})
}

// jwksRow is a token and the exact answer to a call of a tool with it.
type jwksRow struct {
	id, name, token string
	gateway, tool   string // eng, echo unless set
	status          int
	challenge, body string // exact; empty for a call that works
}

// jwksRows are JW-1 to JW-5, JW-9, JW-11, JW-12 and what concerns these tokens in RS and §16.
func jwksRows(w *rsWorld, p *rsProvider) []jwksRow {
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	type m = map[string]any
	token := func(changes m) string { return p.token("es", changes) }
	challenge := func(gateway string) string { return strings.ReplaceAll(rsInvalid, "/eng", "/"+gateway) }
	good := func(id, name, gateway, token string) jwksRow {
		return jwksRow{id: id, name: name, gateway: gateway, token: token, status: 200}
	}
	bad := func(id, name, token string) jwksRow {
		return jwksRow{id: id, name: name, token: token, status: 401, challenge: rsInvalid, body: rsInvalidBody}
	}
	badAt := func(id, name, gateway, token string) jwksRow {
		return jwksRow{id: id, name: name, gateway: gateway, token: token, status: 401, challenge: challenge(gateway), body: rsInvalidBody}
	}
	expired := func(r jwksRow) jwksRow {
		const was, is = "is invalid or expired", "has expired"
		r.challenge, r.body = strings.Replace(r.challenge, was, is, 1), strings.Replace(r.body, was, is, 1)
		return r
	}
	denied := func(id, name, token string) jwksRow {
		return jwksRow{id: id, name: name, token: token, status: 403, challenge: "Bearer", body: `{"error":"gateway_access_denied","error_description":"You may not use this gateway"}`}
	}
	lacks := func(id, name, gateway, tool, scopes, token string) jwksRow {
		return jwksRow{
			id: id, name: name, gateway: gateway, tool: tool, token: token, status: 403,
			challenge: `Bearer resource_metadata="https://gw.example.com/.well-known/oauth-protected-resource/v1/mcp/` + gateway + `", scope="` + scopes +
				`", error="insufficient_scope", error_description="The token lacks a scope that this request needs: ` + scopes + `"`,
		}
	}
	valid := token(nil)
	parts := strings.Split(valid, ".")
	forged := func(header string, sign func(text string) []byte) string {
		text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1]
		return text + "." + base64.RawURLEncoding.EncodeToString(sign(text))
	}
	none := func(string) []byte { return []byte("x") }
	hs := func(text string) []byte {
		public, _ := json.Marshal(jose.JSONWebKey{Key: p.keys["es"].Public()}) //nolint:errchkjson // a key of this test
		mac := hmac.New(sha256.New, public)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	attacker := jose.JSONWebKey{Key: p.keys["new"].Public(), KeyID: "es"}
	notInSet := p.token("new", m{"h:kid": "es", "h:jwk": attacker, "h:jku": "https://evil.example/keys", "h:x5u": "https://evil.example/x"})
	repeated := strings.Replace(string(decoded(w.t, parts[1])), "{", `{"aud":"`+rsRA+`",`, 1)
	rows := []jwksRow{
		good("JW-1", "as it should be", "eng", valid),
		good("JW-1", "with RS256", "eng", p.token("rs", nil)),
		good("JW-1", "with EdDSA", "eng", p.token("ed", nil)),
		good("JW-1", "only jwks is on", "support", token(m{"aud": rsRB})),
		bad("JW-1", "unknown issuer", token(m{"iss": "https://other.example"})),
		bad("JW-1", "issuer with a slash", token(m{"iss": p.issuer + "/"})),
		bad("JW-1", "issuer in capitals", token(m{"iss": strings.ToUpper(p.issuer)})),
		bad("JW-1", "issuer is a list", token(m{"iss": []string{p.issuer}})),
		bad("JW-1", "no issuer", token(m{"iss": nil})),
		badAt("JW-1", "issuer of another gateway", "oauth", valid),
		badAt("JW-1", "claim of the provider is another", "lenient", token(m{"tid": "t2"})),
		badAt("JW-1", "claim of the provider is missing", "lenient", token(m{"tid": nil})),
		good("JW-1", "claims of the gateway", "strict", token(m{"env": "prod", "level": 3, "ok": true})),
		badAt("JW-1", "claim of the gateway is another", "strict", token(m{"env": "dev", "level": 3, "ok": true})),
		badAt("JW-1", "claim of the gateway is a list", "strict", token(m{"env": []string{"prod"}, "level": 3, "ok": true})),
		badAt("JW-1", "claim of the gateway is missing", "strict", token(m{"env": "prod", "ok": true})),
		good("JW-1", "other claims of subject and scope", "oid", token(m{"sub": "x", "oid": "sub-1", "roles": []string{"mcp"}})),
		badAt("JW-1", "no other claim of subject", "oid", token(m{"roles": []string{"mcp"}})),
		bad("JW-2", "token for B at A", token(m{"aud": rsRB})),
		badAt("JW-2", "token for A at B (RS-15, N130)", "support", valid),
		good("JW-2", "audience among others", "eng", token(m{"aud": []string{"x", rsRA}})),
		bad("JW-2", "prefix of the audience", token(m{"aud": rsRA + "/"})),
		bad("JW-2", "no audience", token(m{"aud": nil})),
		bad("JW-2", "empty list of audiences", token(m{"aud": []string{}})),
		bad("JW-2", "audience is no text", token(m{"aud": []any{1, rsRA}})),
		bad("JW-3", "alg none (N133)", forged(`{"alg":"none","kid":"es"}`, none)),
		bad("JW-3", "HS256 with the public key (N133)", forged(`{"alg":"HS256","kid":"es"}`, hs)),
		bad("JW-3", "alg that is not allowed", forged(`{"alg":"ES384","kid":"es"}`, none)),
		bad("JW-3", "alg of another kind of key", forged(`{"alg":"RS256","kid":"es"}`, none)),
		bad("JW-3", "embedded key of somebody else", notInSet),
		good("JW-3", "embedded key is not looked at", "eng", token(m{"h:jwk": attacker})),
		bad("JW-3", "crit", token(m{"h:crit": []string{"x"}, "h:x": 1})),
		bad("JW-3", "zip", token(m{"h:zip": "DEF"})),
		bad("JW-3", "encrypted", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..a.b.c"),
		bad("JW-3", "claim twice", parts[0]+"."+base64.RawURLEncoding.EncodeToString([]byte(repeated))+"."+parts[2]),
		bad("JW-3", "changed claims", parts[0]+"."+strings.Split(token(m{"sub": "sub-2"}), ".")[1]+"."+parts[2]),
		bad("JW-3", "bound to a key", token(m{"cnf": m{"jkt": "x"}})),
		bad("JW-4", "ID token: nonce (N131)", token(m{"h:typ": "JWT", "nonce": "n"})),
		bad("JW-4", "ID token: at_hash", token(m{"h:typ": nil, "at_hash": "n"})),
		badAt("JW-4", "ID token: audience of the login", "strict", token(m{"env": "prod", "level": 3, "ok": true, "aud": []string{rsRA, "penstock-login"}})),
		bad("JW-4", "ID token of Keycloak", token(m{"h:typ": "JWT", "typ": "ID"})),
		bad("JW-4", "ID token of Cognito", token(m{"h:typ": nil, "token_use": "id"})),
		good("JW-4", "ID token where they count", "lenient", token(m{"h:typ": "JWT", "nonce": "n", "aud": "penstock-login", "scope": nil})),
		good("JW-4", "typ JWT", "eng", token(m{"h:typ": "JWT"})),
		good("JW-4", "no typ", "eng", token(m{"h:typ": nil})),
		good("JW-4", "typ in full and capitals", "strict", token(m{"h:typ": "application/AT+JWT", "env": "prod", "level": 3, "ok": true})),
		badAt("JW-4", "typ JWT where at+jwt is demanded", "strict", token(m{"h:typ": "JWT", "env": "prod", "level": 3, "ok": true})),
		bad("JW-5", "no exp", token(m{"exp": nil})),
		expired(bad("JW-5", "expired 61 s ago", token(m{"iat": at(-time.Hour), "exp": at(-61 * time.Second)}))),
		good("JW-5", "expired within the skew", "eng", token(m{"iat": at(-time.Hour), "exp": at(-58 * time.Second)})),
		bad("JW-5", "no iat", token(m{"iat": nil})),
		bad("JW-5", "issued in 61 s", token(m{"iat": at(61 * time.Second)})),
		bad("JW-5", "not before 61 s from now", token(m{"nbf": at(61 * time.Second)})),
		good("JW-5", "fractions of seconds", "eng", token(m{"iat": float64(at(-time.Minute)) + 0.5, "nbf": float64(at(-time.Minute)) + 0.25})),
		expired(bad("JW-5", "too old", token(m{"iat": at(-25 * time.Hour)}))),
		bad("JW-5", "exp is text", token(m{"exp": "9999999999"})),
		bad("JW-5", "exp is infinite", token(m{"exp": json.Number("1e300")})),
		bad("JW-9", "no kid, several keys", token(m{"h:kid": nil})),
		bad("JW-9", "empty kid", token(m{"h:kid": ""})),
		bad("JW-11", "deactivated user", token(m{"sub": "sub-e"})),
		denied("JW-11", "account of nobody", token(m{"sub": "sub-9"})),
		denied("JW-11", "groups elsewhere, and not in the team", token(m{"sub": "sub-2", "_claim_names": m{"groups": "src1"}, "hasgroups": true})),
		good("JW-11", "groups elsewhere, in the team: the directory counts", "eng", token(m{"_claim_names": m{"groups": "src1"}})),
		denied("JW-11", "groups of the token are none", token(m{"sub": "sub-2", "groups": []string{"eng"}})),
		bad("JW-11", "no subject", token(m{"sub": nil})),
		bad("JW-11", "empty subject", token(m{"sub": ""})),
		bad("JW-11", "subject is no text", token(m{"sub": 1})),
		denied("JW-12", "not in the team", token(m{"sub": "sub-2"})),
		lacks("JW-12", "no scope (RS-19)", "eng", "", "mcp", token(m{"scope": nil})),
		lacks("JW-12", "another scope", "lenient", "", "mcp", token(m{"scope": "openid"})),
		good("JW-12", "missing scope where it is taken", "lenient", token(m{"scope": nil})),
		good("JW-12", "scp, as Entra has it", "eng", token(m{"scope": nil, "scp": "openid mcp"})),
		good("JW-12", "scp is a list, as Okta has it", "eng", token(m{"scope": nil, "scp": []string{"openid", "mcp"}})),
		lacks("JW-12", "scope counts before scp", "eng", "", "mcp", token(m{"scope": "openid", "scp": "mcp"})),
		lacks("N136", "step-up", "eng", "write", "mcp mcp:write", valid),
		{id: "JW-12", name: "all scopes", tool: "write", token: token(m{"scope": "mcp mcp:write"}), status: 200},
		bad("RS-20", "own issuer and a key of the provider", token(m{"iss": rsIssuer})),
		bad("RS-20", "token of the authserver with a signature that is not good", w.token(nil)[:len(w.token(nil))-4]+"AAAA"),
		good("RS-20", "token of the authserver beside it", "eng", w.token(nil)),
		badAt("RS-20", "token of the authserver where only jwks is on", "support", w.token(m{"aud": rsRB})),
		badAt("RS-20", "static token where only jwks is on", "support", w.static["u1"]),
		badAt("RS-20", "neither shape where only jwks is on", "support", "opaque"),
		bad("N134", "kid with a path", p.token("es", m{"h:kid": "../../etc/passwd"})),
		bad("N134", "kid of 10 KiB", p.token("es", m{"h:kid": strings.Repeat("x", 10<<10)})),
		bad("N134", "kid with SQL", p.token("es", m{"h:kid": "' OR 1=1 --"})),
		bad("N131", "longer than 16 KiB", p.token("es", m{"x": strings.Repeat("x", 16<<10)})),
	}
	for _, typ := range []string{"oauth-id-jag+jwt", "dpop+jwt", "secevent+jwt", "logout+jwt", "application/logout+jwt", "client-authentication+jwt"} {
		rows = append(rows, bad("JW-4", "typ "+typ+" (N131)", token(m{"h:typ": typ})))
	}
	return rows
}

func decoded(t *testing.T, part string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestIdentityProviderTokens is auth.md §7 as clients see it: each row is a call of a tool.
func TestIdentityProviderTokens(t *testing.T) {
	p := newRSProvider(t)
	p.show("es", "rs", "ed")
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
		w.publishProvider(p, func(*view.Builder) {})
		for _, row := range jwksRows(w, p) {
			for _, when := range []string{"", " again, out of the cache"} {
				gateway, tool := row.gateway, "srv__"+row.tool
				if gateway == "" {
					gateway = "eng"
				}
				if row.tool == "" {
					tool = "srv__echo"
				}
				got := w.call(gateway, tool, row.token)
				if got.status != row.status || got.challenge() != row.challenge || row.body != "" && got.body != row.body {
					t.Errorf("%s %s%s: %d\n%s\n%s", row.id, row.name, when, got.status, got.challenge(), got.body)
				}
				if strings.Contains(got.challenge(), "eyJ") {
					t.Errorf("%s %s: the challenge holds the token", row.id, row.name)
				}
			}
		}
		if n := p.fetches.Load(); n > 2 {
			t.Errorf("the keys were fetched %d times", n)
		}
	})
}

// RS-1, RS-3: what a client that has no token is told, and where it finds out who issues them.
func TestIdentityProviderMetadata(t *testing.T) {
	p := newRSProvider(t)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
		w.publishProvider(p, func(*view.Builder) {})
		const body = `{"resource":"https://gw.example.com/v1/mcp/%s","authorization_servers":[%s],"scopes_supported":["mcp","mcp:write"],"bearer_methods_supported":["header"],"resource_name":"%s"}`
		for _, tt := range []struct{ name, gateway, want string }{
			{"after the authserver", "eng", fmt.Sprintf(body, "eng", `"`+rsIssuer+`","`+p.issuer+`"`, "Engineering")},
			{"alone", "support", fmt.Sprintf(body, "support", `"`+p.issuer+`"`, "Support")},
			{"provider that is off", "elsewhere", ""},
		} {
			got := w.do("GET", rsMetadata+tt.gateway, "")
			if want := map[bool]int{true: 404, false: 200}[tt.want == ""]; got.status != want || tt.want != "" && got.body != tt.want {
				t.Errorf("%s: %d %s", tt.name, got.status, got.body)
			}
		}
		if got := w.do("POST", "/v1/mcp/support", "{}"); got.status != 401 || got.challenge() != strings.ReplaceAll(rsGolden, "/eng", "/support") {
			t.Errorf("without a token: %d %s", got.status, got.challenge())
		}
		if got := w.do("POST", "/v1/mcp/elsewhere", "{}"); got.status != 401 || got.challenge() != "Bearer" || !strings.Contains(got.body, "gateway_not_ready") {
			t.Errorf("with a provider that is off: %d %s %s", got.status, got.challenge(), got.body)
		}
	})
}

// Whatever the view says beats the cache: users, teams, providers and gateways that change between two calls.
func TestIdentityProviderViewBeatsCache(t *testing.T) {
	p := newRSProvider(t)
	for _, tt := range []struct {
		name   string
		status int
		do     func(w *rsWorld, b *view.Builder)
	}{
		{"nothing", 200, nil},
		{"user deactivated", 401, func(_ *rsWorld, b *view.Builder) {
			b.PutUser("u1", &view.User{Name: "u1", UID: "uid-u1", Deactivated: true, Identities: []view.Identity{{Issuer: p.issuer, Subject: "sub-1"}}})
		}},
		{"account taken away", 403, func(_ *rsWorld, b *view.Builder) { b.PutUser("u1", &view.User{Name: "u1", UID: "uid-u1"}) }},
		{"user deleted", 403, func(_ *rsWorld, b *view.Builder) { b.PutUser("u1", nil) }},
		{"out of the team", 403, func(_ *rsWorld, b *view.Builder) { b.PutTeam("eng", &view.Team{Name: "eng", UID: "t-eng"}) }},
		{"provider off", 401, func(_ *rsWorld, b *view.Builder) { b.PutProvider("okta", nil) }},
		{"another algorithm", 401, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.Algorithms = []string{"RS256"}
			b.PutProvider("okta", provider)
		}},
		{"another claim", 401, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.RequiredClaims = map[string]string{"tid": "t2"}
			b.PutProvider("okta", provider)
		}},
		{"younger tokens only", 401, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.MaxTokenAge = time.Minute
			b.PutProvider("okta", provider)
		}},
		{"keys elsewhere, where there are none", 503, func(_ *rsWorld, b *view.Builder) {
			provider := p.provided()
			provider.KeysURL = p.issuer + "/nothing"
			b.PutProvider("okta", provider)
		}},
		{"another audience", 401, func(_ *rsWorld, b *view.Builder) {
			b.PutGateway(&view.Gateway{Gateway: compile.Gateway{
				Name: "eng", UID: "uid-eng", OAuth: true, Visibility: view.Visibility{Teams: []string{"eng"}}, JWKS: p.accepts("other"),
			}})
		}},
		{"user denied", 401, func(w *rsWorld, _ *view.Builder) {
			w.node.holder.Deny(w.revision+9, []view.Key{{Kind: "user", Name: "u1"}})
		}},
		{"provider denied", 401, func(w *rsWorld, _ *view.Builder) {
			w.node.holder.Deny(w.revision+9, []view.Key{{Kind: "identity_provider", Name: "okta"}})
		}},
		{"degraded for a day (RS-12)", 503, func(w *rsWorld, _ *view.Builder) { w.stale.Store(int64(25 * time.Hour)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
				w.publishProvider(p, func(*view.Builder) {})
				token := p.token("es", nil)
				if got := w.call("eng", "srv__echo", token); got.status != 200 {
					t.Fatalf("before: %d %s", got.status, got.body)
				}
				time.Sleep(3 * time.Minute)
				if tt.do != nil {
					w.publishProvider(p, func(b *view.Builder) { tt.do(w, b) })
				}
				if tt.status == 503 || strings.Contains(tt.name, "denied") {
					tt.do(w, view.From(nil)) // after the view, which would be newer
				}
				if got := w.call("eng", "srv__echo", token); got.status != tt.status {
					t.Errorf("afterwards: %d %s", got.status, got.body)
				}
			})
		})
	}
}

// JW-6 to JW-10 on a node: how keys come and go. Every answer but a good one leaves the keys that there were.
func TestIdentityProviderKeys(t *testing.T) {
	p := newRSProvider(t)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
		w.publishProvider(p, func(*view.Builder) {})
		expect := func(when, kid string, want int) {
			t.Helper()
			if got := w.call("eng", "srv__echo", p.token(kid, nil)); got.status != want {
				t.Errorf("%s: %d %s", when, got.status, got.body)
			}
		}
		expect("at first", "es", 200)
		old := p.token("es", map[string]any{"exp": time.Now().Add(20 * time.Hour).Unix()})
		p.show("es", "new")
		expect("a new key within 10 s of a fetch", "new", 401)
		time.Sleep(11 * time.Second)
		expect("a new key (JW-8)", "new", 200)
		before := p.fetches.Load()
		for range 300 {
			w.call("eng", "srv__echo", p.token("es", map[string]any{"h:kid": rand.Text()}))
			time.Sleep(200 * time.Millisecond)
		}
		if n := p.fetches.Load() - before; n > 6 {
			t.Errorf("300 kids of nobody in a minute made %d fetches (JW-8)", n)
		}
		p.show("new")
		if got := w.call("eng", "srv__echo", old); got.status != 200 {
			t.Errorf("before the keys were fetched anew: %d", got.status)
		}
		time.Sleep(15*time.Minute + time.Second)
		if got := w.call("eng", "srv__echo", old); got.status != 401 {
			t.Errorf("a token that was verified with a key that is gone (JW-10): %d", got.status)
		}
		w.failed.Store(0)
		p.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 10<<20)) })
		time.Sleep(16 * time.Minute)
		expect("10 MB of key set (JW-6)", "new", 200)
		if w.failed.Load() == 0 {
			t.Error("nobody was told of the failure (JW-6)")
		}
		p.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		time.Sleep(time.Hour)
		expect("an hour without the provider (JW-7)", "new", 200)
		time.Sleep(24 * time.Hour)
		expect("a day without the provider", "new", 503)
		p.answers(nil)
		time.Sleep(61 * time.Second)
		expect("the provider is back", "new", 200)
		p.show("es")
		w.publishProvider(p, func(*view.Builder) {}) // the provider was written: its keys are fetched anew (JW-10)
		time.Sleep(time.Second)
		expect("a key that is gone after a change of the provider", "new", 401)
		expect("the only key that is left", "es", 200)
		if got := w.call("eng", "srv__echo", p.token("es", map[string]any{"h:kid": nil})); got.status != 200 {
			t.Errorf("JW-9, no kid and one key: %d", got.status)
		}
	})
}

// JW-13, RS-13, N142: the token reaches no server.
func TestIdentityProviderTokenIsNotPassedOn(t *testing.T) {
	p := newRSProvider(t)
	inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
		w.publishProvider(p, func(*view.Builder) {})
		token := p.token("es", nil)
		w.origin.take()
		if got := w.call("eng", "srv__echo", token, "Cookie: s="+token); got.status != 200 || strings.Contains(got.body, token) {
			t.Fatalf("%d %s", got.status, got.body)
		}
		sent := w.origin.take()
		if len(sent) == 0 {
			t.Fatal("the server was not asked")
		}
		for _, r := range sent {
			text := fmt.Sprint(r)
			for _, part := range append(strings.Split(token, "."), token) {
				if strings.Contains(text, part) {
					t.Error("a part of the token was passed on")
				}
			}
			if r.header.Get("Authorization") != "" {
				t.Error("Authorization was passed on")
			}
		}
	})
}

// RS-11, N139: streams end with the token, when it is too old, and when the key is gone.
func TestIdentityProviderStreams(t *testing.T) {
	p := newRSProvider(t)
	for _, stream := range rsStreams() {
		for _, tt := range []struct {
			name   string
			at     time.Duration
			claims map[string]any
			do     func(w *rsWorld)
		}{
			{"expired", 10 * time.Minute, map[string]any{}, func(*rsWorld) {}},
			{"user denied", time.Minute, map[string]any{}, func(w *rsWorld) { w.node.holder.Deny(99, []view.Key{{Kind: "user", Name: "u1"}}) }},
			{"provider denied", time.Minute, map[string]any{}, func(w *rsWorld) {
				w.node.holder.Deny(99, []view.Key{{Kind: "identity_provider", Name: "okta"}})
			}},
		} {
			t.Run(stream.kind+", "+tt.name, func(t *testing.T) {
				inRS(t, rsOptions{maxStale: 24 * time.Hour, idp: p}, func(w *rsWorld) {
					w.publishProvider(p, func(*view.Builder) {})
					tt.claims["exp"] = time.Now().Add(10 * time.Minute).Unix()
					token := p.token("es", tt.claims)
					if got := w.lasts(stream, token, tt.at, func() { tt.do(w) }); got < tt.at || got > tt.at+5*time.Second {
						t.Errorf("ended after %s", got)
					}
				})
			})
		}
	}
}
