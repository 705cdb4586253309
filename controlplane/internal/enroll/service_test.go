// SPDX-License-Identifier: Apache-2.0

package enroll_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/enroll/authority"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// What a certificate says, and every way in which Enroll refuses.
func TestEnroll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		p.up()
		key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
		token := p.token(node("n1"))
		enrol := func(token string, request []byte) error {
			_, err := p.client(nil).Enroll(t.Context(), &nodev1.EnrollRequest{JoinToken: token, Csr: request})
			return err
		}
		r, err := p.client(nil).Enroll(t.Context(), &nodev1.EnrollRequest{JoinToken: token, Csr: csr(t, key)})
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(r.GetCertificates()[0])
		if err != nil {
			t.Fatal(err)
		}
		if w, err := ident.FromCertificate(leaf); err != nil || w != node("n1") || !key.PublicKey.Equal(leaf.PublicKey) {
			t.Errorf("the certificate is %s's (%v)", w, err)
		}
		if life := leaf.NotAfter.Sub(time.Now().Truncate(time.Second)); life != time.Hour || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) > 0 {
			t.Errorf("life %s, names %v %v", life, leaf.DNSNames, leaf.IPAddresses)
		}
		if len(r.GetAuthorities()) != 1 || len(r.GetCertificates()) != 2 || string(r.GetCertificates()[1]) != string(r.GetAuthorities()[0]) {
			t.Errorf("%d certificates, %d authorities", len(r.GetCertificates()), len(r.GetAuthorities()))
		}

		_, edwards, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		forged := csr(t, other)
		forged[len(forged)-5] ^= 1 // of the signature
		banned, expired := p.token(node("banned")), p.token(node("late"))
		p.ban(node("banned"))
		mistyped := token[:4] + "zzzz" + token[8:] // more than 32 bytes can say
		for _, tt := range []struct {
			name, token string
			csr         []byte
			code        codes.Code
			reason      string
		}{
			{"no token", "", csr(t, other), codes.InvalidArgument, enroll.ReasonRequest},
			{"a long token", strings.Repeat("x", 257), csr(t, other), codes.InvalidArgument, enroll.ReasonRequest},
			{"a mistyped token", mistyped, csr(t, other), codes.Unauthenticated, enroll.ReasonToken},
			{"another kind of token", strings.Replace(token, "pjt_", "pst_", 1), csr(t, other), codes.Unauthenticated, enroll.ReasonToken},
			{"used with another key", token, csr(t, other), codes.Unauthenticated, "JOIN_TOKEN_USED"},
			{"no signing request", token, nil, codes.InvalidArgument, enroll.ReasonRequest},
			{"not a signing request", token, []byte("x"), codes.InvalidArgument, enroll.ReasonRequest},
			{"a forged signing request", token, forged, codes.InvalidArgument, enroll.ReasonRequest},
		} {
			wantRefusal(t, tt.name, enrol(tt.token, tt.csr), tt.code, tt.reason)
		}
		// 8 of one address were refused: the ninth and the tenth still get an answer, those after wait for the next minute.
		wantRefusal(t, "enrol later", enrol(token, csr(t, edwards)), codes.InvalidArgument, enroll.ReasonRequest)
		wantRefusal(t, "enrol later", enrol(token, csr(t, newKey(t, elliptic.P384()))), codes.InvalidArgument, enroll.ReasonRequest)
		wantRefusal(t, "enrol later", enrol(token, csr(t, key)), codes.ResourceExhausted, enroll.ReasonTooMany)
		time.Sleep(time.Minute)
		if err := enrol(token, csr(t, key)); err != nil {
			t.Errorf("the same key again: %v", err)
		}
		wantRefusal(t, "enrol later", enrol(banned, csr(t, other)), codes.PermissionDenied, enroll.ReasonBanned)
		minted, _ := enroll.MintToken(p.authority.Fingerprint())
		wantRefusal(t, "enrol later", enrol(minted, csr(t, other)), codes.Unauthenticated, "JOIN_TOKEN_UNKNOWN")
		time.Sleep(time.Hour)
		p.renew()
		wantRefusal(t, "enrol later", enrol(expired, csr(t, other)), codes.Unauthenticated, "JOIN_TOKEN_EXPIRED")
	})
}

