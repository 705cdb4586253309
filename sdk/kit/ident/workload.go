// SPDX-License-Identifier: Apache-2.0

package ident

import (
	"crypto/x509"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Role says which process of Penstock a workload is.
type Role string

// The roles, as they stand in a SPIFFE ID.
const (
	RoleNode         Role = "node"
	RoleAuthserver   Role = "authserver"
	RoleControlPlane Role = "controlplane"
)

// ReasonSPIFFE is the reason of every fault of this package: a SPIFFE ID or a
// certificate that does not name a workload of Penstock.
const ReasonSPIFFE = "SPIFFE_ID_INVALID"

// Limits of the SPIFFE ID standard, sections 2.1 and 2.3.
const (
	maxURI         = 2048
	maxTrustDomain = 255
)

const scheme = "spiffe://"

// Workload is one process of Penstock, identified by the certificate it holds.
// Region may be empty: a node without one serves every gateway (D-11).
type Workload struct {
	TrustDomain, Region string
	Role                Role
	Name                string
}

// ParseSPIFFE reads spiffe://<trust domain>/region/<region>/<role>/<name>,
// where role is node, authserver or controlplane, or without a region
// spiffe://<trust domain>/<role>/<name>.
//
// It accepts exactly the character set of the SPIFFE ID standard and nothing
// that would have to be normalised first, so that equal workloads have equal
// text. Anything else is Invalid, SPIFFE_ID_INVALID.
func ParseSPIFFE(uri string) (Workload, error) {
	if len(uri) > maxURI {
		return Workload{}, refuse("it is longer than 2048 bytes")
	}
	rest, ok := strings.CutPrefix(uri, scheme)
	if !ok {
		return Workload{}, refuse("it does not start with spiffe://")
	}
	domain, path, _ := strings.Cut(rest, "/")
	if domain == "" || len(domain) > maxTrustDomain || !only(domain, isDomain) {
		return Workload{}, refuse("its trust domain is not a lower-case name")
	}
	segments := strings.Split(path, "/")
	for _, s := range segments {
		if s == "" || s == "." || s == ".." || !only(s, isSegment) {
			return Workload{}, refuse("its path has an empty or malformed segment")
		}
	}
	w := Workload{TrustDomain: domain}
	if len(segments) == 4 && segments[0] == "region" {
		w.Region, segments = segments[1], segments[2:]
	}
	if len(segments) != 2 {
		return Workload{}, refuse("its path is not /region/<region>/<role>/<name>")
	}
	w.Role, w.Name = Role(segments[0]), segments[1]
	if !slices.Contains([]Role{RoleNode, RoleAuthserver, RoleControlPlane}, w.Role) {
		return Workload{}, refuse("its role is not node, authserver or controlplane")
	}
	return w, nil
}

// URI returns the SPIFFE ID of w; ParseSPIFFE(w.URI()) gives w back for every
// w that ParseSPIFFE returned.
func (w Workload) URI() string {
	if w.Region == "" {
		return scheme + w.TrustDomain + "/" + string(w.Role) + "/" + w.Name
	}
	return scheme + w.TrustDomain + "/region/" + w.Region + "/" + string(w.Role) + "/" + w.Name
}

// String is [Workload.URI].
func (w Workload) String() string { return w.URI() }

// FromCertificate returns the workload that c names. As X.509-SVID sections
// 2 and 4 demand of a leaf, c has exactly one URI in its subject alternative
// names, is no certificate authority, and may sign no certificates or CRLs.
// The caller has verified the chain.
func FromCertificate(c *x509.Certificate) (Workload, error) {
	if c == nil {
		return Workload{}, refuse("there is no certificate")
	}
	if c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return Workload{}, refuse("the certificate belongs to an authority, not to a workload")
	}
	if len(c.URIs) != 1 {
		return Workload{}, refuse("the certificate has not exactly one URI name")
	}
	return ParseSPIFFE(c.URIs[0].String())
}

func refuse(why string) error {
	return fault.New(fault.Invalid, ReasonSPIFFE, "The SPIFFE ID is not one of Penstock's: "+why+".")
}

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func isDomain(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_'
}

func isSegment(c byte) bool { return isDomain(c) || 'A' <= c && c <= 'Z' }
