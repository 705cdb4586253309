// SPDX-License-Identifier: Apache-2.0

package metadata_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
)

func set(t *testing.T, keys ...jose.JSONWebKey) []byte {
	t.Helper()
	text, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestParseKeys(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	strong, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const weak = `{"keys":[{"kty":"RSA","n":"sXchDaQebHnPiGvyDOAT4saGEUetSyo9MKLOoWFsueri23bOdgWp4Dy1WlUzewbgBHod5pcM9H95GQRV3JDXboIRROSBigeC5yjU1hGzHHyXss8UDprecbAYxknTcQkhslANGRUZmdTOQ5qTRsLAt6BTYuyvVRdhS8exSZEy_c4","e":"AQAB"}]}`
	for name, tc := range map[string]struct {
		text   []byte
		usable int // -1 refuses the set
	}{
		"P-256":             {set(t, jose.JSONWebKey{Key: p256.Public(), KeyID: "a", Use: "sig", Algorithm: "ES256"}), 1},
		"RSA":               {set(t, jose.JSONWebKey{Key: strong.Public()}), 1},
		"Ed25519":           {set(t, jose.JSONWebKey{Key: edPublic}), 1},
		"other curve":       {set(t, jose.JSONWebKey{Key: p384.Public()}), 0},
		"for encryption":    {set(t, jose.JSONWebKey{Key: p256.Public(), Use: "enc"}), 0},
		"other algorithm":   {set(t, jose.JSONWebKey{Key: strong.Public(), Algorithm: "RS512"}), 0},
		"RSA of 1024 bits":  {[]byte(weak), 0},
		"unknown kind":      {[]byte(`{"keys":[{"kty":"FUTURE","x":"y"}]}`), 0},
		"private P-256":     {set(t, jose.JSONWebKey{Key: p256}), -1},
		"private RSA":       {set(t, jose.JSONWebKey{Key: strong}), -1},
		"private Ed25519":   {set(t, jose.JSONWebKey{Key: edPrivate}), -1},
		"symmetrical":       {[]byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`), -1},
		"a key of all kind": {[]byte(`{"keys":[{"kty":"FUTURE","d":"AAAA"}]}`), -1},
		"no keys":           {[]byte(`{}`), -1},
		"keys a text":       {[]byte(`{"keys":"x"}`), -1},
		"a text as key":     {[]byte(`{"keys":["x"]}`), -1},
		"HTML":              {[]byte(`<html>`), -1},
	} {
		got, err := metadata.ParseKeys(tc.text)
		if (err != nil) != (tc.usable < 0) || err == nil && len(got) != tc.usable {
			t.Errorf("%s: got %d keys (%v), want %d", name, len(got), err, tc.usable)
		}
	}
}