// Every way in which Renew refuses, and that it takes what has expired for up to seven days (D-81).
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		p.up()
		key, other := newKey(t, elliptic.P256()), newKey(t, elliptic.P256())
		cert := p.enrolled(node("n1"), key)
		twice := p.enrolled(node("n2"), other)
		p.enrolled(node("n2"), key) // it joined again, with another key
		foreign, err := authority.Open(authority.Config{
			Cert: filepath.Join(t.TempDir(), "c"), Key: filepath.Join(t.TempDir(), "k"), Create: true, TrustDomain: trustDomain, Lifetime: time.Hour, Now: time.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		issue := func(a *authority.Authority, name string) []byte {
			chain, err := a.Issue(node(name), &key.PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			return chain[0]
		}
		banned := p.enrolled(node("n3"), key)
		p.ban(node("n3"))
		renew := func(shown *tls.Certificate, inRequest, request []byte) error {
			_, err := p.client(shown).Renew(t.Context(), &nodev1.RenewRequest{Csr: request, ExpiredCertificate: inRequest})
			return err
		}
		never := &tls.Certificate{Certificate: [][]byte{issue(p.authority, "never")}, PrivateKey: key}
		good := csr(t, key)
		for _, tt := range []struct {
			name      string
			shown     *tls.Certificate
			inRequest []byte
			csr       []byte
			code      codes.Code
			reason    string
		}{
			{"with its certificate", cert, nil, good, codes.OK, ""},
			{"with its certificate in the request", nil, cert.Certificate[0], good, codes.OK, ""},
			{"without any", nil, nil, good, codes.Unauthenticated, "NO_IDENTITY"},
			{"not a certificate", nil, []byte("x"), good, codes.Unauthenticated, enroll.ReasonCertificate},
			{"of another authority", nil, issue(foreign, "n1"), good, codes.Unauthenticated, enroll.ReasonCertificate},
			{"the authority's own", nil, p.authority.Trust()[0].Raw, good, codes.Unauthenticated, enroll.ReasonCertificate},
			{"another key", cert, nil, csr(t, other), codes.PermissionDenied, enroll.ReasonKey},
			{"another key, in the request", nil, cert.Certificate[0], csr(t, other), codes.PermissionDenied, enroll.ReasonKey},
			{"a key that was replaced", twice, nil, csr(t, other), codes.PermissionDenied, enroll.ReasonKey},
			{"not enrolled here", never, nil, good, codes.PermissionDenied, enroll.ReasonNotEnrolled},
			{"banned", banned, nil, good, codes.PermissionDenied, enroll.ReasonBanned},
			{"banned, in the request", nil, banned.Certificate[0], good, codes.PermissionDenied, enroll.ReasonBanned},
			{"no signing request", cert, nil, []byte("x"), codes.InvalidArgument, enroll.ReasonRequest},
		} {
			wantRefusal(t, tt.name, renew(tt.shown, tt.inRequest, tt.csr), tt.code, tt.reason)
		}
		time.Sleep(time.Hour + time.Second)
		p.renew()
		if err := renew(cert, nil, good); status.Code(err) != codes.Unavailable {
			t.Errorf("a handshake with an expired certificate: %v", err)
		}
		time.Sleep(enroll.RenewFor - 2*time.Second)
		p.renew()
		p.must(renew(nil, cert.Certificate[0], good))
		wantRefusal(t, "renew later", renew(nil, banned.Certificate[0], good), codes.PermissionDenied, enroll.ReasonBanned)
		time.Sleep(3 * time.Second)
		wantRefusal(t, "renew later", renew(nil, cert.Certificate[0], good), codes.PermissionDenied, enroll.ReasonTooOld)
	})
}
