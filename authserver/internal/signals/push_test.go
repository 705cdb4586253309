// SPDX-License-Identifier: Apache-2.0

package signals_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const secevent = "application/secevent+jwt"

// said is the body of a refusal.
func said(t *testing.T, rec *httptest.ResponseRecorder) string {
	t.Helper()
	var body struct{ Err, Description string }
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || body.Description == "" {
		t.Errorf("%d %q is no error of RFC 8935: %v", rec.Code, rec.Body, err)
	}
	if rec.Header().Get("Content-Type") != "application/json" || rec.Header().Get("Content-Language") != "en" {
		t.Errorf("headers %v", rec.Header())
	}
	return body.Err
}

// TestRefusals is SF-1: everything that is no event of the provider, with its exact answer, and nothing is done.
func TestRefusals(t *testing.T) {
	set := func(name string, value any) func(p *idp) string {
		return func(p *idp) string {
			return p.set(func(c claims) {
				if c[name] = value; value == nil {
					delete(c, name)
				}
			})
		}
	}
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	many := claims{}
	for i := range 11 {
		many[fmt.Sprint("https://e.example/", i)] = claims{}
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	typ := func(typ string) func(p *idp) string {
		return func(p *idp) string { return p.sign(typ, p.key, "k1", nil) }
	}
	for _, tt := range []struct {
		name  string
		token func(p *idp) string
		err   string
		audit string
	}{
		{"typ of an ID token", typ("JWT"), "invalid_request", "wrong_type"},
		{"no typ", typ(""), "invalid_request", "wrong_type"},
		{"typ of an access token", typ("at+jwt"), "invalid_request", "wrong_type"},
		{"typ of a logout token", typ("logout+jwt"), "invalid_request", "wrong_type"},
		{"no token", func(*idp) string { return "" }, "invalid_request", "wrong_type"},
		{"no JWT", func(*idp) string { return "a.b.c" }, "invalid_request", "wrong_type"},
		{"two parts", func(p *idp) string {
			whole := p.set(nil)
			return whole[:strings.LastIndexByte(whole, '.')]
		}, "invalid_request", "not_signed"},
		{"unsigned", func(p *idp) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"secevent+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(p.claims(nil)) + "."
		}, "invalid_request", "not_signed"},
		{"HMAC", func(p *idp) string { return p.sign("secevent+jwt", []byte(strings.Repeat("k", 32)), "k1", nil) }, "invalid_request", "not_signed"},
		{"another key under its kid", func(p *idp) string { return p.sign("secevent+jwt", stranger, "k1", nil) }, "invalid_key", "signature_invalid"},
		{"an unknown kid", func(p *idp) string { return p.sign("secevent+jwt", p.key, "k2", nil) }, "invalid_key", "key_unknown"},
		{"changed", func(p *idp) string {
			parts := strings.Split(p.set(nil), ".")
			parts[1] = base64.RawURLEncoding.EncodeToString(p.claims(nil))
			return strings.Join(parts, ".")
		}, "invalid_key", "signature_invalid"},
		{"another issuer", set("iss", "https://evil.example"), "invalid_issuer", "another_issuer"},
		{"no issuer", set("iss", nil), "invalid_issuer", "another_issuer"},
		{"another audience", set("aud", "https://other.example"), "invalid_audience", "another_audience"},
		{"the client as the audience", set("aud", "c"), "invalid_audience", "another_audience"},
		{"no audience", set("aud", nil), "invalid_audience", "another_audience"},
		{"no jti", set("jti", nil), "invalid_request", "jti_invalid"},
		{"a long jti", set("jti", strings.Repeat("j", 257)), "invalid_request", "jti_invalid"},
		{"a jti that is a number", set("jti", 7), "invalid_request", "claims_unreadable"},
		{"no iat", set("iat", nil), "invalid_request", "iat_missing"},
		{"ahead", set("iat", at(2*time.Minute)), "invalid_request", "iat_out_of_bounds"},
		{"old", set("iat", at(-8*24*time.Hour)), "invalid_request", "iat_out_of_bounds"},
		{"a year that no clock shows", set("iat", 1e300), "invalid_request", "iat_out_of_bounds"},
		{"a text as a time", set("iat", "now"), "invalid_request", "claims_unreadable"},
		{"expired", set("exp", at(-2*time.Minute)), "invalid_request", "expired"},
		{"no events", set("events", nil), "invalid_request", "events_invalid"},
		{"empty events", set("events", claims{}), "invalid_request", "events_invalid"},
		{"many events", set("events", many), "invalid_request", "events_invalid"},
		{"an event that is null", set("events", claims{caep + "session-revoked": nil}), "invalid_request", "events_invalid"},
		{"an event that is a text", set("events", claims{caep + "session-revoked": "x"}), "invalid_request", "events_invalid"},
		{"a subject that is a text", set("sub_id", "ada"), "invalid_request", "claims_unreadable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			got := w.push("okta", secevent, tt.token(w.idp))
			if got.Code != 400 || said(t, got) != tt.err || len(w.people.seen()) != 0 {
				t.Errorf("%d %s, done: %q", got.Code, got.Body, w.people.seen())
			}
			if events := w.events(); !slices.Equal(events, []string{"ssf.refused refused " + tt.audit + " "}) {
				t.Errorf("recorded %q, want %q", events, tt.audit)
			}
		})
	}
}

