// SPDX-License-Identifier: Apache-2.0

package main

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

// trustDomain is the servers' default.
const trustDomain = "penstock.internal"

// certificates issues what mutual TLS between the processes needs, for the length of one measurement.
type certificates struct {
	authority *x509.Certificate
	key       *ecdsa.PrivateKey
	serial    int64
}

func newCertificates() (*certificates, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &certificates{key: key}
	template := c.template()
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	c.authority, err = x509.ParseCertificate(der)
	return c, err
}

func (c *certificates) template() *x509.Certificate {
	c.serial++
	return &x509.Certificate{
		SerialNumber: big.NewInt(c.serial), NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}
}

// issue writes the certificate of a workload into a folder and returns the flags that name its files.
func (c *certificates) issue(dir string, role ident.Role, name string) ([]string, error) {
	id, err := url.Parse(ident.Workload{TrustDomain: trustDomain, Region: "eu", Role: role, Name: name}.URI())
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
