// SPDX-License-Identifier: Apache-2.0

package exchange_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// jwt makes a token of an issuer. What is in it is judged, and not its signature, which nodes and providers check.
func jwt(t testing.TB, typ string, claims map[string]any) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// access makes an access token of a person, changed: nil takes a claim away.
func (w *world) access(changes map[string]any) string {
	w.t.Helper()
	c := map[string]any{"iss": w.idp.issuer, "sub": "ada", "aud": "https://gw.example.com/v1/mcp/eng", "exp": w.now().Add(10 * time.Minute).Unix(), "jti": rand.Text()}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return jwt(w.t, "at+jwt", c)
}

// taking makes the provider take one subject token, and refuse others.
func (w *world) taking(subject string) {
	w.idp.set(func(p *provider) {
		p.answer = func(rw http.ResponseWriter, form url.Values) bool {
			switch form.Get("subject_token") {
			case "":
				return false
			case subject:
				reply(rw, http.StatusOK, good("access_token", "for-"+subject[len(subject)-8:]))
			default:
				reply(rw, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
			}
			return true
		}
	})
}

// JW-13: what the caller presented is exchanged, before what a login left, and each token for itself.
func TestPresented(t *testing.T) {
	w := newWorld(t)
	kept := w.signIn("ada")
	one := w.access(nil)
	w.taking(one)
	header, until, err := w.resolveWith("ada", one, false)
	w.must(err)
	if header != "Bearer for-"+one[len(one)-8:] || strings.Contains(header, one) {
		t.Errorf("got %q", header)
	}
	if left := until.Sub(w.now()); left > 4*time.Minute {
		t.Errorf("it may be kept for %s", left)
	}
	if got := w.idp.exchanges(); len(got) != 1 || got[0].Get("subject_token") != one || got[0].Get("subject_token_type") != accessType {
		t.Errorf("asked: %v", got)
	}
	two := w.access(nil)
	w.taking(two)
	if again, _, err := w.resolveWith("ada", one, false); err != nil || again != header {
		t.Errorf("the first is not kept: %v", err)
	}
	if other, _, err := w.resolveWith("ada", two, false); err != nil || other == header {
		t.Errorf("the second gets what the first did: %v", err)
	}
	w.taking(kept.Access)
	if third, _, err := w.resolve("ada", false); err != nil || third == header {
		t.Errorf("a caller who presented nothing gets what the first did: %v", err)
	}
	w.checkSecrecy(one, two, kept.Access, strings.TrimPrefix(header, "Bearer "))
}

// UP-6: nothing that was made of a token is kept for longer than the token lives.
func TestPresentedEnds(t *testing.T) {
	w := newWorld(t)
	short := w.access(map[string]any{"exp": w.now().Add(3 * time.Minute).Unix()})
	w.taking(short)
	_, until, err := w.resolveWith("ada", short, false)
	w.must(err)
	if left := until.Sub(w.now()); left > 2*time.Minute || left < time.Minute+50*time.Second {
		t.Errorf("it may be kept for %s", left)
	}
	// Over, it is not sent: what a login left is.
	w.pass(3*time.Minute + time.Second)
	_, _, err = w.resolveWith("ada", short, false)
	w.refusedWith(err, fault.Precondition, "CREDENTIAL_MISSING", "Log in first.")
	if n := len(w.idp.exchanges()); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// A presented token that is of no use here: what a login left is exchanged.
func TestPresentedElsewhere(t *testing.T) {
	for name, tt := range map[string]struct {
		by   string
		kind directory.Subject
	}{
		"of another provider":       {"other", directory.SubjectAccessToken},
		"where ID tokens are asked": {"example", directory.SubjectIDToken},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			kept := w.signIn("ada")
			w.change(func(x *directory.Exchange) { x.Subject = tt.kind })
			_, _, err := w.x.Resolve(t.Context(), w.view.Load().Server("crm"), "uid-ada", "not looked at", tt.by, false)
			w.must(err)
			subject := map[directory.Subject]string{directory.SubjectAccessToken: kept.Access, directory.SubjectIDToken: kept.ID}[tt.kind]
			if got := w.idp.exchanges(); len(got) != 1 || got[0].Get("subject_token") != subject {
				t.Errorf("asked: %v", got)
			}
		})
	}
}

