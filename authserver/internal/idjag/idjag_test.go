// SPDX-License-Identifier: Apache-2.0

package idjag

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

const testHead = `{"alg":"ES256","kid":"k","typ":"oauth-id-jag+jwt"}`

func compact(parts ...string) string {
	var out []string
	for _, p := range parts {
		out = append(out, base64.RawURLEncoding.EncodeToString([]byte(p)))
	}
	return strings.Join(out, ".")
}

// JAG-1, JAG-2: what is not even looked up. Whole requests, with real signatures, are in tokens.
func TestParse(t *testing.T) {
	const body = `{"iss":"https://idp.example"}`
	for _, tc := range []struct{ name, text, reason string }{
		{"good", compact(testHead, body, "s"), ""},
		{"two parts", compact(testHead, body), "assertion_malformed"},
		{"four parts", compact(testHead, body, "s", "x"), "assertion_malformed"},
		{"padding", compact(testHead, body, "s") + "=", "assertion_malformed"},
		{"trailing bits", compact(testHead, body) + ".zz", "assertion_malformed"},
		{"header no JSON", compact("x", body, "s"), "assertion_malformed"},
		{"header a list", compact("[]", body, "s"), "assertion_malformed"},
		{"type twice", compact(`{"typ":"JWT","alg":"ES256","typ":"oauth-id-jag+jwt"}`, body, "s"), "assertion_malformed"},
		{"type before what comes after it", compact(`{"typ":"JWT","jwk":{}}`, "x", "s"), "assertion_type"},
		{"type of another kind", compact(`{"typ":"oauth-id-jag","alg":"ES256"}`, body, "s"), "assertion_type"},
		{"no algorithm", compact(`{"typ":"oauth-id-jag+jwt"}`, body, "s"), "assertion_malformed"},
		{"zip", compact(`{"typ":"oauth-id-jag+jwt","alg":"ES256","zip":"DEF"}`, body, "s"), "assertion_header"},
		{"issuer twice", compact(testHead, `{"iss":"https://a","iss":"https://b"}`, "s"), "assertion_malformed"},
		{"no issuer", compact(testHead, `{}`, "s"), "assertion_malformed"},
		{"something after the claims", compact(testHead, body+body, "s"), "assertion_malformed"},
	} {
		got, err := parse(tc.text)
		if reason := reasonIn(err); reason != tc.reason {
			t.Errorf("%s: %s, want %s", tc.name, reason, tc.reason)
		}
		if err == nil && (got.issuer != "https://idp.example" || got.algorithm != "ES256" || got.compact != tc.text) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
}

func reasonIn(err error) string {
	if err == nil {
		return ""
	}
	return oauthfault.From(err).Reason
}

// JAG-11: the intersection, with the hierarchy of scopes (RS-19) and what the client may have.
func TestScopes(t *testing.T) {
	g := &directory.Gateway{Scopes: []string{"mcp", "mcp:admin", "mcp:write"}}
	for _, tc := range []struct {
		name, claim, asked string
		none               bool // there is no claim
		may, want          []string
		code               oauthfault.Code
	}{
		{name: "the claim", claim: "mcp:write mcp", want: []string{"mcp", "mcp:write"}},
		{name: "narrower", claim: "mcp mcp:write", asked: "mcp", want: []string{"mcp"}},
		{name: "wider", claim: "mcp", asked: "mcp mcp:write", want: []string{"mcp"}},
		{name: "under admin", claim: "mcp:admin", asked: "mcp:write mcp", want: []string{"mcp", "mcp:write"}},
		{name: "what the client may have", claim: "mcp mcp:write", may: []string{"mcp"}, want: []string{"mcp"}},
		{name: "nothing that the client may have", claim: "mcp:write", may: []string{"mcp"}, code: oauthfault.InvalidScope},
		{name: "no claim", none: true, asked: "mcp mcp:write", want: []string{"mcp"}},
		{name: "offline_access alone", claim: "offline_access", code: oauthfault.InvalidScope},
		{name: "asked twice", claim: "mcp", asked: "mcp  mcp", want: []string{"mcp"}},
		{name: "asked with quotes", claim: "mcp", asked: `"mcp"`, code: oauthfault.InvalidScope},
		{name: "claim with quotes", claim: `"mcp"`, code: oauthfault.InvalidGrant},
		{name: "claim that the gateway does not have", claim: "mcp files", code: oauthfault.InvalidGrant},
	} {
		got, err := scopes(g, claims{scope: tc.claim, hasScope: !tc.none}, Request{Scope: tc.asked, May: tc.may})
		if tc.code != "" {
			if err == nil || oauthfault.From(err).Code != tc.code {
				t.Errorf("%s: %v, %v, want %s", tc.name, got, err, tc.code)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", tc.name, err, diff)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := New(Config{Issuer: "https://auth.example.com"}); err == nil {
		t.Error("rules without parts")
	}
}

// FuzzAssertion: no text is read as something that it does not say.
func FuzzAssertion(f *testing.F) {
	const good = `{"iss":"i","sub":"s","aud":["a"],"client_id":"c","jti":"j","exp":1785240300,"iat":1785240000,"scope":"mcp","resource":"r"}`
	f.Add(testHead, good)
	f.Add(`{"typ":"application/OAUTH-ID-JAG+jwt","alg":"none"}`, `{"iss":"i","exp":1e400}`)
	f.Add(testHead, `{"iss":"i","sub":null,"aud":[],"resource":[""],"amr":[1]}`)
	idp := &directory.Provider{Issuer: "i", IDJAG: &directory.Trust{MaxLifetime: 10 * time.Minute}}
	now := time.Unix(1785240100, 0)
	f.Fuzz(func(t *testing.T, head, body string) {
		got, err := parse(compact(head, body, "s"))
		if err != nil {
			return
		}
		c, err := readClaims([]byte(body))
		if err != nil || c.check(idp, "a", "c", now) != nil {
			return
		}
		members, err := object([]byte(body))
		if err != nil || got.issuer != "i" || c.subject == "" || c.id == "" || c.client != "c" || !slices.Equal(c.audience, []string{"a"}) {
			t.Fatalf("%q is accepted as %+v", body, c)
		}
		for _, never := range []string{"cnf", "authorization_details", "act", "tenant"} {
			if raw, there := members[never]; there && string(raw) != `""` {
				t.Fatalf("%q is accepted with %s", body, never)
			}
		}
		if c.expires.Sub(c.issued) > 10*time.Minute || !now.Before(c.expires.Add(skew)) {
			t.Fatalf("%q is accepted from %s to %s", body, c.issued, c.expires)
		}
	})
}
