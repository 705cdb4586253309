// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const issuerURL = "https://auth.example.com"

// signer is an authserver's key, with everything that a token can be made of.
type signer struct {
	key    *ecdsa.PrivateKey
	kid    string
	asked  []string // kids
	absent bool     // the issuer is not known
}

func newSigner(t testing.TB) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	thumb := sha256.Sum256([]byte(t.Name()))
	return &signer{key: key, kid: base64.RawURLEncoding.EncodeToString(thumb[:])}
}

// Issuer implements Issuer.
func (s *signer) Issuer() string {
	if s.absent {
		return ""
	}
	return issuerURL
}

// Key implements Issuer.
func (s *signer) Key(_ context.Context, kid string) *ecdsa.PublicKey {
	s.asked = append(s.asked, kid)
	if kid != s.kid {
		return nil
	}
	return &s.key.PublicKey
}

// claims are those of a token of ada for eng, with changes; a nil value takes a claim away.
func claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": issuerURL, "sub": "uid-ada", "aud": "https://gw.example.com/v1/mcp/eng", "client_id": "https://client.example/oauth/c.json",
		"exp": now().Add(15 * time.Minute).Unix(), "iat": now().Unix(), "jti": "jti-1", "gid": "gid-1", "scope": "mcp", "pst_method": "oauth",
		"auth_time": now().Unix(), "amr": []string{"pwd"},
	}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func encode(v any) string {
	raw, ok := v.([]byte)
	if !ok {
		raw, _ = json.Marshal(v) //nolint:errchkjson // maps of this test
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// sign makes a token, whose header is the right one but for changes.
func (s *signer) sign(t testing.TB, claims any, header map[string]any) string {
	t.Helper()
	h := map[string]any{"alg": "ES256", "kid": s.kid, "typ": "at+jwt"}
	maps.Copy(h, header)
	maps.DeleteFunc(h, func(_ string, v any) bool { return v == nil })
	text := encode(h) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	r, sig, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	sig.FillBytes(raw[32:])
	return text + "." + encode(raw)
}

// withOAuth is a house whose gateways eng, all and mine have OAuth, with two clients that act as themselves.
func withOAuth(t testing.TB) *house {
	h := newHouse(t)
	b := view.From(h.holder.Load().View)
	for _, name := range []string{"eng", "all", "mine"} {
		old := h.holder.Load().Gateway(name)
		g := old.Gateway
		g.OAuth = true
		b.PutGateway(&view.Gateway{Gateway: g})
	}
	b.PutGateway(&view.Gateway{Gateway: compile.Gateway{Name: "managed", UID: "uid-managed", IDJAG: true, Visibility: compile.Visibility{Organization: true}}})
	for _, name := range []string{"robot", "retired"} {
		b.PutClient(name, &view.Client{
			Name: name, UID: "uid-" + name, Machine: true, Gateways: map[string]struct{}{"eng": {}, "managed": {}}, Scopes: []string{"mcp"}, Disabled: name == "retired",
		})
	}
	b.PutClient("ide", &view.Client{Name: "ide", UID: "uid-ide"})
	h.holder.Publish(b.Build("epoch", 2))
	return h
}

// managed is claims for the gateway managed, which has ID-JAG alone.
func managed(changes map[string]any) map[string]any {
	c := claims(map[string]any{"aud": "https://gw.example.com/v1/mcp/managed"})
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func robot(changes map[string]any) map[string]any {
	c := claims(map[string]any{"sub": "robot", "client_id": "robot", "pst_method": "client_credentials", "gid": nil})
	maps.Copy(c, changes)
	return c
}

// RS-10, RS-4, RS-15, RS-20 and N130 to N134: which access tokens count.
func TestAccessTokens(t *testing.T) {
	s := newSigner(t)
	other := newSigner(t)
	type m = map[string]any
	at := func(d time.Duration) int64 { return now().Add(d).Unix() }
	valid := s.sign(t, claims(nil), nil)
	parts := strings.Split(valid, ".")
	hs := hmac.New(sha256.New, elliptic.MarshalCompressed(s.key.Curve, s.key.X, s.key.Y))
	hsText := encode(m{"alg": "HS256", "kid": s.kid, "typ": "at+jwt"}) + "." + parts[1]
	hs.Write([]byte(hsText))
	der, err := ecdsa.SignASN1(rand.Reader, s.key, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, token, gateway string
		want                 string // principal key, or reason
	}{
		{"valid", valid, "eng", "user:uid-ada"},
		{"with nbf", s.sign(t, claims(m{"nbf": at(0)}), nil), "eng", "user:uid-ada"},
		{"type in the long form", s.sign(t, claims(nil), m{"typ": "application/at+jwt"}), "eng", "user:uid-ada"},
		{"wrong key", (&signer{key: other.key, kid: s.kid}).sign(t, claims(nil), nil), "eng", ReasonTokenInvalid},
		{"signature cut", valid[:len(valid)-4], "eng", ReasonTokenInvalid},
		{"no signature", parts[0] + "." + parts[1] + ".", "eng", ReasonTokenInvalid},
		{"signature in DER", parts[0] + "." + parts[1] + "." + encode(der), "eng", ReasonTokenInvalid},
		{"claims of another token", parts[0] + "." + encode(claims(m{"sub": "uid-bob"})) + "." + parts[2], "eng", ReasonTokenInvalid},
		{"alg none (N133)", encode(m{"alg": "none", "kid": s.kid, "typ": "at+jwt"}) + "." + parts[1] + ".", "eng", ReasonTokenInvalid},
		{"public key as HMAC secret (N133)", hsText + "." + encode(hs.Sum(nil)), "eng", ReasonTokenInvalid},
		{"alg missing", s.sign(t, claims(nil), m{"alg": nil}), "eng", ReasonTokenInvalid},
		{"typ missing: an id_token (N131)", s.sign(t, claims(nil), m{"typ": nil}), "eng", ReasonTokenInvalid},
		{"typ JWT: an id_token (N131)", s.sign(t, claims(nil), m{"typ": "JWT"}), "eng", ReasonTokenInvalid},
		{"ID-JAG (N131)", s.sign(t, claims(nil), m{"typ": "oauth-id-jag+jwt"}), "eng", ReasonTokenInvalid},
		{"logout token (N131)", s.sign(t, claims(nil), m{"typ": "logout+jwt"}), "eng", ReasonTokenInvalid},
		{"crit", s.sign(t, claims(nil), m{"crit": []string{"b64"}, "b64": true}), "eng", ReasonTokenInvalid},
		{"embedded jwk", s.sign(t, claims(nil), m{"jwk": m{"kty": "EC"}}), "eng", ReasonTokenInvalid},
		{"jku", s.sign(t, claims(nil), m{"jku": "https://evil.example"}), "eng", ReasonTokenInvalid},
		{"x5u", s.sign(t, claims(nil), m{"x5u": "https://evil.example"}), "eng", ReasonTokenInvalid},
		{"zip", s.sign(t, claims(nil), m{"zip": "DEF"}), "eng", ReasonTokenInvalid},
		{"JWE", "eyJhbGciOiJkaXIifQ.AA.AA.AA.AA", "eng", ReasonTokenInvalid},
		{"kid missing", s.sign(t, claims(nil), m{"kid": nil}), "eng", ReasonTokenInvalid},
		{"kid unknown", (&signer{key: s.key, kid: encode(make([]byte, 32))}).sign(t, claims(nil), nil), "eng", ReasonTokenInvalid},
		{"kid with a path (N134)", s.sign(t, claims(nil), m{"kid": "../../etc/passwd"}), "eng", ReasonTokenInvalid},
		{"kid of 10 KiB (N134)", s.sign(t, claims(nil), m{"kid": strings.Repeat("x", 10<<10)}), "eng", ReasonTokenInvalid},
		{"kid with SQL (N134)", s.sign(t, claims(nil), m{"kid": "' OR 1=1 --"}), "eng", ReasonTokenInvalid},
		{"other issuer", s.sign(t, claims(m{"iss": "https://idp.example"}), nil), "eng", ReasonTokenInvalid},
		{"issuer with a slash", s.sign(t, claims(m{"iss": issuerURL + "/"}), nil), "eng", ReasonTokenInvalid},
		{"for another gateway (RS-15)", valid, "all", ReasonTokenInvalid},
		{"audience a list (N130)", s.sign(t, claims(m{"aud": []string{"https://gw.example.com/v1/mcp/eng", "https://gw.example.com/v1/mcp/all"}}), nil), "eng", ReasonTokenInvalid},
		{"audience by uid, which is no canonical form", s.sign(t, claims(m{"aud": "https://gw.example.com/v1/mcp/uid-gw"}), nil), "eng", ReasonTokenInvalid},
		{"audience with a slash", s.sign(t, claims(m{"aud": "https://gw.example.com/v1/mcp/eng/"}), nil), "eng", ReasonTokenInvalid},
		{"audience of another origin", s.sign(t, claims(m{"aud": "https://evil.example/v1/mcp/eng"}), nil), "eng", ReasonTokenInvalid},
		{"audience missing", s.sign(t, claims(m{"aud": nil}), nil), "eng", ReasonTokenInvalid},
		{"a claim twice", s.sign(t, []byte(`{"sub":"uid-bob",`+string(rawClaims(nil))[1:]), nil), "eng", ReasonTokenInvalid},
		{"a claim in capitals", s.sign(t, claims(m{"sub": nil, "SUB": "uid-ada"}), nil), "eng", ReasonTokenInvalid},
		{"bound to a key", s.sign(t, claims(m{"cnf": m{"jkt": "x"}}), nil), "eng", ReasonTokenInvalid},
		{"no client_id", s.sign(t, claims(m{"client_id": nil}), nil), "eng", ReasonTokenInvalid},
		{"no jti", s.sign(t, claims(m{"jti": nil}), nil), "eng", ReasonTokenInvalid},
		{"no gid", s.sign(t, claims(m{"gid": nil}), nil), "eng", ReasonTokenInvalid},
		{"no exp", s.sign(t, claims(m{"exp": nil}), nil), "eng", ReasonTokenInvalid},
		{"no iat", s.sign(t, claims(m{"iat": nil}), nil), "eng", ReasonTokenInvalid},
		{"exp a text", s.sign(t, claims(m{"exp": "4102444800"}), nil), "eng", ReasonTokenInvalid},
		{"exp beyond time", s.sign(t, claims(m{"exp": int64(1) << 62}), nil), "eng", ReasonTokenInvalid},
		{"expired 59 s ago", s.sign(t, claims(m{"exp": at(-59 * time.Second), "iat": at(-time.Hour)}), nil), "eng", "user:uid-ada"},
		{"expired 61 s ago", s.sign(t, claims(m{"exp": at(-61 * time.Second), "iat": at(-time.Hour)}), nil), "eng", ReasonTokenExpired},
		{"iat 59 s ahead", s.sign(t, claims(m{"iat": at(59 * time.Second)}), nil), "eng", "user:uid-ada"},
		{"iat 61 s ahead", s.sign(t, claims(m{"iat": at(61 * time.Second)}), nil), "eng", ReasonTokenInvalid},
		{"nbf 61 s ahead", s.sign(t, claims(m{"nbf": at(61 * time.Second)}), nil), "eng", ReasonTokenInvalid},
		{"exp before iat", s.sign(t, claims(m{"exp": at(10 * time.Second), "iat": at(30 * time.Second)}), nil), "eng", ReasonTokenInvalid},
		{"by a path that is not on (RS-20)", s.sign(t, claims(m{"pst_method": "id_jag"}), nil), "eng", ReasonTokenInvalid},
		{"by a path that there is not (RS-20)", s.sign(t, claims(m{"pst_method": "magic"}), nil), "eng", ReasonTokenInvalid},
		{"by ID-JAG (RS-20)", s.sign(t, managed(m{"pst_method": "id_jag"}), nil), "managed", "user:uid-ada"},
		{"by ID-JAG, without gid", s.sign(t, managed(m{"pst_method": "id_jag", "gid": nil}), nil), "managed", ReasonTokenInvalid},
		{"by ID-JAG, deactivated user", s.sign(t, managed(m{"pst_method": "id_jag", "sub": "uid-gone"}), nil), "managed", ReasonTokenRevoked},
		{"by OAuth where only ID-JAG is on (RS-20)", s.sign(t, managed(nil), nil), "managed", ReasonTokenInvalid},
		{"as itself where only ID-JAG is on (RS-20)", s.sign(t, robot(m{"aud": "https://gw.example.com/v1/mcp/managed"}), nil), "managed", ReasonTokenInvalid},
		{"static token where only ID-JAG is on (RS-20)", withOAuth(t).tokens["ada"], "managed", ReasonTokenInvalid},
		{"gateway without OAuth", s.sign(t, claims(m{"aud": "https://gw.example.com/v1/mcp/off"}), nil), "off", ReasonTokenInvalid},
		{"unknown user", s.sign(t, claims(m{"sub": "uid-nobody"}), nil), "eng", ReasonTokenRevoked},
		{"deactivated user", s.sign(t, claims(m{"sub": "uid-gone"}), nil), "eng", ReasonTokenRevoked},
		{"user by e-mail address", s.sign(t, claims(m{"sub": "ada"}), nil), "eng", ReasonTokenRevoked},
		{"user outside the team (N137)", s.sign(t, claims(m{"sub": "uid-bob"}), nil), "eng", ReasonNoAccess},
		{"user outside the team, expired", s.sign(t, claims(m{"sub": "uid-bob", "exp": at(-2 * time.Minute), "iat": at(-time.Hour)}), nil), "eng", ReasonTokenExpired},
		{"registered client", s.sign(t, claims(m{"client_id": "ide"}), nil), "eng", "user:uid-ada"},
		{"disabled client", s.sign(t, claims(m{"client_id": "retired"}), nil), "eng", ReasonTokenRevoked},
		{"client as itself", s.sign(t, robot(nil), nil), "eng", "service_account:uid-robot"},
		{"client as itself at another gateway", s.sign(t, robot(m{"aud": "https://gw.example.com/v1/mcp/all"}), nil), "all", ReasonNoAccess},
		{"client as itself, disabled", s.sign(t, robot(m{"sub": "retired", "client_id": "retired"}), nil), "eng", ReasonTokenRevoked},
		{"client as itself, unknown", s.sign(t, robot(m{"sub": "x", "client_id": "x"}), nil), "eng", ReasonTokenRevoked},
		{"client as itself, for people only", s.sign(t, robot(m{"sub": "ide", "client_id": "ide"}), nil), "eng", ReasonTokenRevoked},
		{"client as another", s.sign(t, robot(m{"sub": "uid-ada"}), nil), "eng", ReasonTokenInvalid},
		{"client with a scope that it has no more", s.sign(t, robot(m{"scope": "mcp mcp:write"}), nil), "eng", ReasonTokenRevoked},
		{"shape of nothing", "nonsense", "eng", ReasonTokenInvalid},
		{"personal token in the shape of a JWT (RS-20)", "pst_u_a.b.c", "eng", ReasonTokenInvalid},
	}
	h := withOAuth(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config()
			c.Issuer = s
			s.asked = nil
			a := newAuthenticator(t, c)
			for range 2 { // the second time out of the cache
				p, err := authenticate(a, h, tt.gateway, tt.token)
				got := p.Key()
				if err != nil {
					got = fault.From(err).Reason
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
			}
			if len(s.asked) > 2 {
				t.Errorf("asked for keys %q", s.asked)
			}
		})
	}
}

func rawClaims(changes map[string]any) []byte {
	raw, _ := json.Marshal(claims(changes)) //nolint:errchkjson // a map of this test
	return raw
}

func authenticate(a *Authenticator, h *house, gateway, token string) (ident.Principal, error) {
	r := httptest.NewRequest("POST", "/v1/mcp/"+gateway, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	s := h.holder.Load()
	return a.Authenticate(s, s.Gateway(gateway), r)
}

// RS-4: what is wrong with a token is told to nobody, but that it has expired.
func TestInvalidAccessTokensLookAlike(t *testing.T) {
	s, h := newSigner(t), withOAuth(t)
	c := config()
	c.Issuer = s
	a := newAuthenticator(t, c)
	for _, token := range []string{
		s.sign(t, claims(map[string]any{"sub": "uid-gone"}), nil), s.sign(t, claims(map[string]any{"aud": "x"}), nil), s.sign(t, claims(nil), map[string]any{"typ": "JWT"}),
		"nonsense", h.tokens["unknown"],
	} {
		if _, err := authenticate(a, h, "eng", token); fault.From(err).Public != textInvalid || fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%v", err)
		}
	}
}

func TestPrincipalOfAccessToken(t *testing.T) {
	s, h := newSigner(t), withOAuth(t)
	c := config()
	c.Issuer = s
	p, err := authenticate(newAuthenticator(t, c), h, "eng", s.sign(t, claims(map[string]any{"scope": "mcp mcp:write"}), nil))
	if err != nil {
		t.Fatal(err)
	}
	if p.Method != "oauth" || p.ClientID != "https://client.example/oauth/c.json" || p.TokenID != "jti-1" || p.Name != "ada" ||
		strings.Join(p.Scopes, ",") != "mcp,mcp:write" || !p.Expires.Equal(now().Add(15*time.Minute)) {
		t.Errorf("principal %s %+v", p.Method, p.Scopes)
	}
	if p.Claims != nil {
		t.Errorf("claims %s that nobody reads", p.Claims)
	}
}

// TestClaims: the claims of a token come with the principal where a policy of the gateway reads them, and of the authserver's own only
// what RFC 9068 has.
func TestClaims(t *testing.T) {
	s := newSigner(t)
	c := config()
	c.Issuer = s
	p, err := compile.MakePolicy(&resourcev1.Policy{Name: "p", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: `caller.claims.scope == "x"`})
	if err != nil {
		t.Fatal(err)
	}
	h := withOAuth(t)
	b := view.From(h.holder.Load().View)
	b.PutPolicy("p", p)
	h.holder.Publish(b.Build("epoch", 3))
	got, err := authenticate(newAuthenticator(t, c), h, "eng", s.sign(t, claims(map[string]any{"scope": "mcp", "extra": "x"}), nil))
	if err != nil {
		t.Fatal(err)
	}
	var read map[string]any
	if err := json.Unmarshal(got.Claims, &read); err != nil {
		t.Fatal(err)
	}
	if names := fmt.Sprint(slices.Sorted(maps.Keys(read))); names != "[aud client_id exp iat iss jti scope sub]" {
		t.Errorf("claims %s: %s", names, got.Claims)
	}
}

// D-32, KM-3: what was revoked is gone at once, though the token was verified before, and a later snapshot is not needed.
func TestRevocationBeatsCache(t *testing.T) {
	sum := func(text string) [32]byte { return sha256.Sum256([]byte(text)) }
	s := newSigner(t)
	tests := []struct {
		name string
		what view.Revocation
		want string
	}{
		{"token", view.Revocation{Kind: view.RevokedToken, Key: sum("jti-1")}, ReasonTokenRevoked},
		{"another token", view.Revocation{Kind: view.RevokedToken, Key: sum("jti-2")}, ""},
		{"grant", view.Revocation{Kind: view.RevokedGrant, Key: sum("gid-1")}, ReasonTokenRevoked},
		{"a grant called as the token", view.Revocation{Kind: view.RevokedGrant, Key: sum("jti-1")}, ""},
		{"key", view.Revocation{Kind: view.RevokedKey, Key: sum(s.kid)}, ReasonTokenRevoked},
		{"subject", view.Revocation{Kind: view.RevokedSubject, Key: sum("uid-ada"), IssuedBefore: now()}, ReasonTokenRevoked},
		{"subject, earlier tokens", view.Revocation{Kind: view.RevokedSubject, Key: sum("uid-ada"), IssuedBefore: now().Add(-time.Second)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := withOAuth(t)
			c := config()
			c.Issuer = s
			a := newAuthenticator(t, c)
			token := s.sign(t, claims(nil), nil)
			before := h.holder.Load()
			if _, err := authenticate(a, h, "eng", token); err != nil {
				t.Fatal(err)
			}
			changed := h.holder.Changed()
			tt.what.Expires = now().Add(time.Hour)
			h.holder.Revoke(now(), []view.Revocation{tt.what})
			select {
			case <-changed:
			default:
				t.Error("streams are not woken")
			}
			r := httptest.NewRequest("POST", "/v1/mcp/eng", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			for _, snapshot := range []*view.Snapshot{before, h.holder.Load()} {
				_, err := a.Authenticate(snapshot, snapshot.Gateway("eng"), r)
				got := ""
				if err != nil {
					got = fault.From(err).Reason
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
}

// RS-12: how long tokens count on a node that hears no control plane.
func TestDegraded(t *testing.T) {
	const day = 24 * time.Hour
	s := newSigner(t)
	tests := []struct {
		name           string
		silent, limit  time.Duration
		static, access string
	}{
		{"heard", 0, day, "", ""},
		{"degraded", 61 * time.Second, day, "", ""},
		{"for a day", day, day, "", ""},
		{"for longer", day + time.Second, day, ReasonStale, ""},
		{"limit below a minute", 59 * time.Second, time.Second, "", ""},
		{"no limit at all, not degraded yet", 59 * time.Second, 0, "", ""},
		{"no limit at all", 61 * time.Second, 0, ReasonStale, ReasonStale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := withOAuth(t)
			c := config()
			c.Issuer, c.MaxStale, c.StaleFor = s, tt.limit, func() time.Duration { return tt.silent }
			a := newAuthenticator(t, c)
			for token, want := range map[string]string{h.tokens["ada"]: tt.static, s.sign(t, claims(nil), nil): tt.access, "pst_u_x": ReasonTokenInvalid} {
				_, err := authenticate(a, h, "eng", token)
				got := ""
				if err != nil {
					got = fault.From(err).Reason
				}
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				if want == ReasonStale && (fault.KindOf(err) != fault.Unavailable || fault.From(err).Retry <= 0) {
					t.Errorf("%v has no time to wait", err)
				}
			}
		})
	}
}

// A node that does not know its authserver yet says so, instead of having clients log in again.
func TestIssuerNotKnown(t *testing.T) {
	s, h := newSigner(t), withOAuth(t)
	s.absent = true
	c := config()
	c.Issuer = s
	if _, err := authenticate(newAuthenticator(t, c), h, "eng", s.sign(t, claims(nil), nil)); fault.From(err).Reason != ReasonNoIssuer {
		t.Errorf("got %v", err)
	}
}
