// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/usage"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Delete deletes a resource. It is soft for 30 days (G-6): a server or gateway can be brought back. What others need is
// not deleted: Precondition with reason RESOURCE_IN_USE lists them. A connection is the exception (G-11): assignments
// that pin it stay, and say which connection is missing. A tool goes with its server only.
func (c *Catalog) Delete(ctx context.Context, caller Caller, kind Kind, name, etag string, opt WriteOptions) (Revision, error) {
	if kind == KindTool || kind == KindAssignment {
		return 0, resource.NotAResource(kind, "deleted by itself")
	}
	var gone []string
	rev, _, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) error {
		gone = nil
		uid, err := d.remove(ctx, kind, resource.NormalizeName(kind, name), etag)
		gone = append(gone, secretsOf(kind, uid)...)
		return err
	})
	if err == nil && !opt.ValidateOnly {
		c.dropSecrets(ctx, gone)
	}
	return rev, err
}

// remove deletes a resource and what belongs to it, and returns its UID.
func (d *draft) remove(ctx context.Context, kind Kind, name, etag string) (uid string, err error) {
	o, err := d.Visible(ctx, kind, name)
	if err != nil {
		return "", err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return "", err
	}
	if err := who.Deletes(o); err != nil {
		return "", err
	}
	if err := desk.Fresh(o, etag); err != nil {
		return "", err
	}
	key := Key{Kind: kind, Name: name}
	// First it is deleted and then looked at: the look sees what the transaction will find when it commits.
	if err := d.Take(ctx, key); err != nil {
		return "", err
	}
	if u, ok := o.(*User); ok && admission.IsAdmin(u) {
		if err := admission.NotLastAdmin(ctx, d.Desk, u.Name); err != nil {
			return "", err
		}
	}
	if d.prunes {
		if err := d.removeTokens(ctx, o); err != nil {
			return "", err
		}
	}
	if err := usage.Refuse(ctx, d.Desk, o); err != nil {
		return "", err
	}
	return o.Metadata().UID, d.removeParts(ctx, o)
}

// removeTokens deletes the bearer tokens of whom Apply prunes.
func (d *draft) removeTokens(ctx context.Context, owner Object) error {
	tokens, err := usage.Tokens(ctx, d.Desk, owner)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if err := d.Take(ctx, Key{Kind: KindBearerToken, Name: t.Name}); err != nil {
			return err
		}
	}
	return nil
}

// removeParts deletes what exists only within a resource: a gateway's assignments, a server's tools.
func (d *draft) removeParts(ctx context.Context, o Object) error {
	part := partsOf(o.Kind())
	if part == "" {
		return nil
	}
	recs, err := d.R.ListPrefix(ctx, part, o.Metadata().Name+"/")
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := d.Tx.Delete(ctx, rec.Key); err != nil {
			return err
		}
	}
	return nil
}

func partsOf(kind Kind) Kind {
	switch kind {
	case KindGateway:
		return KindAssignment
	case KindServer:
		return KindTool
	default:
		return ""
	}
}

// Undelete brings back a server or gateway that was deleted within the last 30 days, with the tools or assignments that
// were deleted with it. What it refers to must still be there, but for pinned connections (G-11).
func (c *Catalog) Undelete(ctx context.Context, caller Caller, kind Kind, name string, opt WriteOptions) (Written, error) {
	if partsOf(kind) == "" {
		return Written{}, resource.NotAResource(kind, "brought back")
	}
	var out Object
	rev, changed, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
		if err := d.restore(ctx, kind, name); err != nil {
			return err
		}
		out, err = d.Full(ctx, kind, name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}

func (d *draft) restore(ctx context.Context, kind Kind, name string) error {
	key := Key{Kind: kind, Name: name}
	if live, err := d.R.Get(ctx, key); err != nil || live != nil {
		if live != nil {
			err = fault.Newf(fault.AlreadyExists, ReasonAlreadyExists, "The %s %q is not deleted.", desk.Label(kind), name)
		}
		return err
	}
	dead, err := d.R.GetDeleted(ctx, key)
	if err != nil {
		return err
	}
	if dead == nil || dead.DeleteTime.Before(d.c.cfg.Now().Add(-KeepDeleted)) {
		return fault.Newf(fault.NotFound, desk.ReasonNotFound, "There is no %s %q that was deleted within the last 30 days.", desk.Label(kind), name)
	}
	o, err := d.Object(dead)
	if err != nil {
		return err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	if err := who.Manages(o); err != nil {
		return err
	}
	if err := d.PutBack(ctx, dead); err != nil {
		return err
	}
	if err := d.restoreParts(ctx, dead); err != nil {
		return err
	}
	back, err := d.Full(ctx, kind, name)
	if err != nil {
		return err
	}
	if err := admission.Restored(ctx, d.Desk, back); err != nil {
		return err
	}
	return d.enforceable(nil, back)
}

// restoreParts brings back the parts that were deleted in the same change; what had been taken away before stays away.
func (d *draft) restoreParts(ctx context.Context, dead *Record) error {
	const page = 500
	prefix := dead.Name + "/"
	for after := prefix; ; {
		recs, err := d.R.List(ctx, partsOf(dead.Kind), after, page, true)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if !strings.HasPrefix(rec.Name, prefix) {
				return nil
			}
			if !rec.DeleteTime.IsZero() && rec.Revision == dead.Revision {
				if err := d.PutBack(ctx, rec); err != nil {
					return err
				}
			}
		}
		if len(recs) < page {
			return nil
		}
		after = recs[len(recs)-1].Name
	}
}
