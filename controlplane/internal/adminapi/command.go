// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// The functions here are the calls that the resources have in common; a service decodes its request into their arguments and
// their results into its response.

// create stores a new resource and returns it as stored.
func create[M proto.Message](ctx context.Context, a *api, m M, validateOnly bool) (M, catalog.Written, error) {
	var none M
	o, err := toDomain(m)
	if err != nil {
		return none, catalog.Written{}, err
	}
	w, err := a.catalog.Create(ctx, callerOf(ctx), o, catalog.WriteOptions{ValidateOnly: validateOnly})
	if err != nil {
		return none, w, atResource(err, m)
	}
	out, err := toProto[M](w.Object)
	return out, w, err
}

// get returns one resource.
func get[M proto.Message](ctx context.Context, a *api, k catalog.Kind, name string) (M, error) {
	o, err := a.catalog.Get(ctx, callerOf(ctx), k, name)
	if err != nil {
		var none M
		return none, err
	}
	return toProto[M](o)
}

// lister is a list request.
type lister interface {
	GetPageSize() int32
	GetPageToken() string
	GetFilter() string
	GetShowDeleted() bool
}

// list returns one page and the token of the next.
func list[M proto.Message](ctx context.Context, a *api, k catalog.Kind, req lister) ([]M, string, error) {
	page, err := a.catalog.List(ctx, callerOf(ctx), k, catalog.ListOptions{
		PageSize: int(req.GetPageSize()), PageToken: req.GetPageToken(), Filter: req.GetFilter(), ShowDeleted: req.GetShowDeleted(),
	})
	if err != nil {
		return nil, "", err
	}
	out := make([]M, 0, len(page.Objects))
	for _, o := range page.Objects {
		m, err := toProto[M](o)
		if err != nil {
			return nil, "", err
		}
		out = append(out, m)
	}
	return out, page.NextPageToken, nil
}

// update changes the masked fields of a resource and returns it as stored.
func update[M proto.Message](ctx context.Context, a *api, m M, mask *fieldmaskpb.FieldMask, validateOnly bool) (M, uint64, error) {
	var none M
	o, err := toDomain(m)
	if err != nil {
		return none, 0, err
	}
	paths := mask.GetPaths()
	if len(paths) == 0 {
		paths = setFields(m.ProtoReflect())
		slices.Sort(paths)
	}
	w, err := a.catalog.Update(ctx, callerOf(ctx), o, paths, catalog.WriteOptions{ValidateOnly: validateOnly})
	if err != nil {
		return none, 0, atResource(err, m)
	}
	out, err := toProto[M](w.Object)
	return out, uint64(w.Revision), err
}

// deleter is a delete request.
type deleter interface {
	GetName() string
	GetEtag() string
	GetValidateOnly() bool
}

// remove deletes one resource and returns the revision that did.
func remove(ctx context.Context, a *api, k catalog.Kind, req deleter) (uint64, error) {
	rev, err := a.catalog.Delete(ctx, callerOf(ctx), k, req.GetName(), req.GetEtag(), catalog.WriteOptions{ValidateOnly: req.GetValidateOnly()})
	return uint64(rev), err
}

// undelete brings a resource back.
func undelete[M proto.Message](ctx context.Context, a *api, k catalog.Kind, name string, validateOnly bool) (M, uint64, error) {
	w, err := a.catalog.Undelete(ctx, callerOf(ctx), k, name, catalog.WriteOptions{ValidateOnly: validateOnly})
	if err != nil {
		var none M
		return none, 0, err
	}
	out, err := toProto[M](w.Object)
	return out, uint64(w.Revision), err
}