// TestRequests: what is no request, and what cannot be done now.
func TestRequests(t *testing.T) {
	w := newWorld(t)
	good := w.idp.set(nil)
	for _, tt := range []struct {
		name, provider, kind, body string
		status                     int
	}{
		{"another content type", "okta", "application/jwt", good, 415},
		{"JSON", "okta", "application/json", good, 415},
		{"no content type", "okta", "", good, 415},
		{"too long", "okta", secevent, strings.Repeat("a", 65<<10), 413},
		{"no such provider", "nobody", secevent, good, 400},
		{"a provider without signals", "quiet", secevent, good, 400},
	} {
		if got := w.push(tt.provider, tt.kind, tt.body); got.Code != tt.status || said(t, got) != "invalid_request" || len(w.people.seen()) != 0 {
			t.Errorf("%s: %d %s", tt.name, got.Code, got.Body)
		}
	}
	polled := withPolling(t)
	if got := polled.push("okta", secevent, polled.idp.set(nil)); got.Code != 400 || len(polled.people.seen()) != 0 {
		t.Errorf("a provider that is polled: %d %s", got.Code, got.Body)
	}

	w.people.fail(fault.New(fault.Unavailable, "STORE_UNAVAILABLE", "x"))
	if got := w.push("okta", secevent, good); got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("the store is away: %d %s", got.Code, got.Body)
	}
	w.people.fail(nil)
	if got := w.push("okta", secevent, good); got.Code != 202 || got.Body.Len() != 0 || len(w.people.seen()) != 1 {
		t.Errorf("sent again: %d %s, done %q", got.Code, got.Body, w.people.seen())
	}

	away := newWorld(t)
	away.idp.with(func() { away.idp.away = true })
	if got := away.push("okta", secevent, away.idp.set(nil)); got.Code != 503 || got.Header().Get("Retry-After") == "" {
		t.Errorf("the keys are away: %d %s", got.Code, got.Body)
	}
	away.view = nil
	if got := away.push("okta", secevent, away.idp.set(nil)); got.Code != 503 {
		t.Errorf("no directory yet: %d %s", got.Code, got.Body)
	}

	flood := newWorld(t)
	for range 20 {
		flood.push("okta", secevent, "a.b.c")
	}
	if got := flood.push("okta", secevent, flood.idp.set(nil)); got.Code != 429 || got.Header().Get("Retry-After") == "" || len(flood.people.seen()) != 0 {
		t.Errorf("after many refusals: %d %s", got.Code, got.Body)
	}
}