// What cannot be the caller's access token is refused, and nobody is asked.
func TestPresentedRefused(t *testing.T) {
	w := newWorld(t)
	w.signIn("ada")
	claims := func(changes map[string]any) map[string]any {
		c := map[string]any{"iss": w.idp.issuer, "sub": "ada", "exp": w.now().Add(time.Minute).Unix()}
		for k, v := range changes {
			c[k] = v
		}
		return c
	}
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, tt := range []struct{ name, token, what string }{
		{"opaque", "opaque", "is no JWT"},
		{"two parts", "a.b", "is no JWT"},
		{"no JSON", b64("x") + "." + b64("{}") + ".s", "is no JWT"},
		{"claims no JSON", b64("{}") + "." + b64("x") + ".s", "is no JWT"},
		{"header not in base64", "!." + b64("{}") + ".s", "is no JWT"},
		{"claims not in base64", b64("{}") + ".!.s", "is no JWT"},
		{"claim of another type", jwt(t, "JWT", claims(map[string]any{"iss": 1})), "is no JWT"},
		{"an identity assertion (JAU-8)", jwt(t, "oauth-id-jag+jwt", claims(nil)), "is no access token, by its typ"},
		{"an identity assertion, written out", jwt(t, "application/OAUTH-ID-JAG+jwt", claims(nil)), "is no access token, by its typ"},
		{"a logout token", jwt(t, "logout+jwt", claims(nil)), "is no access token, by its typ"},
		{"another issuer", jwt(t, "at+jwt", claims(map[string]any{"iss": "https://evil.example"})), "is another issuer's than the identity provider's"},
		{"no end", jwt(t, "at+jwt", claims(map[string]any{"exp": 0})), "has no end (exp)"},
		{"Bob's", jwt(t, "at+jwt", claims(map[string]any{"sub": "bob"})), "is another person's than the caller's"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := w.resolveWith("ada", tt.token, false)
			w.refusedWith(err, fault.Precondition, exchange.ReasonSubject, "The token that the caller presented "+tt.what+": it cannot be exchanged.")
		})
	}
	if n := len(w.idp.exchanges()); n != 0 {
		t.Errorf("%d exchanges", n)
	}
	w.taking(w.access(nil))
	for _, good := range []string{jwt(t, "", claims(nil)), jwt(t, "JWT", claims(map[string]any{"sub": "pairwise"}))} {
		_, _, err := w.resolveWith("ada", good, false)
		if fault.From(err).Reason == exchange.ReasonSubject {
			t.Errorf("a good one: %v", err)
		}
	}
}

// A presented token that the provider refuses is not sent twice; what a login left is tried in its place, and if there is nothing the
// person gets a link, with what the login has to prove.
func TestPresentedSpent(t *testing.T) {
	w := newWorld(t)
	weak := w.access(nil)
	w.taking("nothing")
	for range 3 {
		_, _, err := w.resolveWith("ada", weak, false)
		w.refusedWith(err, fault.Precondition, "CREDENTIAL_MISSING", "Log in first.")
	}
	if n := len(w.idp.exchanges()); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	kept := w.signIn("ada")
	w.taking(kept.Access)
	header, _, err := w.resolveWith("ada", weak, false)
	if err != nil || header != "Bearer for-"+kept.Access[len(kept.Access)-8:] {
		t.Errorf("what the login left is not used: %q, %v", header, err)
	}

	t.Run("nothing is kept at all", func(t *testing.T) {
		w := newWorld(t)
		w.provider.Kept = nil
		w.publish()
		w.taking("nothing")
		_, _, err := w.resolveWith("ada", w.access(nil), false)
		w.refusedWith(err, fault.Precondition, exchange.ReasonDead,
			"The identity provider does not take the token any more that the caller presented: log in there anew.")
	})
	t.Run("too weak", func(t *testing.T) {
		w := newWorld(t)
		answering(400, map[string]any{"error": "insufficient_user_authentication", "acr_values": "urn:mfa", "max_age": 300})(w)
		_, _, err := w.resolveWith("ada", w.access(nil), false)
		w.refusedWith(err, fault.Precondition, exchange.ReasonDead,
			"The identity provider wants a stronger login for this server: log in there anew.")
		if got := w.logins.wanted()["uid-ada"]; got != (exchange.StepUp{ACRValues: "urn:mfa", MaxAge: 5 * time.Minute}) {
			t.Errorf("the next login has to prove %+v", got)
		}
	})
	t.Run("an invalid request", func(t *testing.T) {
		w := newWorld(t)
		answering(400, map[string]any{"error": "invalid_request"})(w)
		_, _, err := w.resolveWith("ada", w.access(nil), false)
		w.refusedWith(err, fault.Precondition, "UPSTREAM_RESPONSE_INVALID",
			`The identity provider "example" refuses the exchange for "crm" (invalid_request): check token_exchange.`)
	})
}
