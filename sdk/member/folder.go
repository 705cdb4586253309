// SPDX-License-Identifier: Apache-2.0

package member

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Files of the folder.
const (
	fileKey         = "key.pem"
	fileCertificate = "certificate.pem"
	fileAuthorities = "authorities.pem"
)

const (
	typeCertificate = "CERTIFICATE"
	typeKey         = "PRIVATE KEY"
)

// tokenPrefix begins every join token.
const tokenPrefix = "pjt_"

// Exists reports whether a folder has a certificate.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, fileCertificate))
	return err == nil
}

// token is a join token.
type token struct {
	text        string
	fingerprint []byte // SHA-256 of the authority's certificate
}

// token reads the join token, nil if none is set.
func (m *Member) token() (*token, error) {
	text := m.c.Token.Reveal()
	if text == "" && m.c.TokenFile != "" {
		b, err := os.ReadFile(m.c.TokenFile)
		switch {
		case errors.Is(err, fs.ErrNotExist) && Exists(m.c.Dir): // taken away once it was used
		case err != nil:
			return nil, fault.New(fault.Precondition, ReasonNotEnrolled, "The file of enrollment.join_token_file cannot be read.").Because(err)
		}
		text = string(b)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	secret, rest, _ := strings.Cut(text, ".")
	fingerprint, err := base64.RawURLEncoding.DecodeString(rest)
	if _, ok := ident.ParseSecret(tokenPrefix, secret); !ok || err != nil || len(fingerprint) != sha256.Size {
		return nil, fault.New(fault.Invalid, ReasonToken, "What was given is no join token: copy it whole, as penstock node join-token printed it.")
	}
	return &token{text: text, fingerprint: fingerprint}, nil
}

// open makes the folder and reads the key, which it makes if there is none.
func (m *Member) open() error {
	if err := os.MkdirAll(m.c.Dir, 0o700); err != nil {
		return m.unusable("the folder cannot be made", err)
	}
	if m.c.CA != "" {
		text, err := os.ReadFile(m.c.CA)
		if err == nil {
			m.extra, err = certificates(text)
		}
		if err != nil {
			return fault.Newf(fault.Precondition, ReasonFolder, "The authorities of tls.ca (%s) cannot be used.", m.c.CA).Because(err)
		}
	}
	path := filepath.Join(m.c.Dir, fileKey)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !Exists(m.c.Dir) {
		return m.makeKey(path)
	}
	if err != nil {
		return m.unusable("the key cannot be read", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return m.unusable("the key is damaged", nil)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if ec, ok := key.(*ecdsa.PrivateKey); ok && err == nil {
		m.key = ec
		return nil
	}
	return m.unusable("the key is damaged", nil) // the cause could quote it
}

func (m *Member) makeKey(path string) (err error) {
	if m.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := write(path, encode(typeKey, der)); err != nil {
		return m.unusable("the key cannot be written", err)
	}
	return nil
}

// load reads the certificate, nil if there is none.
func (m *Member) load() (*issued, error) {
	text, err := os.ReadFile(filepath.Join(m.c.Dir, fileCertificate))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var chain, authorities []*x509.Certificate
	if err == nil {
		chain, err = certificates(text)
	}
	if err == nil {
		text, err = os.ReadFile(filepath.Join(m.c.Dir, fileAuthorities))
	}
	if err == nil {
		authorities, err = certificates(text)
	}
	if err != nil {
		return nil, m.unusable("the certificate cannot be read", err)
	}
	i := &issued{authorities: authorities}
	for _, c := range chain {
		i.chain = append(i.chain, c.Raw)
	}
	if err := m.check(i); err != nil {
		return nil, m.unusable("the certificate is not this process's", err)
	}
	// When it was got is not known: the certificate itself has to say what its half is.
	i.renewAt = i.leaf.NotAfter.Add(-i.leaf.NotAfter.Sub(i.leaf.NotBefore) / 2)
	return i, nil
}

// check reads a certificate and makes sure that it is for the key and the role.
func (m *Member) check(i *issued) (err error) {
	if len(i.chain) == 0 || len(i.authorities) == 0 {
		return errors.New("there is no certificate, or nobody to trust")
	}
	if i.leaf, err = x509.ParseCertificate(i.chain[0]); err != nil {
		return fmt.Errorf("parse certificate: %w", err)
	}
	if i.workload, err = ident.FromCertificate(i.leaf); err != nil {
		return err
	}
	public, ok := i.leaf.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	switch {
	case !ok || !public.Equal(m.key.Public()):
		return errors.New("the certificate is for another key")
	case i.workload.Role != m.c.Role:
		return fmt.Errorf("the certificate is one of the role %s, not %s", i.workload.Role, m.c.Role)
	case i.workload.TrustDomain != m.c.TrustDomain:
		return fmt.Errorf("the certificate is of the trust domain %s, not %s", i.workload.TrustDomain, m.c.TrustDomain)
	}
	return nil
}

func (m *Member) certificate(i *issued) *tls.Certificate {
	return &tls.Certificate{Certificate: i.chain, PrivateKey: m.key, Leaf: i.leaf}
}

// save writes the certificate. The authorities go first: a new certificate without them could not be used.
func (m *Member) save(i *issued) error {
	var authorities [][]byte
	for _, c := range i.authorities {
		authorities = append(authorities, c.Raw)
	}
	err := write(filepath.Join(m.c.Dir, fileAuthorities), encode(typeCertificate, authorities...))
	if err == nil {
		err = write(filepath.Join(m.c.Dir, fileCertificate), encode(typeCertificate, i.chain...))
	}
	if err != nil {
		return m.unusable("the certificate cannot be written", err)
	}
	return nil
}

func (m *Member) unusable(why string, cause error) error {
	f := fault.Newf(fault.Precondition, ReasonFolder, "The identity in %s cannot be used: %s. If it is lost, delete the folder and join with a new token.", m.c.Dir, why)
	if cause != nil {
		f = f.Because(cause)
	}
	return f
}

func certificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != typeCertificate {
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

func encode(kind string, ders ...[]byte) []byte {
	var out []byte
	for _, der := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	return out
}

// write replaces a file that only its owner can read, wholly or not at all.
func write(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
