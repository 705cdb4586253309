// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// register notes who was let in or shut out.
type register struct {
	joined, banned []Workload
	life           time.Duration
	reason, actor  string
}

// CreateJoinToken implements Enrollment.
func (r *register) CreateJoinToken(_ context.Context, w Workload, life time.Duration, actor string) (JoinToken, error) {
	r.joined, r.life, r.actor = append(r.joined, w), life, actor
	return JoinToken{Token: "pjt_x", SPIFFEID: "spiffe://td/" + w.Role + "/" + w.Name, Expire: time.Unix(int64(life.Seconds()), 0)}, nil
}

// BanWorkload implements Enrollment.
func (r *register) BanWorkload(_ context.Context, w Workload, reason, actor string) (string, error) {
	r.banned, r.reason, r.actor = append(r.banned, w), reason, actor
	return "spiffe://td/" + w.Role + "/" + w.Name, nil
}

// Only administrators let workloads join or ban them, what is asked for arrives, and what makes no sense does not.
func TestEnrollmentService(t *testing.T) {
	r := &register{}
	s := nodes{&api{enrollment: r}}
	node := &adminv1.CreateJoinTokenRequest{Name: "n1", Region: "eu"}
	ban := &adminv1.BanWorkloadRequest{Role: adminv1.WorkloadRole_WORKLOAD_ROLE_CONTROL_PLANE, Name: "c1", Reason: "stolen"}
	for _, role := range []catalog.Role{catalog.RoleEditor, catalog.RoleMember} {
		_, err := s.CreateJoinToken(asRole(t.Context(), role), node)
		_, err2 := s.BanWorkload(asRole(t.Context(), role), ban)
		if fault.From(err).Reason != "ROLE_REQUIRED" || fault.From(err2).Reason != "ROLE_REQUIRED" {
			t.Errorf("%s: %v, %v", role, err, err2)
		}
	}
	if len(r.joined)+len(r.banned) > 0 {
		t.Fatal("somebody joined or was banned")
	}
	admin := asRole(t.Context(), catalog.RoleAdmin)
	res, err := s.CreateJoinToken(admin, node)
	if err != nil || r.joined[0] != (Workload{"node", "eu", "n1"}) || r.life != time.Hour || r.actor != "user:u" {
		t.Errorf("a node: %+v, %s by %s, %v", r.joined, r.life, r.actor, err)
	}
	if res.GetJoinToken() != "pjt_x" || res.GetSpiffeId() != "spiffe://td/node/n1" || res.GetExpireTime().GetSeconds() != 3600 {
		t.Errorf("answer: %v", res)
	}
	_, err = s.CreateJoinToken(admin, &adminv1.CreateJoinTokenRequest{
		Role: adminv1.WorkloadRole_WORKLOAD_ROLE_AUTHSERVER, Name: "as", Lifetime: durationpb.New(time.Minute),
	})
	if err != nil || r.joined[1] != (Workload{"authserver", "", "as"}) || r.life != time.Minute {
		t.Errorf("an authserver: %+v, %s, %v", r.joined, r.life, err)
	}
	_, err = s.CreateJoinToken(admin, &adminv1.CreateJoinTokenRequest{Role: adminv1.WorkloadRole_WORKLOAD_ROLE_AUTHSERVER, Name: "as", Region: "eu"})
	if fault.From(err).Reason != "REGION_NOT_USED" {
		t.Errorf("an authserver with a region: %v", err)
	}
	if _, err := s.BanWorkload(admin, ban); err != nil || r.banned[0] != (Workload{"controlplane", "", "c1"}) || r.reason != "stolen" {
		t.Errorf("a ban: %+v, %s, %v", r.banned, r.reason, err)
	}
	if _, err := (nodes{&api{}}).CreateJoinToken(admin, node); fault.From(err).Reason != "ENROLLMENT_OFF" {
		t.Errorf("without enrollment: %v", err)
	}
}
