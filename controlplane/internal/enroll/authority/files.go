// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// caLife is the life of an authority that is made here. It is renewed by an operator: put a new certificate and key first
// and keep the old certificate behind it until every certificate that it signed has expired.
const caLife = 10 * 365 * 24 * time.Hour

const (
	typeCert = "CERTIFICATE"
	typeKey  = "PRIVATE KEY"
)

func load(c Config) ([]*x509.Certificate, crypto.Signer, error) {
	_, noCert := os.Stat(c.Cert)
	_, noKey := os.Stat(c.Key)
	missing := errors.Is(noCert, fs.ErrNotExist) || errors.Is(noKey, fs.ErrNotExist)
	if missing && c.Create {
		if err := create(c); err != nil {
			return nil, nil, fault.New(fault.Precondition, ReasonFiles, "The authority of enrollment.ca_cert and enrollment.ca_key cannot be made.").Because(err)
		}
	}
	certs, err := ReadCertificates(c.Cert)
	if err != nil {
		return nil, nil, fault.Newf(fault.Precondition, ReasonFiles, "The authority's certificate (enrollment.ca_cert, %s) cannot be used.", c.Cert).Because(err)
	}
	key, err := readKey(c.Key)
	if err != nil {
		return nil, nil, fault.Newf(fault.Precondition, ReasonFiles, "The authority's key (enrollment.ca_key, %s) cannot be used.", c.Key).Because(err)
	}
	return certs, key, nil
}

// ReadCertificates returns the certificates of a PEM file, at least one.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != typeCert {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no certificate in it")
	}
	return out, nil
}

func readKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("there is no PEM block in it")
	}
	var key any
	if block.Type == "EC PRIVATE KEY" {
		key, err = x509.ParseECPrivateKey(block.Bytes)
	} else {
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, errors.New("it holds no private key in PKCS #8 or SEC 1") // the cause could quote it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("its key cannot sign")
	}
	return signer, nil
}

// create makes an authority. Of several replicas that start together on shared files, one makes the key, and whoever makes
// the certificate makes it for that key.
func create(c Config) error {
	made, err := newKey()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(made)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := writeOnce(c.Key, typeKey, der); err != nil {
		return err
	}
	key, err := readKey(c.Key)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.TrustDomain + " Penstock authority"},
		NotBefore: c.Now().Add(-skew), NotAfter: c.Now().Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign, URIs: []*url.URL{{Scheme: "spiffe", Host: c.TrustDomain}},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	return writeOnce(c.Cert, typeCert, cert)
}

// writeOnce writes a file that only its owner can read, wholly, unless it is there already.
func writeOnce(path, kind string, der []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(temporary.Name())) }()
	err = pem.Encode(temporary, &pem.Block{Type: kind, Bytes: der})
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	return key, nil
}
