// SPDX-License-Identifier: Apache-2.0

package oauthrule_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource/oauthrule"
)

// TestPrivateKeyProblem has a row for each kind of key and each form of it (RFC 7523, RFC 5958).
func TestPrivateKeyProblem(t *testing.T) {
	must := func(key crypto.PrivateKey, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	curve := func(c elliptic.Curve) []byte { return must(ecdsa.GenerateKey(c, rand.Reader)) }
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // one that is refused
	if err != nil {
		t.Fatal(err)
	}
	p256 := curve(elliptic.P256())
	const form = "not one PRIVATE KEY block"
	for _, tc := range []struct{ name, text, want string }{
		{"P-256", block("PRIVATE KEY", p256), ""},
		{"P-384", block("PRIVATE KEY", curve(elliptic.P384())), ""},
		{"Ed25519", block("PRIVATE KEY", must(edwards, nil)), ""},
		{"RSA", block("PRIVATE KEY", must(rsa.GenerateKey(rand.Reader, 2048))), ""},
		{"white space around", "\n" + block("PRIVATE KEY", p256) + "\n", ""},
		{"P-521", block("PRIVATE KEY", curve(elliptic.P521())), "its curve is P-521"},
		{"short RSA", block("PRIVATE KEY", must(small, nil)), "has 1024 bits"},
		{"X25519", block("PRIVATE KEY", must(ecdh.X25519().GenerateKey(rand.Reader))), "signs no assertions"},
		{"SEC 1", block("EC PRIVATE KEY", p256), "not in PKCS #8"},
		{"PKCS #1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), "not in PKCS #8"},
		{"encrypted", block("ENCRYPTED PRIVATE KEY", p256), "is encrypted"},
		{"public", block("PUBLIC KEY", p256), form},
		{"certificate", block("CERTIFICATE", p256), form},
		{"two keys", block("PRIVATE KEY", p256) + block("PRIVATE KEY", p256), form},
		{"text before", "key: " + block("PRIVATE KEY", p256), form},
		{"broken", block("PRIVATE KEY", p256[:20]), form},
		{"a secret", "s3cret", form},
		{"nothing", "", form},
	} {
		got := oauthrule.PrivateKeyProblem(tc.text)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
