// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// draft is a desk at which something is written.
type draft struct {
	*desk

	tx     Tx
	sealed secretPlan
	// prunes is set while Apply prunes: the tokens of a pruned user or team go with it, since no manifest has them.
	prunes bool
}

// write runs fn in a transaction, or in one that is not kept. Fn may run several times (see [Store]): what it hands out
// must be of its last run.
func (c *Catalog) write(ctx context.Context, caller Caller, validateOnly bool, plan secretPlan, fn func(*draft) error) (Revision, bool, error) {
	run := func(tx Tx) error {
		return fn(&draft{desk: c.desk(tx, caller), tx: tx, sealed: plan})
	}
	if !validateOnly {
		return c.cfg.Store.Write(ctx, caller.actor(), run)
	}
	if err := c.cfg.Store.DryRun(ctx, run); err != nil {
		return 0, false, err
	}
	head, err := c.cfg.Store.Head(ctx)
	return head.Revision, false, err
}

// Create stores a new resource. A tool cannot be created: discovery finds it. Faults: Invalid for input that breaks a
// rule, with a field for each problem; Denied; AlreadyExists; Unavailable.
func (c *Catalog) Create(ctx context.Context, caller Caller, o Object, opt WriteOptions) (Written, error) {
	if t, ok := o.(*BearerToken); ok {
		return c.createToken(ctx, caller, t, opt)
	}
	if o.Kind() == KindTool {
		return Written{}, resource.NotAResource(o.Kind(), "created: discovery finds the tools of a server")
	}
	in, err := prepared(o)
	if err != nil {
		return Written{}, err
	}
	return c.writeOne(ctx, caller, in, opt, func(d *draft) error { return d.create(ctx, in) })
}

// Update changes the masked fields of a resource (see package resource's Merge). A set etag must be the stored one, else
// the fault is Conflict with reason ETAG_STALE. Other faults are those of Create, and NotFound.
func (c *Catalog) Update(ctx context.Context, caller Caller, o Object, mask []string, opt WriteOptions) (Written, error) {
	if k := o.Kind(); k == KindTool || k == KindBearerToken {
		return Written{}, resource.NotAResource(k, "updated")
	}
	in, err := prepared(o)
	if err != nil {
		return Written{}, err
	}
	return c.writeOne(ctx, caller, in, opt, func(d *draft) error {
		_, err := d.update(ctx, in, mask)
		return err
	})
}

// prepared returns a copy of the input in normal form.
func prepared(o Object) (Object, error) {
	in, err := resource.Clone(o)
	if err != nil {
		return nil, err
	}
	in.Metadata().Name = resource.NormalizeName(in.Kind(), in.Metadata().Name)
	return in, nil
}

