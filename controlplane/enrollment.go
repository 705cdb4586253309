// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/adminapi"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	"github.com/penstockhq/penstock/controlplane/internal/enroll/authority"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

// ReasonEnrollmentOff is the reason of a join token that nobody could use, because there is no built-in authority.
const ReasonEnrollmentOff = "ENROLLMENT_OFF"

// EnrollmentSettings name the built-in certificate authority (D-81).
type EnrollmentSettings struct {
	CACert   string        `name:"ca_cert" help:"certificate of the built-in authority, PEM, the same at every control plane; empty: certificates come from elsewhere (tls.cert)"`
	CAKey    string        `name:"ca_key" help:"private key of the built-in authority, PEM"`
	CreateCA bool          `name:"create_ca" help:"make the built-in authority if its files are missing"`
	Name     string        `name:"name" help:"name of this control plane in the certificate that it issues to itself; empty is the host name"`
	Lifetime time.Duration `name:"lifetime" default:"1h" help:"how long a certificate is good; workloads renew theirs at half of it"`
}

// shortestLife bounds enrollment.lifetime: workloads renew at half of it, over a network.
const shortestLife = 2 * time.Second

func (e EnrollmentSettings) on() bool { return e.CACert != "" }

// problems adds what is wrong with the settings of certificates.
func (s *Settings) certificateProblems(f *fault.Fault) *fault.Fault {
	e := s.Enrollment
	if (e.CACert == "") != (e.CAKey == "") {
		f = f.At("enrollment.ca_key", "must be set together with enrollment.ca_cert")
	}
	if e.on() && e.Lifetime < shortestLife {
		f = f.At("enrollment.lifetime", "is less than 2s")
	}
	if e.Name != "" && plainName(e.Name) != e.Name {
		f = f.At("enrollment.name", "has other characters than a-z, 0-9, dots and dashes")
	}
	if s.Nodes.Listen == "" || e.on() && s.TLS.Cert == "" && s.TLS.Key == "" {
		return f
	}
	for _, file := range []struct{ path, value string }{{"tls.cert", s.TLS.Cert}, {"tls.key", s.TLS.Key}, {"tls.ca", s.TLS.CA}} {
		if file.value == "" {
			f = f.At(file.path, "is empty: nodes.listen serves mutual TLS only")
		}
	}
	return f
}

// identity is who this control plane is to others, and the authority that says who they are.
type identity struct {
	source    tlsx.Source
	authority *authority.Authority // nil: certificates come from elsewhere
	held      *tlsx.Held           // of source, if the certificate is made here
	self      ident.Workload
	c         Config
}

