// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/fields"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	maxApply = 10_000
	// prefetch is how many resources of a kind make it quicker to read the whole kind than one after the other.
	prefetch = 50
)

// Apply brings many resources into the wanted state in one transaction: one revision, wholly or not at all. Their order
// does not matter: people come before servers, servers before connections, connections and identity providers before
// gateways, and gateways before OAuth clients. Fields that are not set take their defaults; secrets that are not set are kept. Problems of all resources of a kind are reported
// together, each with the resource in its path.
func (c *Catalog) Apply(ctx context.Context, caller Caller, objects []Object, opt ApplyOptions) (Applied, error) {
	wanted, err := wantedOf(objects)
	if err != nil {
		return Applied{}, err
	}
	var out Applied
	var gone []string
	rev, _, err := c.withSecrets(ctx, caller, opt.ValidateOnly, wanted, func(d *draft) error {
		out, gone = Applied{Items: make([]AppliedItem, len(wanted))}, nil
		d.Tx.SetAtomic() // nodes too enforce it wholly or not at all (D-35)
		if opt.Staged {
			d.Tx.SetStaged()
		}
		if err := d.applyAll(ctx, wanted, out.Items); err != nil || !opt.Prune {
			return err
		}
		deleted, uids, err := d.prune(ctx, wanted)
		out.Items, gone = append(out.Items, deleted...), uids
		return err
	})
	if err != nil {
		return Applied{}, err
	}
	if !opt.ValidateOnly {
		c.dropSecrets(ctx, gone)
	}
	out.Revision = rev
	return out, nil
}

// wantedOf copies the input and refuses what a manifest cannot have.
func wantedOf(objects []Object) ([]Object, error) {
	if len(objects) > maxApply {
		return nil, fault.Newf(fault.Invalid, resource.ReasonInvalidField, "There are %d resources; at most %d can be applied at once.", len(objects), maxApply)
	}
	seen := make(map[Key]bool, len(objects))
	out := make([]Object, len(objects))
	var problems resource.Problems
	for i, o := range objects {
		in, err := prepared(o)
		if err != nil {
			return nil, err
		}
		out[i] = in
		key := Key{Kind: in.Kind(), Name: in.Metadata().Name}
		switch path := fmt.Sprintf("resources[%d]", i); {
		case !slices.Contains(exported(), in.Kind()):
			problems.Add(resource.ReasonInvalidField, path, "%s cannot be applied", in.Kind().One())
		case seen[key]:
			problems.Add(ReasonDuplicate, path, "the %s %q is there twice", desk.Label(key.Kind), key.Name)
		}
		seen[key] = true
	}
	return out, problems.Err("configuration")
}

// applyAll creates and updates kind by kind, in the order in which they depend on each other. Problems of one kind end
// it: those of the next would mostly follow from them.
func (d *draft) applyAll(ctx context.Context, wanted []Object, items []AppliedItem) error {
	if err := d.prefetch(ctx, wanted); err != nil {
		return err
	}
	for _, kind := range exported() {
		var refused []*fault.Fault
		for i, o := range wanted {
			if o.Kind() != kind {
				continue
			}
			item, err := d.applyOne(ctx, o)
			items[i] = item
			if f := (*fault.Fault)(nil); errors.As(err, &f) && resource.IsRefusal(f.Kind) {
				refused = append(refused, resource.Located(f, desk.Label(o.Kind())+" "+o.Metadata().Name))
				continue
			}
			if err != nil {
				return err
			}
		}
		if err := resource.Joined(refused); err != nil {
			return err
		}
	}
	return nil
}

// prefetch reads whole kinds where many of their resources will be asked for; the transaction keeps them.
func (d *draft) prefetch(ctx context.Context, wanted []Object) error {
	count := make(map[Kind]int)
	for _, o := range wanted {
		count[o.Kind()]++
		if g, ok := o.(*Gateway); ok {
			count[KindAssignment]++
			count[KindTool] += len(g.Tools)
			count[KindConnection] += len(g.Tools) + len(g.ServerFeatures)
		}
		if t, ok := o.(*Team); ok {
			count[KindUser] += len(t.Members)
		}
	}
	for kind, n := range count {
		if n <= prefetch {
			continue
		}
		if _, err := d.R.ListPrefix(ctx, kind, ""); err != nil {
			return err
		}
	}
	return nil
}

func (d *draft) applyOne(ctx context.Context, o Object) (AppliedItem, error) {
	item := AppliedItem{Kind: o.Kind(), Name: o.Metadata().Name, Action: ActionUnchanged}
	exists, err := desk.Find[Object](ctx, d.Desk, item.Kind, item.Name)
	if err != nil {
		return item, err
	}
	if exists == nil {
		item.Action = ActionCreated
		if err := d.create(ctx, o); err != nil {
			return item, err
		}
		item.ChangedFields, err = fields.Changed(nil, o)
		return item, err
	}
	if item.ChangedFields, err = d.update(ctx, o, []string{fields.Everything}); len(item.ChangedFields) > 0 {
		item.Action = ActionUpdated
	}
	return item, err
}

// prune deletes what is not wanted, in the reverse order of dependence, but never the caller, and no connection of a person who
// stays to a server that stays: people make those themselves, when a call asks them to, and no manifest knows of them. It returns
// what the authserver kept the secrets under of those that went.
func (d *draft) prune(ctx context.Context, wanted []Object) ([]AppliedItem, []string, error) {
	who, err := d.Who(ctx)
	if err != nil {
		return nil, nil, err
	}
	if !who.Unlimited() {
		return nil, nil, fault.New(fault.Denied, access.ReasonRoleRequired, "You may not prune: that needs the role ADMIN, because it deletes everything that is not listed.")
	}
	keep := make(map[Key]bool, len(wanted))
	for _, o := range wanted {
		keep[Key{Kind: o.Kind(), Name: o.Metadata().Name}] = true
	}
	keep[Key{Kind: KindUser, Name: d.Caller.Email}] = true
	if err := admission.PinsStay(wanted, keep); err != nil {
		return nil, nil, err
	}
	d.prunes = true
	var items []AppliedItem
	var gone []string
	kinds := exported()
	slices.Reverse(kinds)
	for _, kind := range kinds {
		recs, err := d.R.ListPrefix(ctx, kind, "")
		if err != nil {
			return nil, nil, err
		}
		for _, rec := range recs {
			if keep[rec.Key] {
				continue
			}
			if theirs, err := d.isOwn(ctx, rec.Key, keep); err != nil || theirs {
				if err != nil {
					return nil, nil, err
				}
				continue
			}
			uid, err := d.remove(ctx, kind, rec.Name, "")
			if err != nil {
				return nil, nil, err
			}
			gone = append(gone, secretsOf(kind, uid)...)
			items = append(items, AppliedItem{Kind: kind, Name: rec.Name, Action: ActionDeleted})
		}
	}
	return items, gone, nil
}

// isOwn reports whether a resource is a connection that a person has to a server, where both are kept.
func (d *draft) isOwn(ctx context.Context, key Key, keep map[Key]bool) (bool, error) {
	if key.Kind != KindConnection {
		return false, nil
	}
	c, err := desk.Find[*Connection](ctx, d.Desk, KindConnection, key.Name)
	if err != nil || c == nil {
		return false, err
	}
	return c.Owner.User != "" && keep[Key{Kind: KindUser, Name: c.Owner.User}] && keep[Key{Kind: KindServer, Name: c.Server}], nil
}