// writeOne writes one resource and returns it as stored.
func (c *Catalog) writeOne(ctx context.Context, caller Caller, in Object, opt WriteOptions, fn func(*draft) error) (Written, error) {
	var out Object
	rev, changed, err := c.withSecrets(ctx, caller, opt.ValidateOnly, []Object{in}, func(d *draft) (err error) {
		if err := fn(d); err != nil {
			return err
		}
		out, err = d.full(ctx, in.Kind(), in.Metadata().Name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}

// written adds what is computed at a read. After a real write it reads again, so that times and status are right.
func (c *Catalog) written(ctx context.Context, out Object, rev Revision, changed bool, opt WriteOptions) (Written, error) {
	w := Written{Object: out, Revision: rev, Changed: changed}
	if opt.ValidateOnly {
		return w, nil
	}
	o, err := c.read(ctx, Caller{System: true}, out.Kind(), out.Metadata().Name)
	if err != nil && fault.KindOf(err) != fault.NotFound { // deleted by somebody else already
		return Written{}, fmt.Errorf("read what was written: %w", err)
	}
	if o != nil {
		w.Object = o
	}
	return w, nil
}

// create stores a new resource in normal form.
func (d *draft) create(ctx context.Context, in Object) error {
	who, err := d.who(ctx)
	if err != nil {
		return err
	}
	resource.Normalize(in)
	if err := who.Creates(in); err != nil {
		return err
	}
	m := in.Metadata()
	exists, err := find[Object](ctx, d.desk, in.Kind(), m.Name)
	if err != nil {
		return err
	}
	if exists != nil {
		return fault.Newf(fault.AlreadyExists, ReasonAlreadyExists, "There is a %s %q already; update it, or choose another name.", label(in.Kind()), m.Name)
	}
	if err := d.admit(ctx, nil, in); err != nil {
		return err
	}
	uid := uuid.NewString()
	if s := d.sealed[m.Name]; s != nil && in.Kind() == KindConnection {
		uid = s.uid
	}
	if in.Kind() == KindGateway {
		if err := d.forgetOldTokens(ctx, m.Name); err != nil {
			return err
		}
	}
	return d.put(ctx, nil, in, uid)
}

// update changes a resource and returns the names of the fields that differ.
func (d *draft) update(ctx context.Context, patch Object, mask []string) ([]string, error) {
	m := patch.Metadata()
	stored, err := d.visible(ctx, patch.Kind(), m.Name)
	if err != nil {
		return nil, err
	}
	who, err := d.who(ctx)
	if err != nil {
		return nil, err
	}
	wanted, err := resource.Merge(stored, patch, mask)
	if err != nil {
		return nil, err
	}
	resource.Normalize(wanted)
	before, err := resource.Clone(stored)
	if err != nil {
		return nil, err
	}
	resource.Normalize(before)
	fields, err := resource.Changed(before, wanted)
	if err != nil {
		return nil, err
	}
	if u, ok := stored.(*User); ok {
		err = who.UpdatesUser(u, fields)
	} else if err = who.Manages(stored); err == nil {
		err = who.Manages(wanted)
	}
	if err != nil {
		return nil, err
	}
	if err := fresh(stored, m.Etag); err != nil {
		return nil, err
	}
	if err := d.admit(ctx, before, wanted); err != nil {
		return nil, err
	}
	return fields, d.put(ctx, before, wanted, stored.Metadata().UID)
}

// visible returns a resource that the caller may see; to others it does not exist.
func (d *desk) visible(ctx context.Context, kind Kind, name string) (Object, error) {
	o, err := d.full(ctx, kind, resource.NormalizeName(kind, name))
	if err != nil {
		return nil, err
	}
	if o != nil {
		ok, err := d.sees(ctx, o)
		if err != nil {
			return nil, err
		}
		if ok {
			return o, nil
		}
	}
	return nil, notFound(kind, name)
}

func notFound(kind Kind, name string) error {
	return fault.Newf(fault.NotFound, ReasonNotFound, "There is no %s %q that you may see.", label(kind), name)
}

// label is a kind as it stands in a sentence.
func label(k Kind) string {
	if k == KindBearerToken {
		return "bearer token"
	}
	return string(k)
}

// fresh refuses an etag that is not the stored one; none is no promise.
func fresh(stored Object, etag string) error {
	if etag == "" || etag == stored.Metadata().Etag {
		return nil
	}
	return fault.Newf(fault.Conflict, ReasonEtagStale, "The %s %q was changed since you read it; read it again and repeat your change.",
		label(stored.Kind()), stored.Metadata().Name)
}

// put stores a resource that was admitted, with the changes that follow from it in other records.
func (d *draft) put(ctx context.Context, before, o Object, uid string) error {
	if c, ok := o.(*Connection); ok {
		if err := d.seal(c, uid); err != nil {
			return err
		}
	}
	if err := d.putRecord(ctx, o, uid, ""); err != nil {
		return err
	}
	m := o.Metadata()
	switch o := o.(type) {
	case *Gateway:
		if b, _ := before.(*Gateway); b != nil && o.Disabled && !b.Disabled {
			d.tx.Deny(Key{Kind: KindGateway, Name: m.Name})
		}
		return d.putAssignments(ctx, o)
	case *User:
		if b, _ := before.(*User); b != nil && o.Deactivated && !b.Deactivated {
			d.tx.Deny(Key{Kind: KindUser, Name: m.Name})
		}
	case *Team:
		if b, _ := before.(*Team); b != nil {
			d.denyLeavers(b, o)
		}
	case *Server:
		if b, _ := before.(*Server); b != nil && b.ToolChanges != o.ToolChanges {
			return d.holdTools(ctx, o)
		}
	}
	return nil
}

// putRecord stores the record of a resource.
func (d *draft) putRecord(ctx context.Context, o Object, uid, lookup string) error {
	body, err := resource.Encode(o)
	if err != nil {
		return err
	}
	rec := &Record{Key: Key{Kind: o.Kind(), Name: o.Metadata().Name}, UID: uid, Body: body, Lookup: lookup}
	if t, ok := o.(*Tool); ok {
		if rec.Blobs, err = blobsOf(t); err != nil {
			return err
		}
	}
	return d.tx.Put(ctx, rec)
}

// putAssignments brings the records of a gateway's tools into the wanted state.
func (d *draft) putAssignments(ctx context.Context, g *Gateway) error {
	old, err := d.assignments(ctx, g.Name)
	if err != nil {
		return err
	}
	wanted := make(map[Key]bool, len(g.Tools))
	for _, a := range g.Tools {
		a.Gateway = g.Name
		body, err := resource.EncodeAssignment(a)
		if err != nil {
			return err
		}
		key := assignmentKey(g.Name, a.Tool)
		wanted[key] = true
		if err := d.tx.Put(ctx, &Record{Key: key, Body: body}); err != nil {
			return err
		}
	}
	for _, rec := range old {
		if !wanted[rec.Key] {
			if err := d.tx.Delete(ctx, rec.Key); err != nil {
				return err
			}
			d.tx.Deny(rec.Key)
		}
	}
	return nil
}

// denyLeavers takes the memberships away that a team had before.
func (d *draft) denyLeavers(before, after *Team) {
	left := make(map[string]bool, len(after.Members))
	for _, m := range after.Members {
		left[m.User] = true
	}
	for _, m := range before.Members {
		if !left[m.User] {
			d.tx.Deny(Key{Kind: KindTeamMember, Name: after.Name + "/" + m.User})
		}
	}
}