// openIdentity reads the authority, if there is one, and makes the first certificate.
func openIdentity(c Config) (*identity, error) {
	files := c.TLS.files()
	i := &identity{source: files, c: c}
	if !c.Enrollment.on() {
		return i, nil
	}
	var others []*x509.Certificate
	var err error
	if c.TLS.CA != "" {
		if others, err = authority.ReadCertificates(c.TLS.CA); err != nil {
			return nil, fault.Newf(fault.Precondition, tlsx.ReasonFiles, "The TLS authorities %s cannot be used.", c.TLS.CA).Because(err)
		}
	}
	i.authority, err = authority.Open(authority.Config{
		Cert: c.Enrollment.CACert, Key: c.Enrollment.CAKey, Create: c.Enrollment.CreateCA, Trust: others,
		TrustDomain: c.TLS.TrustDomain, Lifetime: c.Enrollment.Lifetime, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	if c.TLS.Cert != "" {
		files.Trust = i.authority.Trust()
		i.source = files
		return i, nil
	}
	i.self = ident.Workload{TrustDomain: c.TLS.TrustDomain, Role: ident.RoleControlPlane, Name: c.Enrollment.Name}
	if i.self.Name == "" {
		host, _ := os.Hostname() // without one it is called like its role
		i.self.Name = plainName(host)
	}
	i.held = &tlsx.Held{}
	i.source = i.held
	return i, i.renew()
}

var notPlain = regexp.MustCompile(`[^a-z0-9.-]+`)

// plainName makes a name for a SPIFFE id of a host name.
func plainName(host string) string {
	name := strings.Trim(notPlain.ReplaceAllString(strings.ToLower(host), "-"), ".-")
	if name == "" {
		return string(ident.RoleControlPlane)
	}
	return name
}

// renew makes a new certificate for this process.
func (i *identity) renew() error {
	cert, err := i.authority.IssueOwn(i.self)
	if err != nil {
		return fmt.Errorf("issue the control plane's own certificate: %w", err)
	}
	i.held.Set(cert, i.authority.Trust())
	return nil
}

// run renews the certificate at half its life until ctx ends.
func (i *identity) run(ctx context.Context) error {
	if i.held == nil {
		return nil
	}
	for {
		half := i.authority.Lifetime() / 2
		timer := time.NewTimer(half - rand.N(half/10+1)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := i.renew(); err != nil {
			i.c.Telemetry.Log.ErrorContext(ctx, "own certificate not renewed", obs.Fault(err))
		}
	}
}

// workloads lets workloads join and shuts them out, for the admin API.
type workloads struct {
	store    *sqlstore.Store
	bans     *enroll.Bans
	identity *identity
}

// CreateJoinToken implements adminapi.Enrollment.
func (w workloads) CreateJoinToken(ctx context.Context, who adminapi.Workload, life time.Duration, actor string) (adminapi.JoinToken, error) {
	a := w.identity.authority
	switch {
	case a == nil:
		return adminapi.JoinToken{}, fault.New(fault.Precondition, ReasonEnrollmentOff,
			"This control plane has no authority that could issue certificates: set enrollment.ca_cert and enrollment.ca_key.")
	case who.Role == string(ident.RoleControlPlane):
		return adminapi.JoinToken{}, fault.New(fault.Invalid, "ROLE_JOINS_OTHERWISE",
			"A control plane issues its certificate itself, with the files of enrollment.ca_cert and enrollment.ca_key; it needs no join token.").
			At("role", "is CONTROL_PLANE")
	}
	id := w.id(who).URI()
	if _, err := ident.ParseSPIFFE(id); err != nil {
		return adminapi.JoinToken{}, err
	}
	token, sha := enroll.MintToken(a.Fingerprint())
	now := time.Now()
	err := w.store.AddJoinToken(ctx, sqlstore.JoinToken{SHA256: sha, SPIFFEID: id, Actor: actor, Create: now, End: now.Add(life)})
	if err != nil {
		return adminapi.JoinToken{}, err
	}
	w.identity.c.Telemetry.Log.InfoContext(ctx, "join token made", obs.AttrRole, who.Role, obs.AttrNode, who.Name,
		obs.AttrRegion, who.Region, obs.AttrActor, actor)
	return adminapi.JoinToken{Token: token, SPIFFEID: id, Expire: now.Add(life)}, nil
}

// BanWorkload implements adminapi.Enrollment. Here it is in force when it returns, elsewhere within the time of a revocation.
func (w workloads) BanWorkload(ctx context.Context, who adminapi.Workload, reason, actor string) (string, error) {
	id := w.id(who).URI()
	if _, err := ident.ParseSPIFFE(id); err != nil {
		return "", err
	}
	if err := w.store.BanWorkload(ctx, sqlstore.Ban{SPIFFEID: id, Actor: actor, Reason: reason}); err != nil {
		return "", err
	}
	if err := w.bans.Load(ctx); err != nil { // it is stored, and found by who looks
		w.identity.c.Telemetry.Log.WarnContext(ctx, "ban not read at once", obs.Fault(err))
	}
	w.identity.c.Telemetry.Log.WarnContext(ctx, "workload banned", obs.AttrRole, who.Role, obs.AttrNode, who.Name,
		obs.AttrRegion, who.Region, obs.AttrActor, actor, obs.AttrReason, reason)
	return id, nil
}

func (w workloads) id(who adminapi.Workload) ident.Workload {
	return ident.Workload{TrustDomain: w.identity.c.TLS.TrustDomain, Role: ident.Role(who.Role), Region: who.Region, Name: who.Name}
}

// known shows enrollment what the store knows.
type known struct{ *sqlstore.Store }

// Workload implements enroll.Store.
func (k known) Workload(ctx context.Context, id string) (enroll.Known, error) {
	w, err := k.Store.Workload(ctx, id)
	return enroll.Known{KeySHA256: w.KeySHA256, Banned: w.Banned}, err
}

// markedFleet is a fleet that shows who is banned, also nodes that were never connected.
type markedFleet struct {
	adminapi.Fleet

	bans *enroll.Bans
}

// Nodes implements adminapi.Fleet.
func (f markedFleet) Nodes(ctx context.Context) ([]adminapi.Node, error) {
	list, err := f.Fleet.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	list = slices.Clone(list)
	for _, id := range f.bans.List() {
		w, err := ident.ParseSPIFFE(id)
		if err != nil || w.Role != ident.RoleNode {
			continue
		}
		i := slices.IndexFunc(list, func(n adminapi.Node) bool { return n.Name == w.Name && n.Region == w.Region })
		if i < 0 {
			i, list = len(list), append(list, adminapi.Node{Name: w.Name, Region: w.Region})
		}
		list[i].Banned = true
	}
	return list, nil
}
