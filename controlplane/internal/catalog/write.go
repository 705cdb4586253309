// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/admission"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/discovery"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/fields"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/usage"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// draft is a desk at which a command writes.
type draft struct {
	*desk.Draft

	c      *Catalog
	sealed secretPlan
	// prunes is set while Apply prunes: the tokens of a pruned user or team go with it, since no manifest has them.
	prunes bool
}

// write runs fn in a transaction, or in one that is not kept. Fn may run several times (see [Store]): what it hands out
// must be of its last run.
func (c *Catalog) write(ctx context.Context, caller Caller, validateOnly bool, plan secretPlan, fn func(*draft) error) (Revision, bool, error) {
	run := func(tx Tx) error {
		return fn(&draft{Draft: desk.NewDraft(tx, caller), c: c, sealed: plan})
	}
	if !validateOnly {
		return c.cfg.Store.Write(ctx, caller.Actor(), run)
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
		out, err = d.Full(ctx, in.Kind(), in.Metadata().Name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}

// written adds what is computed at a read. After a real write it reads again, so that times and status are right.
func (c *Catalog) written(ctx context.Context, out Object, rev Revision, changed bool, opt WriteOptions) (Written, error) {
	c.conceal(out)
	w := Written{Object: out, Revision: rev, Changed: changed}
	if opt.ValidateOnly {
		return w, nil
	}
	o, err := c.read(ctx, Caller{System: true}, out.Kind(), out.Metadata().Name)
	switch fault.KindOf(err) {
	case fault.NotFound: // deleted by somebody else already
	case fault.Unavailable:
		// The write stands: who is told that nothing was changed would write again, and be told that it exists.
		return w, nil
	default:
		if err != nil {
			return Written{}, fmt.Errorf("read what was written: %w", err)
		}
	}
	if o != nil {
		w.Object = o
	}
	return w, nil
}

// create stores a new resource in normal form.
func (d *draft) create(ctx context.Context, in Object) error {
	who, err := d.Who(ctx)
	if err != nil {
		return err
	}
	resource.Normalize(in)
	keepReferences(nil, in)
	if err := who.Creates(in); err != nil {
		return err
	}
	m := in.Metadata()
	exists, err := desk.Find[Object](ctx, d.Desk, in.Kind(), m.Name)
	if err != nil {
		return err
	}
	if exists != nil {
		return fault.Newf(fault.AlreadyExists, ReasonAlreadyExists, "There is %s %q already; update it, or choose another name.", in.Kind().One(), m.Name)
	}
	if err := d.admitWritten(ctx, nil, in); err != nil {
		return err
	}
	uid := uuid.NewString()
	if s := d.sealed[Key{Kind: in.Kind(), Name: m.Name}]; s != nil {
		uid = s.uid
	}
	if in.Kind() == KindGateway {
		if err := usage.ForgetGateway(ctx, d.Draft, m.Name); err != nil {
			return err
		}
	}
	return d.store(ctx, nil, in, uid)
}

// update changes a resource and returns the names of the fields that differ.
func (d *draft) update(ctx context.Context, patch Object, mask []string) ([]string, error) {
	m := patch.Metadata()
	stored, err := d.Visible(ctx, patch.Kind(), m.Name)
	if err != nil {
		return nil, err
	}
	who, err := d.Who(ctx)
	if err != nil {
		return nil, err
	}
	wanted, err := fields.Merge(stored, patch, mask)
	if err != nil {
		return nil, err
	}
	discovery.ForgetTransport(stored, wanted)
	keepReferences(stored, wanted)
	if err := d.held(ctx, stored, wanted, mask); err != nil {
		return nil, err
	}
	resource.Normalize(wanted)
	before, err := resource.Clone(stored)
	if err != nil {
		return nil, err
	}
	resource.Normalize(before)
	changed, err := fields.Changed(before, wanted)
	if err != nil {
		return nil, err
	}
	if u, ok := stored.(*User); ok {
		err = who.UpdatesUser(u, changed)
	} else if err = who.Manages(stored); err == nil {
		err = who.Manages(wanted)
	}
	if err != nil {
		return nil, err
	}
	if err := desk.Fresh(stored, m.Etag); err != nil {
		return nil, err
	}
	if err := d.admitWritten(ctx, before, wanted); err != nil {
		return nil, err
	}
	return changed, d.store(ctx, before, wanted, stored.Metadata().UID)
}

// keepReferences has a resource refer to those secrets that its former state refers to, as far as they go with it.
func keepReferences(before, o Object) {
	switch o := o.(type) {
	case *Server:
		old, _ := before.(*Server)
		o.KeepClientSecret(old)
	case *IdentityProvider:
		old, _ := before.(*IdentityProvider)
		o.KeepPollToken(old)
	}
}

// admit checks a resource, and that the nodes can enforce it. A nil before is a new resource.
func (d *draft) admit(ctx context.Context, before, o Object) error {
	if err := admission.Check(ctx, d.Desk, before, o); err != nil {
		return err
	}
	return d.enforceable(before, o)
}

// admitWritten is admit for what somebody writes, who can say with it what a client authenticates with. What a rollback brings back
// may lack that: its conditions say so.
func (d *draft) admitWritten(ctx context.Context, before, o Object) error {
	if err := d.admit(ctx, before, o); err != nil {
		return err
	}
	if s, ok := o.(*Server); ok {
		return resource.NeedsClientSecret(s)
	}
	return nil
}

func (d *draft) enforceable(before, o Object) error {
	if d.c.cfg.Nodes == nil {
		return nil
	}
	return admission.Enforceable(before, o, d.c.cfg.Nodes)
}

// store stores a resource that was admitted, with the changes that follow from it in other records.
func (d *draft) store(ctx context.Context, before, o Object, uid string) error {
	if err := d.seal(o, uid); err != nil {
		return err
	}
	if u, ok := o.(*User); ok && isOff(o) && before != nil && !isOff(before) {
		u.Deactivate(d.c.cfg.Now())
	}
	if err := d.Put(ctx, o, uid, ""); err != nil {
		return err
	}
	m := o.Metadata()
	if isOff(o) && before != nil && !isOff(before) {
		d.Tx.Deny(Key{Kind: o.Kind(), Name: m.Name})
	}
	switch o := o.(type) {
	case *Gateway:
		return d.putAssignments(ctx, o)
	case *Team:
		if b, _ := before.(*Team); b != nil {
			d.denyLeavers(b, o)
		}
	case *Server:
		if b, _ := before.(*Server); b != nil && b.ToolChanges != o.ToolChanges {
			return discovery.Hold(ctx, d.Draft, o)
		}
	}
	return nil
}

// isOff reports whether a resource is switched off, so that it gives nothing to anybody.
func isOff(o Object) bool {
	switch o := o.(type) {
	case *Gateway:
		return o.Disabled
	case *User:
		return o.Deactivated
	case *IdentityProvider:
		return o.Disabled
	case *OAuthClient:
		return o.Disabled
	default:
		return false
	}
}

// putAssignments brings the records of a gateway's tools into the wanted state.
func (d *draft) putAssignments(ctx context.Context, g *Gateway) error {
	old, err := d.Assignments(ctx, g.Name)
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
		key := desk.AssignmentKey(g.Name, a.Tool)
		wanted[key] = true
		if err := d.Tx.Put(ctx, &Record{Key: key, Body: body}); err != nil {
			return err
		}
	}
	for _, rec := range old {
		if !wanted[rec.Key] {
			if err := d.Take(ctx, rec.Key); err != nil {
				return err
			}
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
			d.Tx.Deny(Key{Kind: KindTeamMember, Name: after.Name + "/" + m.User})
		}
	}
}
