// SPDX-License-Identifier: Apache-2.0

package idptoken_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/authn/idptoken"
)

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// made is a token with a signature that nobody made.
func made(header, claims string) string {
	return encode(header) + "." + encode(claims) + "." + encode("s")
}

const (
	header = `{"alg":"ES256","kid":"k","typ":"JWT"}`
	claims = `{"iss":"https://idp.example","sub":"1","aud":"a","exp":200,"iat":100}`
)

func rules() idptoken.Rules {
	return idptoken.Rules{
		Algorithms: []string{"ES256"}, Audiences: []string{"a"}, SubjectClaim: "sub", ScopeClaims: []string{"scope"}, MaxAge: time.Hour, Client: "login",
	}
}

// JW-3: what is no token at all. How those that are one are judged, the tests of a whole node show.
func TestParseRefuses(t *testing.T) {
	valid := made(header, claims)
	parts := strings.Split(valid, ".")
	for name, text := range map[string]string{
		"nothing": "", "two parts": parts[0] + "." + parts[1], "four parts": valid + ".x", "no signature": parts[0] + "." + parts[1] + ".",
		"padding": parts[0] + "=." + parts[1] + "." + parts[2], "line break": parts[0] + "\n." + parts[1] + "." + parts[2],
		"standard base64": parts[0] + "." + parts[1] + ".+/", "not canonical": parts[0] + "." + parts[1] + ".cx",
		"header is a list": made(`["alg"]`, claims), "header twice": made(`{"alg":"ES256","alg":"none"}`, claims),
		"alg is no text": made(`{"alg":1}`, claims), "no alg": made(`{}`, claims), "kid is no text": made(`{"alg":"ES256","kid":1}`, claims),
		"typ is no text": made(`{"alg":"ES256","typ":[]}`, claims), "b64": made(`{"alg":"ES256","b64":false}`, claims),
		"enc": made(`{"alg":"ES256","enc":"A256GCM"}`, claims), "claims are text": made(header, `"x"`), "claims twice": made(header, claims[:len(claims)-1]+`,"iss":"x"}`),
		"iss in another case": made(header, strings.Replace(claims, "iss", "ISS", 1)), "exp negative": made(header, strings.Replace(claims, "200", "-1", 1)),
		"exp far off": made(header, strings.Replace(claims, "200", "1e15", 1)), "nbf is text": made(header, claims[:len(claims)-1]+`,"nbf":"1"}`),
	} {
		if _, err := idptoken.Parse(text); err == nil {
			t.Errorf("%s: it is read", name)
		}
	}
	if tok, err := idptoken.Parse(valid); err != nil || tok.Issuer != "https://idp.example" || tok.KeyID != "k" || tok.Algorithm != "ES256" {
		t.Errorf("a token: %+v, %v", tok, err)
	}
}

// Who asked for a token, by the names that providers give it; what is too long is no name.
func TestHolder(t *testing.T) {
	with := func(more string) string { return made(header, claims[:len(claims)-1]+more+`}`) }
	for _, tt := range []struct {
		name, text, client, id string
		ok                     bool
	}{
		{"nothing", with(""), "", "", true},
		{"RFC 9068", with(`,"client_id":"c","azp":"z","jti":"j"`), "c", "j", true},
		{"OpenID Connect", with(`,"azp":"z"`), "z", "", true},
		{"Entra", with(`,"appid":"e"`), "e", "", true},
		{"Okta", with(`,"cid":"o"`), "o", "", true},
		{"long client", with(`,"azp":"` + strings.Repeat("x", 513) + `"`), "", "", false},
		{"long jti", with(`,"jti":"` + strings.Repeat("x", 257) + `"`), "", "", false},
		{"long subject", made(header, strings.Replace(claims, `"1"`, `"`+strings.Repeat("x", 256)+`"`, 1)), "", "", false},
		{"subject with a broken character", made(header, strings.Replace(claims, `"1"`, "\"\xff\"", 1)), "", "", false},
		{"scopes are a number", with(`,"scope":1`), "", "", false},
		{"long scopes", with(`,"scope":"` + strings.Repeat("x", 4<<10) + `"`), "", "", false},
		{"for the login too", strings.Replace(with(""), encode(claims), encode(strings.Replace(claims, `"a"`, `["a","login"]`, 1)), 1), "", "", false},
	} {
		tok, err := idptoken.Parse(tt.text)
		if err != nil {
			if tt.ok {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		h, err := tok.Check(rules())
		if (err == nil) != tt.ok || h.ClientID != tt.client && tt.ok || h.TokenID != tt.id && tt.ok {
			t.Errorf("%s: %+v, %v", tt.name, h, err)
		}
	}
}

// JW-5: to the second, what ends when; a token is too old before it expires.
func TestCurrent(t *testing.T) {
	tok, err := idptoken.Parse(made(header, claims[:len(claims)-1]+`,"nbf":150}`))
	if err != nil {
		t.Fatal(err)
	}
	short := rules()
	short.MaxAge = 70 * time.Second
	for _, tt := range []struct {
		name        string
		rules       idptoken.Rules
		at          int64
		ok, expired bool
	}{
		{"before nbf", rules(), 139, false, false},
		{"nbf within the skew", rules(), 140, true, false},
		{"last moment", rules(), 209, true, false},
		{"expired", rules(), 210, false, true},
		{"old", short, 179, true, false},
		{"too old", short, 180, false, true},
	} {
		h, err := tok.Check(tt.rules)
		if err != nil {
			t.Fatal(err)
		}
		if ok, expired := h.Current(time.Unix(tt.at, 0), 10*time.Second); ok != tt.ok || expired != tt.expired {
			t.Errorf("%s: %v, %v", tt.name, ok, expired)
		}
	}
	if h, _ := tok.Check(short); !h.Expires.Equal(time.Unix(170, 0)) {
		t.Errorf("streams would end at %s", h.Expires)
	}
}

// FuzzParse: no text breaks the parser, and what it reads it reads the same again.
func FuzzParse(f *testing.F) {
	f.Add(made(header, claims))
	f.Add(made(`{"alg":"none"}`, `{"iss":"","aud":[1],"exp":1e400}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, text string) {
		tok, err := idptoken.Parse(text)
		if err != nil {
			return
		}
		r := rules()
		first, errFirst := tok.Check(r)
		again, err := idptoken.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		second, errSecond := again.Check(r)
		if (errFirst == nil) != (errSecond == nil) || first.Subject != second.Subject || !slices.Equal(first.Scopes, second.Scopes) {
			t.Errorf("%+v is %+v the second time", first, second)
		}
	})
}
