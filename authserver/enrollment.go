// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"path/filepath"

	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/member"
)

// EnrollmentSettings say how the authserver gets its certificate where there are no files of one (D-81).
type EnrollmentSettings struct {
	JoinToken     obs.Secret `name:"join_token" help:"join token (penstock node join-token --role authserver), for the first start without tls.cert; the certificate is then kept in the data folder and renewed"`
	JoinTokenFile string     `name:"join_token_file" help:"file that holds the join token"`
}

// identityDir is the folder of the certificate that the authserver got with a join token.
func (s *Settings) identityDir() string { return filepath.Join(s.Data.Dir, "identity") }

// joins reports whether the certificate comes from the control plane, and not from files.
func (s *Settings) joins() bool {
	return s.TLS.Cert == "" && s.TLS.Key == "" &&
		(s.Enrollment.JoinToken != "" || s.Enrollment.JoinTokenFile != "" || s.Data.Dir != "" && member.Exists(s.identityDir()))
}

// identity is who this authserver is to others.
type identity struct {
	source tlsx.Source
	member *member.Member // nil: the certificate is in files, or there is none
}

// openIdentity loads the certificate, or joins with the token, which takes until a control plane answers.
func openIdentity(ctx context.Context, c Config) (*identity, error) {
	if !c.joins() || c.DialControlPlane != nil {
		return &identity{source: c.TLS.files()}, nil
	}
	m, err := member.Open(ctx, member.Config{
		Endpoints: c.ControlPlane.Endpoints, TrustDomain: c.TLS.TrustDomain, Role: ident.RoleAuthserver, Dir: c.identityDir(),
		Token: c.Enrollment.JoinToken, TokenFile: c.Enrollment.JoinTokenFile, CA: c.TLS.CA, Log: c.Telemetry.Log,
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
