// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// authority issues the nodes' certificates, for the length of one run.
type authority struct {
	file   string // its own certificate
	cert   *x509.Certificate
	key    crypto.Signer
	dir    string
	domain string
}

func openAuthority(certFile, keyFile, dir, domain string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("read authority: %s is not the certificate of an authority", certFile)
	}
	return &authority{file: certFile, cert: pair.Leaf, key: key, dir: dir, domain: domain}, nil
}

// config issues a certificate and returns the TLS configuration that a real node makes of it.
func (a *authority) config(name, region string) (*tls.Config, error) {
	id, err := url.Parse(ident.Workload{TrustDomain: a.domain, Region: region, Role: ident.RoleNode, Name: name}.URI())
	if err != nil {
		return nil, fmt.Errorf("name node: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		URIs: []*url.URL{id}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	files := tlsx.Files{Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key"), CA: a.file}
	for path, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, fmt.Errorf("write certificate: %w", err)
		}
	}
	return tlsx.Client(files, a.domain, ident.RoleControlPlane)
}
