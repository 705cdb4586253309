// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// configuration serves ConfigurationService.
type configuration struct{ *api }

// Apply implements adminv1connect.ConfigurationServiceHandler.
func (s configuration) Apply(ctx context.Context, req *adminv1.ApplyRequest) (*adminv1.ApplyResponse, error) {
	objects := make([]catalog.Object, 0, len(req.GetResources()))
	for i, r := range req.GetResources() {
		o, err := toDomain(resourceMessage(r)) // that something is set, validation has checked
		if err != nil {
			return nil, fmt.Errorf("resource %d: %w", i, err)
		}
		objects = append(objects, o)
	}
	applied, err := s.catalog.Apply(ctx, callerOf(ctx), objects,
		catalog.ApplyOptions{Prune: req.GetPrune(), ValidateOnly: req.GetValidateOnly(), Staged: req.GetStaged()})
	if err != nil {
		return nil, atManifest(err, req.GetResources())
	}
	return &adminv1.ApplyResponse{Revision: uint64(applied.Revision), Resources: appliedResources(applied.Items)}, nil
}

func appliedResources(items []catalog.AppliedItem) (out []*adminv1.AppliedResource) {
	for _, i := range items {
		out = append(out, &adminv1.AppliedResource{
			Kind: i.Kind.Title(), Name: i.Name, Action: i.Action, ChangedFields: i.ChangedFields,
		})
	}
	return out
}

// Export implements adminv1connect.ConfigurationServiceHandler.
func (s configuration) Export(ctx context.Context, _ *adminv1.ExportRequest) (*adminv1.ExportResponse, error) {
	objects, rev, err := s.catalog.Export(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	res := &adminv1.ExportResponse{Revision: uint64(rev)}
	for _, o := range objects {
		r, err := manifestOf(o)
		if err != nil {
			return nil, err
		}
		res.Resources = append(res.Resources, r)
	}
	return res, nil
}

// GetHead implements adminv1connect.ConfigurationServiceHandler.
func (s configuration) GetHead(ctx context.Context, _ *adminv1.GetHeadRequest) (*adminv1.GetHeadResponse, error) {
	head, err := s.log.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	return &adminv1.GetHeadResponse{Epoch: head.Epoch, Revision: uint64(head.Revision)}, nil
}

// WaitEnforced implements adminv1connect.ConfigurationServiceHandler. A timeout is an answer, not an error.
func (s configuration) WaitEnforced(ctx context.Context, req *adminv1.WaitEnforcedRequest) (*adminv1.WaitEnforcedResponse, error) {
	head, err := s.log.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}
	rev, whole := catalog.Revision(req.GetRevision()), req.GetRevision() == 0
	if whole {
		rev = head.Revision // whoever made it, what the caller wrote before is to be enforced
	}
	if rev > head.Revision {
		return nil, fault.Newf(fault.Invalid, "REVISION_AHEAD", "There is no revision %d yet; the latest is %d.", rev, head.Revision).
			At("revision", "is later than the head")
	}
	wait := defaultWait
	if req.GetTimeout() != nil {
		wait = req.GetTimeout().AsDuration()
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	e, err := s.fleet.WaitEnforced(waiting, rev, whole)
	if err != nil {
		return nil, fmt.Errorf("wait for revision %d: %w", rev, err)
	}
	slices.Sort(e.Enforcing)
	slices.Sort(e.Lagging)
	slices.Sort(e.Disconnected)
	return &adminv1.WaitEnforcedResponse{
		Enforced: e.Enforced, Revision: uint64(rev),
		EnforcingNodes: e.Enforcing, LaggingNodes: e.Lagging, DisconnectedNodes: e.Disconnected,
	}, nil
}

// manifestOf encodes an object as a resource of a configuration.
func manifestOf(o catalog.Object) (*adminv1.ManifestResource, error) {
	var m proto.Message
	var err error
	switch o.Kind() {
	case catalog.KindServer:
		m, err = toProto[*resourcev1.Server](o)
	case catalog.KindConnection:
		m, err = toProto[*resourcev1.Connection](o)
	case catalog.KindGateway:
		m, err = toProto[*resourcev1.Gateway](o)
	case catalog.KindTeam:
		m, err = toProto[*resourcev1.Team](o)
	case catalog.KindUser:
		m, err = toProto[*resourcev1.User](o)
	case catalog.KindIdentityProvider:
		m, err = toProto[*resourcev1.IdentityProvider](o)
	case catalog.KindOAuthClient:
		m, err = toProto[*resourcev1.OAuthClient](o)
	case catalog.KindPolicy:
		m, err = toProto[*resourcev1.Policy](o)
	case catalog.KindResultPolicy:
		m, err = toProto[*resourcev1.ResultPolicy](o)
	default:
		return nil, fmt.Errorf("export %s %s: not a kind of manifests", o.Kind(), o.Metadata().Name)
	}
	if err != nil {
		return nil, err
	}
	r := &adminv1.ManifestResource{}
	slot := r.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(o.Kind()))
	r.ProtoReflect().Set(slot, protoreflect.ValueOfMessage(m.ProtoReflect()))
	return r, nil
}
