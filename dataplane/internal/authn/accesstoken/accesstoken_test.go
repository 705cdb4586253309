// SPDX-License-Identifier: Apache-2.0

package accesstoken

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	sig    = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	header = `{"alg":"ES256","kid":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","typ":"at+jwt"}`
	body   = `{"iss":"i","sub":"s","aud":"a","client_id":"c","exp":20,"iat":10,"jti":"j","gid":"g","scope":"mcp x","pst_method":"oauth"}`
)

func compact(parts ...string) string {
	for i := range parts {
		parts[i] = base64.RawURLEncoding.EncodeToString([]byte(parts[i]))
	}
	return strings.Join(parts, ".")
}

func TestParse(t *testing.T) {
	got, err := Parse(compact(header, body, sig))
	if err != nil {
		t.Fatal(err)
	}
	if got.Issuer != "i" || got.Subject != "s" || got.Audience != "a" || got.ClientID != "c" || got.TokenID != "j" || got.Grant != "g" ||
		strings.Join(got.Scopes, "|") != "mcp|x" || got.Issued.Unix() != 10 || got.Expires.Unix() != 20 || !got.NotBefore.IsZero() {
		t.Errorf("read %+v", got)
	}
	for name, text := range map[string]string{
		"empty": "", "two parts": compact(header, body), "four parts": compact(header, body, "x", "y"), "no JSON": compact("x", "y", "z"),
		"padded": compact(header, body+" ", sig) + "=", "line break": strings.Replace(compact(header, body, sig), ".", "\n.", 1),
		"too long": compact(header, body, strings.Repeat("x", maxLength)), "more in the header": compact(header[:len(header)-1]+`,"x":1}`, body, sig),
		"header a list": compact(`[]`, body, sig), "claims a list": compact(header, `[]`, sig), "scope a list": compact(header, strings.Replace(body, `"mcp x"`, `["mcp"]`, 1), sig),
		"gid a number": compact(header, strings.Replace(body, `"gid":"g"`, `"gid":1`, 1), sig), "nbf a text": compact(header, body[:len(body)-1]+`,"nbf":"1"}`, sig),
	} {
		if _, err := Parse(text); err == nil {
			t.Errorf("%s is a token", name)
		}
	}
}

func TestVerify(t *testing.T) {
	keys := make([]*ecdsa.PrivateKey, 2)
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: keys[0]}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	token, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := token.Verify(&keys[0].PublicKey); err != nil {
		t.Errorf("by its own key: %v", err)
	}
	if err := token.Verify(&keys[1].PublicKey); err == nil {
		t.Error("another key verifies it")
	}
}

func TestCurrent(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	tests := []struct {
		now                        int64
		issued, expires, notBefore int64
		current, expired           bool
	}{
		{15, 10, 20, 0, true, false},
		{29, 10, 20, 0, true, false},
		{30, 10, 20, 0, false, true},
		{0, 10, 20, 0, true, false},
		{-1, 10, 20, 0, false, false},
		{15, 10, 20, 25, true, false},
		{15, 10, 20, 26, false, false},
		{15, 10, 10, 0, false, false},
	}
	for _, tt := range tests {
		token := Token{Issued: at(tt.issued), Expires: at(tt.expires)}
		if tt.notBefore > 0 {
			token.NotBefore = at(tt.notBefore)
		}
		if ok, expired := token.Current(at(tt.now), 10*time.Second); ok != tt.current || expired != tt.expired {
			t.Errorf("%+v: current %v, expired %v", tt, ok, expired)
		}
	}
}

// FuzzParse has nothing read twice in two ways, and nothing break.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{compact(header, body, sig), compact(header, body), "ey..", "...", compact(`{}`, `{}`, ``)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := Parse(text)
		if err != nil {
			return
		}
		if len(token.KeyID) != 43 || token.Issuer == "" || token.Subject == "" || token.Audience == "" || token.TokenID == "" || token.ClientID == "" ||
			token.Issued.IsZero() || token.Expires.IsZero() || strings.Count(text, ".") != 2 {
			t.Fatalf("%q is read as %+v", text, token)
		}
	})
}
