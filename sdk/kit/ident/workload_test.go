// SPDX-License-Identifier: Apache-2.0

package ident_test

import (
	"crypto/x509"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// Distribution design D-80, SPIFFE ID standard section 2.
func TestParseSPIFFE(t *testing.T) {
	for _, tc := range []struct {
		name, uri string
		want      ident.Workload
	}{
		{"node", "spiffe://penstock.example/region/eu-1/node/n7", ident.Workload{TrustDomain: "penstock.example", Region: "eu-1", Role: ident.RoleNode, Name: "n7"}},
		{"authserver in a region", "spiffe://td/region/us/authserver/a.1", ident.Workload{TrustDomain: "td", Region: "us", Role: ident.RoleAuthserver, Name: "a.1"}},
		{"control plane in a region", "spiffe://td/region/us/controlplane/C_0", ident.Workload{TrustDomain: "td", Region: "us", Role: ident.RoleControlPlane, Name: "C_0"}},
		{"authserver without a region", "spiffe://td/authserver/a", ident.Workload{TrustDomain: "td", Role: ident.RoleAuthserver, Name: "a"}},
		{"control plane without a region", "spiffe://td/controlplane/c", ident.Workload{TrustDomain: "td", Role: ident.RoleControlPlane, Name: "c"}},
		{"node without a region", "spiffe://td/node/n", ident.Workload{TrustDomain: "td", Role: ident.RoleNode, Name: "n"}},
		{"a region named like a role", "spiffe://td/region/node/node/node", ident.Workload{TrustDomain: "td", Region: "node", Role: ident.RoleNode, Name: "node"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ident.ParseSPIFFE(tc.uri)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if got.URI() != tc.uri {
				t.Errorf("URI gives %s", got.URI())
			}
		})
	}
}

func TestParseSPIFFERefuses(t *testing.T) {
	for _, tc := range []struct{ name, uri string }{
		{"empty", ""},
		{"another scheme", "https://td/region/r/node/n"},
		{"scheme in capitals", "SPIFFE://td/region/r/node/n"},
		{"no trust domain", "spiffe:///region/r/node/n"},
		{"trust domain in capitals", "spiffe://TD/region/r/node/n"},
		{"port", "spiffe://td:8443/region/r/node/n"},
		{"user", "spiffe://u@td/region/r/node/n"},
		{"no path", "spiffe://td"},
		{"empty path", "spiffe://td/"},
		{"trailing slash", "spiffe://td/region/r/node/n/"},
		{"double slash", "spiffe://td/region//node/n"},
		{"dot segment", "spiffe://td/region/../node/n"},
		{"percent encoding", "spiffe://td/region/r/node/n%2F"},
		{"query", "spiffe://td/region/r/node/n?x"},
		{"fragment", "spiffe://td/region/r/node/n#x"},
		{"unknown role", "spiffe://td/region/r/admin/n"},
		{"role in capitals", "spiffe://td/region/r/Node/n"},
		{"too short", "spiffe://td/region/r"},
		{"too long a path", "spiffe://td/region/r/node/n/x"},
		{"other first segment", "spiffe://td/zone/r/node/n"},
		{"space", "spiffe://td/region/r/node/n 1"},
		{"long trust domain", "spiffe://" + strings.Repeat("a", 256) + "/region/r/node/n"},
		{"long", "spiffe://td/region/r/node/" + strings.Repeat("n", 2048)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ident.ParseSPIFFE(tc.uri)
			if err == nil {
				t.Fatalf("reads as %+v", got)
			}
			if f := fault.From(err); f.Kind != fault.Invalid || f.Reason != ident.ReasonSPIFFE {
				t.Errorf("got %v", err)
			}
		})
	}
}

// X.509-SVID sections 2 and 4.
func TestFromCertificate(t *testing.T) {
	uri := func(raw ...string) (list []*url.URL) {
		for _, r := range raw {
			u, err := url.Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, u)
		}
		return list
	}
	const node = "spiffe://td/region/r/node/n"
	for _, tc := range []struct {
		name string
		cert *x509.Certificate
		ok   bool
	}{
		{"a leaf", &x509.Certificate{URIs: uri(node), KeyUsage: x509.KeyUsageDigitalSignature}, true},
		{"with a DNS name beside", &x509.Certificate{URIs: uri(node), DNSNames: []string{"n.example"}}, true},
		{"none", nil, false},
		{"no URI", &x509.Certificate{DNSNames: []string{"n.example"}}, false},
		{"two URIs", &x509.Certificate{URIs: uri(node, "https://example.com/")}, false},
		{"another URI", &x509.Certificate{URIs: uri("https://example.com/region/r/node/n")}, false},
		{"an authority", &x509.Certificate{URIs: uri(node), IsCA: true}, false},
		{"may sign certificates", &x509.Certificate{URIs: uri(node), KeyUsage: x509.KeyUsageCertSign}, false},
		{"may sign CRLs", &x509.Certificate{URIs: uri(node), KeyUsage: x509.KeyUsageCRLSign}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, err := ident.FromCertificate(tc.cert)
			if (err == nil) != tc.ok || err == nil && w.URI() != node {
				t.Errorf("got %v, %v", w, err)
			}
		})
	}
}
