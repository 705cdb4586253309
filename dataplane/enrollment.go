// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"path/filepath"

	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/member"
)

// ReasonBanned is the reason of the refusal of a node that is banned (D-81).
const ReasonBanned = "WORKLOAD_BANNED"

// EnrollmentSettings say how the node gets its certificate where there are no files of one.
type EnrollmentSettings struct {
	JoinToken     obs.Secret `name:"join_token" help:"join token (penstock node join-token), for the first start without tls.cert; the certificate is then kept in the data folder and renewed"`
	JoinTokenFile string     `name:"join_token_file" help:"file that holds the join token"`
}

// identityDir is the folder of the certificate that the node got with a join token.
func (s *Settings) identityDir() string { return filepath.Join(s.Data.Dir, "identity") }

// joins reports whether the certificate comes from the control plane, and not from files.
func (s *Settings) joins() bool {
	return s.TLS.Cert == "" && s.TLS.Key == "" &&
		(s.Enrollment.JoinToken != "" || s.Enrollment.JoinTokenFile != "" || s.Data.Dir != "" && member.Exists(s.identityDir()))
}

// identity is who this node is to others.
type identity struct {
	source tlsx.Source
	member *member.Member // nil: the certificate is in files, or there is none
	files  tlsx.Files
}

// openIdentity loads the certificate, or joins with the token, which takes until a control plane answers.
func (n *Node) openIdentity(ctx context.Context) (*identity, error) {
	files := n.c.TLS.files()
	if !n.c.joins() || n.c.DialControlPlane != nil && n.c.Credentials != nil {
		return &identity{source: files, files: files}, nil
	}
	m, err := member.Open(ctx, member.Config{
		Endpoints: n.c.ControlPlane.Endpoints, TrustDomain: n.c.TLS.TrustDomain, Role: ident.RoleNode, Dir: n.c.identityDir(),
		Token: n.c.Enrollment.JoinToken, TokenFile: n.c.Enrollment.JoinTokenFile, CA: n.c.TLS.CA, Log: n.c.Telemetry.Log,
	})
	if err != nil {
		return nil, err
	}
	return &identity{source: m.Source(), member: m}, nil
}

// run renews the certificate until ctx ends.
func (i *identity) run(ctx context.Context) error {
	if i.member == nil {
		return nil
	}
	return i.member.Run(ctx)
}

// workload returns who the certificate says this node is, nobody if there is none: in standalone.
func (i *identity) workload() (ident.Workload, error) {
	switch {
	case i.member != nil:
		return i.member.Workload(), nil
	case i.files.Cert == "":
		return ident.Workload{}, nil
	}
	pair, err := tls.LoadX509KeyPair(i.files.Cert, i.files.Key)
	if err != nil {
		return ident.Workload{}, err
	}
	return ident.FromCertificate(pair.Leaf)
}

// refuseBanned returns what a listener for other nodes asks about each peer: Denied, WORKLOAD_BANNED, for a banned one.
func refuseBanned(h *view.Holder) func(ident.Workload) error {
	return func(w ident.Workload) error {
		if !h.Banned(sha256.Sum256([]byte(w.URI()))) {
			return nil
		}
		return fault.New(fault.Denied, ReasonBanned, "This node is banned.")
	}
}
