// SPDX-License-Identifier: Apache-2.0

package synthetic

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TrustDomain is the servers' default.
const TrustDomain = "penstock.internal"

// Certificates issues what mutual TLS between the processes needs, for the length of one measurement.
type Certificates struct {
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	serial    int64
}

// NewCertificates makes an authority.
func NewCertificates() (*Certificates, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &Certificates{key: key}
	template := c.template()
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	c.authority, err = x509.ParseCertificate(der)
	return c, err
}

func (c *Certificates) template() *x509.Certificate {
	c.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(c.serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

// Issue writes the certificate of a workload into a folder and returns the flags that name its files.
func (c *Certificates) Issue(dir string, role ident.Role, name string) ([]string, error) {
	id, err := url.Parse(ident.Workload{TrustDomain: TrustDomain, Region: "eu", Role: role, Name: name}.URI())
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := c.template()
	template.URIs, template.KeyUsage = []*url.URL{id}, x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, c.authority, key.Public(), c.key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var flags []string
	for _, f := range []struct {
		flag, kind string
		der        []byte
	}{{"cert", "CERTIFICATE", der}, {"key", "PRIVATE KEY", private}, {"ca", "CERTIFICATE", c.authority.Raw}} {
		path := filepath.Join(dir, f.flag+".pem")
		err = errors.Join(err, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der}), 0o600))
		flags = append(flags, "--tls."+f.flag, path)
	}
	return flags, err
}

// Authority writes the authority's certificate and key into a folder, for a program that issues certificates by itself.
func (c *Certificates) Authority(dir string) (cert, key string, err error) {
	private, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "authority.pem"), filepath.Join(dir, "authority-key.pem")
	return cert, key, errors.Join(
		os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.authority.Raw}), 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}
