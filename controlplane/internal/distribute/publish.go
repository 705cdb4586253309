// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// PublishRevocations implements DistributionService: for authservers only.
func (s *Server) PublishRevocations(ctx context.Context, r *distributionv1.PublishRevocationsRequest) (*distributionv1.PublishRevocationsResponse, error) {
	w, err := enroll.Peer(ctx, ident.RoleAuthserver)
	if err != nil {
		return nil, toStatus(err)
	}
	if err := validate(r); err != nil {
		return nil, err
	}
	if s.revoked.store == nil {
		return nil, status.Error(codes.Unimplemented, "this control plane keeps no revocations")
	}
	list := make([]Revocation, len(r.GetRevocations()))
	for i, m := range r.GetRevocations() {
		if list[i], err = readRevocation(m); err != nil {
			return nil, err
		}
	}
	if err := s.revoked.store.Revoke(ctx, list); err != nil {
		s.log.ErrorContext(ctx, "revocations not stored", obs.AttrNode, w.Name, obs.AttrError, err)
		return nil, status.Error(codes.Unavailable, "the revocations could not be stored: send them again")
	}
	// They are stored, and the hint or the next look brings them; this way a stream that begins now has them first (D-20).
	if err := s.readRevocations(ctx); err != nil {
		s.log.DebugContext(ctx, "revocations not read at once", obs.AttrNode, w.Name, obs.AttrError, err)
	}
	return &distributionv1.PublishRevocationsResponse{}, nil
}

func readRevocation(m *distributionv1.Revocation) (Revocation, error) {
	if m.GetKind() == distributionv1.RevocationKind_REVOCATION_KIND_WORKLOAD {
		return Revocation{}, status.Error(codes.InvalidArgument, "workloads are banned over the admin API")
	}
	subject := m.GetKind() == distributionv1.RevocationKind_REVOCATION_KIND_SUBJECT
	if subject != (m.GetIssuedBefore() != nil) {
		return Revocation{}, status.Error(codes.InvalidArgument, "issued_before is set for a subject, and for nothing else")
	}
	out := Revocation{Kind: int32(m.GetKind()), KeySHA256: [32]byte(m.GetKeySha256()), ExpireTime: m.GetExpireTime().AsTime()}
	if subject {
		out.IssuedBefore = m.GetIssuedBefore().AsTime()
	}
	return out, nil
}