// TestActions is SF-1: what each event does to whom.
func TestActions(t *testing.T) {
	const logOut, gone = "log out uid-ada of okta", "await 7"
	off := []string{"put okta uid-ada active=false signal=true", gone, "revoke uid-ada"}
	subject := func(s any) func(c claims) { return func(c claims) { c["sub_id"] = s } }
	account := func(p *idp, sub string) claims { return claims{"format": "iss_sub", "iss": p.url, "sub": sub} }
	email := claims{"format": "email", "email": "Ada@example.com"}
	trusted := func(p *directory.Provider) { p.TrustsEmail = true }
	domain := func(p *directory.Provider) { p.TrustsEmail, p.EmailDomains = true, []string{"corp.example"} }
	event := func(kind string) func(p *idp) func(c claims) {
		return func(*idp) func(c claims) { return func(c claims) { c["events"] = claims{kind: claims{}} } }
	}
	about := func(kind string, s func(p *idp) any) func(p *idp) func(c claims) {
		return func(p *idp) func(c claims) {
			return func(c claims) { c["events"] = claims{kind: claims{}}; subject(s(p))(c) }
		}
	}
	fixed := func(s any) func(*idp) any { return func(*idp) any { return s } }
	of := func(sub string) func(*idp) any { return func(p *idp) any { return account(p, sub) } }
	for _, tt := range []struct {
		name     string
		provider func(*directory.Provider)
		change   func(p *idp) func(c claims)
		done     []string
		audit    string
	}{
		{"session-revoked", nil, event(caep + "session-revoked"), []string{logOut}, "ssf.session_revoked ok  uid-ada"},
		{"credential-change", nil, event(caep + "credential-change"), []string{logOut}, "ssf.credential_change ok  uid-ada"},
		{"account-disabled", nil, event(risc + "account-disabled"), off, "ssf.account_disabled ok  uid-ada"},
		{"account-purged", nil, event(risc + "account-purged"), off, "ssf.account_purged ok  uid-ada"},
		{"account-disabled of whom another one provisions", nil, about(risc+"account-disabled", of("sub-bob")), []string{"log out uid-bob of okta"}, "ssf.account_disabled ok  uid-bob"},
		{"account-enabled", nil, event(risc + "account-enabled"), nil, "ssf.account_enabled ok ignored uid-ada"},
		{"verification", nil, about(ssf+"verification", fixed(claims{"format": "opaque", "id": "stream"})), nil, "ssf.verification ok ignored "},
		{"stream-updated", nil, about(ssf+"stream-updated", fixed(claims{"format": "opaque", "id": "stream"})), nil, "ssf.stream_updated ok ignored "},
		{"an event of another kind", nil, event("https://schemas.openid.net/secevent/caep/event-type/assurance-level-change"), nil, ""},
		{"an event that is like one", nil, event("https://evil.example/session-revoked"), nil, ""},

		{"somebody unknown", nil, about(caep+"session-revoked", of("sub-9")), nil, "ssf.session_revoked ok nobody "},
		{"somebody deactivated", nil, about(risc+"account-disabled", of("sub-eve")), nil, "ssf.account_disabled ok nobody "},
		{"an account elsewhere", nil, about(caep+"session-revoked", fixed(claims{"format": "iss_sub", "iss": "https://other.example", "sub": "sub-ada"})), nil, "ssf.session_revoked ok nobody "},
		{"no subject", nil, about(caep+"session-revoked", fixed(nil)), nil, "ssf.session_revoked ok nobody "},
		{"a subject of another form", nil, about(caep+"session-revoked", fixed(claims{"format": "phone_number", "phone_number": "+1"})), nil, "ssf.session_revoked ok nobody "},
		{"an address, not trusted", nil, about(caep+"session-revoked", fixed(email)), nil, "ssf.session_revoked ok nobody "},
		{"an address, trusted", trusted, about(caep+"session-revoked", fixed(email)), []string{logOut}, "ssf.session_revoked ok  uid-ada"},
		{"an address of another domain", domain, about(caep+"session-revoked", fixed(email)), nil, "ssf.session_revoked ok nobody "},
		{"a complex subject, user", nil, about(caep+"session-revoked", func(p *idp) any {
			return claims{"format": "complex", "user": account(p, "sub-ada")}
		}), []string{logOut}, "ssf.session_revoked ok  uid-ada"},
		{"a complex subject, user and session", nil, about(caep+"session-revoked", func(p *idp) any {
			return claims{"format": "complex", "user": account(p, "sub-ada"), "session": claims{"format": "opaque", "id": "s1"}}
		}), []string{logOut}, "ssf.session_revoked ok  uid-ada"},
		{"a complex subject, session", nil, about(caep+"session-revoked", fixed(claims{"format": "complex", "session": claims{"format": "opaque", "id": "s1"}})), []string{"end session s1 of okta"}, "ssf.session_revoked ok  "},
		{"a complex subject, an unknown user's session", nil, about(caep+"session-revoked", func(p *idp) any {
			return claims{"format": "complex", "user": account(p, "sub-9"), "session": claims{"format": "opaque", "id": "s1"}}
		}), nil, "ssf.session_revoked ok nobody "},
		{"a change of credentials of a session", nil, about(caep+"credential-change", fixed(claims{"format": "complex", "session": claims{"format": "opaque", "id": "s1"}})), nil, "ssf.credential_change ok nobody "},
		{"a subject in the event", nil, func(p *idp) func(c claims) {
			return func(c claims) {
				delete(c, "sub_id")
				c["events"] = claims{caep + "session-revoked": claims{"subject": account(p, "sub-ada")}}
			}
		}, []string{logOut}, "ssf.session_revoked ok  uid-ada"},
		{"another audience that is configured", func(p *directory.Provider) { p.Signals.Audience = "https://ssf.example" }, func(*idp) func(c claims) {
			return func(c claims) { c["aud"] = "https://ssf.example" }
		}, []string{logOut}, "ssf.session_revoked ok  uid-ada"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var change []func(*directory.Provider)
			if tt.provider != nil {
				change = append(change, tt.provider)
			}
			w := newWorld(t, change...)
			token := w.idp.set(tt.change(w.idp))
			for range 2 { // a replay does nothing
				if got := w.push("okta", secevent, token); got.Code != 202 || got.Body.Len() != 0 {
					t.Fatalf("%d %s", got.Code, got.Body)
				}
			}
			if got := w.people.seen(); !slices.Equal(got, tt.done) {
				t.Errorf("done %q, want %q", got, tt.done)
			}
			want := []string{tt.audit}
			if tt.audit == "" {
				want = nil
			}
			if got := w.events(); !slices.Equal(got, want) {
				t.Errorf("recorded %q, want %q", got, want)
			}
		})
	}
}

// TestOnce: a token is acted upon once over all authservers, also after a failure, and a change that meets another one is made anew.
func TestOnce(t *testing.T) {
	w := newWorld(t)
	disabled := w.idp.set(func(c claims) { c["events"] = claims{risc + "account-disabled": claims{}} })
	w.people.meets = 2
	if got := w.push("okta", secevent, disabled); got.Code != 202 {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	if got := w.people.seen(); len(got) != 3 || got[2] != "revoke uid-ada" {
		t.Errorf("done %q", got)
	}
	w.r = w.another()
	if got := w.push("okta", secevent, disabled); got.Code != 202 || len(w.people.seen()) != 3 {
		t.Errorf("at another authserver: %d, done %q", got.Code, w.people.seen())
	}
	w.people.meets = 10
	if got := w.push("okta", secevent, w.idp.set(func(c claims) { c["events"] = claims{risc + "account-disabled": claims{}} })); got.Code != 500 {
		t.Errorf("a change that always meets another one: %d %s", got.Code, got.Body)
	}
	several := w.idp.set(func(c claims) {
		c["events"] = claims{caep + "session-revoked": claims{}, caep + "credential-change": claims{}}
	})
	if got := w.push("okta", secevent, several); got.Code != 202 || len(w.people.seen()) != 5 {
		t.Errorf("two events in one token: %d, done %q", got.Code, w.people.seen())
	}
}

// TestKeysEnd: a key that the provider has taken away counts no longer than a quarter of an hour (JW-10).
func TestKeysEnd(t *testing.T) {
	w := newWorld(t)
	if got := w.push("okta", secevent, w.idp.set(nil)); got.Code != 202 {
		t.Fatalf("%d %s", got.Code, got.Body)
	}
	w.idp.with(func() { w.idp.away = true })
	if got := w.push("okta", secevent, w.idp.set(nil)); got.Code != 202 {
		t.Errorf("while the provider is away: %d %s", got.Code, got.Body)
	}
	w.clock = func() time.Time { return time.Now().Add(15 * time.Minute) }
	if got := w.push("okta", secevent, w.idp.set(nil)); got.Code != 503 {
		t.Errorf("a quarter of an hour later: %d %s", got.Code, got.Body)
	}
}
