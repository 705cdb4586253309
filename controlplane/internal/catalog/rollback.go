// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/fields"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/revert"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/usage"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// rollbackTries is how often the log is read again because somebody wrote meanwhile.
const rollbackTries = 5

var errHeadMoved = errors.New("the head moved")

// Rollback makes one change after which the servers, tools, connections, gateways, identity providers and OAuth clients are
// those of an older revision. Users, teams, memberships and bearer tokens stay as they are, so that nobody gets back what
// was taken from them; so do secrets: what lives keeps the ones it has, and what comes back needs new ones. A person's own
// connection of a server that stays is not taken away, and a connection whose owner is gone does not come back. The result is checked as that of Apply is. Faults: Denied; Stale with reason
// REVISION_UNKNOWN for a revision that is no longer kept; Invalid with REVISION_AHEAD for one that is not there yet; and
// those of Apply.
func (c *Catalog) Rollback(ctx context.Context, caller Caller, to Revision, opt WriteOptions) (Applied, error) {
	if err := c.administers(ctx, caller, "roll back"); err != nil {
		return Applied{}, err
	}
	for range rollbackTries {
		past, err := revert.Read(ctx, c.cfg.Store, to)
		if err != nil {
			return Applied{}, err
		}
		var items []AppliedItem
		var gone []string
		rev, _, err := c.write(ctx, caller, opt.ValidateOnly, nil, func(d *draft) (err error) {
			if d.Tx.Head() != past.Head {
				return errHeadMoved
			}
			d.Tx.SetAtomic()
			d.Tx.SetRollback(to)
			items, gone, err = d.revert(ctx, past)
			return err
		})
		switch {
		case errors.Is(err, errHeadMoved):
			continue
		case err != nil:
			return Applied{}, err
		case !opt.ValidateOnly:
			c.dropSecrets(ctx, gone)
		}
		return Applied{Items: items, Revision: rev}, nil
	}
	return Applied{}, fault.New(fault.Conflict, record.ReasonWriteConflict, "Others kept writing; try again.")
}

// administers refuses callers that are no administrators.
func (c *Catalog) administers(ctx context.Context, caller Caller, what string) error {
	return c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		who, err := desk.New(r, caller).Who(ctx)
		if err != nil {
			return err
		}
		if !who.Unlimited() {
			return fault.Newf(fault.Denied, access.ReasonRoleRequired, "You may not %s: that needs the role ADMIN.", what)
		}
		return nil
	})
}

// turned is one resource that a rollback changes.
type turned struct {
	key         Key
	before, now Object // nil: it does not live
}

// revert brings the records back and returns what that did, and what the authserver keeps the secrets under that go.
func (d *draft) revert(ctx context.Context, past revert.Past) ([]AppliedItem, []string, error) {
	list, err := d.turning(ctx, past)
	if err != nil {
		return nil, nil, err
	}
	if err := d.putBack(ctx, past); err != nil {
		return nil, nil, err
	}
	return d.turnedInto(ctx, list)
}

// turning lists the resources that a rollback is about, as they are now: a gateway for each of its assignments.
func (d *draft) turning(ctx context.Context, past revert.Past) (list []turned, err error) {
	seen := make(map[Key]bool)
	for _, kind := range revert.Kinds() {
		keys := past.Keys(kind)
		if len(keys) > prefetch {
			if _, err := d.R.ListPrefix(ctx, kind, ""); err != nil {
				return nil, err
			}
		}
		for _, key := range keys {
			if key.Kind == KindAssignment {
				key = Key{Kind: KindGateway, Name: desk.ServerOf(key.Name)} // what is before the slash
			}
			if seen[key] {
				continue
			}
			seen[key] = true
			rec, err := d.R.Get(ctx, key)
			if err != nil {
				return nil, err
			}
			if theirs, err := d.isMadeByPerson(ctx, rec, past); err != nil || theirs {
				if err != nil {
					return nil, err
				}
				continue // it is not checked anew, as none is when its server is changed
			}
			before, err := d.Full(ctx, key.Kind, key.Name)
			if err != nil {
				return nil, err
			}
			list = append(list, turned{key: key, before: before})
		}
	}
	return list, nil
}

// putBack writes the records as they were.
func (d *draft) putBack(ctx context.Context, past revert.Past) error {
	kinds := revert.Kinds()
	for _, kind := range slices.Backward(kinds) {
		for _, key := range past.Keys(kind) {
			now, err := d.R.Get(ctx, key)
			if err != nil {
				return err
			}
			if now == nil || past.Was[key] != nil {
				continue
			}
			if theirs, err := d.isMadeByPerson(ctx, now, past); err != nil || theirs {
				if err != nil {
					return err
				}
				continue
			}
			if err := d.Take(ctx, key); err != nil {
				return err
			}
		}
	}
	for _, kind := range kinds {
		for _, key := range past.Keys(kind) {
			if was := past.Was[key]; was != nil {
				if err := d.putBackOne(ctx, was); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// isMadeByPerson reports whether a record is a person's own connection of a server that stays the same one: people make those
// themselves, when a call asks them to, and lost what they gave for it if it went. Apply keeps them, too.
func (d *draft) isMadeByPerson(ctx context.Context, now *Record, past revert.Past) (bool, error) {
	if now == nil || now.Kind != KindConnection || past.Was[now.Key] != nil {
		return false, nil
	}
	o, err := d.Object(now)
	if err != nil {
		return false, err
	}
	c, ok := o.(*Connection)
	if !ok || c.Owner == nil || c.Owner.User == "" {
		return false, nil
	}
	key := Key{Kind: KindServer, Name: c.Server}
	server, err := d.R.Get(ctx, key)
	if err != nil || server == nil {
		return false, err
	}
	was, changed := past.Was[key]
	return !changed || was != nil && was.UID == server.UID, nil
}

func (d *draft) putBackOne(ctx context.Context, was *Record) error {
	now, err := d.R.Get(ctx, was.Key)
	if err != nil {
		return err
	}
	rec := *was
	if rec.Kind == KindAssignment {
		return d.PutBack(ctx, &rec)
	}
	old, err := resource.Decode(rec.Kind, rec.Body)
	if err != nil {
		return err
	}
	var current Object
	if now != nil {
		if current, err = d.Object(now); err != nil {
			return err
		}
	}
	switch {
	case current != nil && revert.Continues(old, current, now.UID == was.UID):
		rec.UID = now.UID // the one it has its secrets under
	default:
		if stays, err := d.ownerGone(ctx, old); err != nil || stays {
			return err
		}
		current = nil
		if hasSecrets(rec.Kind) {
			rec.UID = uuid.NewString() // what was kept under the old one is being deleted
		}
	}
	revert.Keep(old, current)
	if rec.Body, err = resource.Encode(old); err != nil {
		return err
	}
	return d.PutBack(ctx, &rec)
}

// ownerGone reports whether a resource belongs to a user or team that does not exist any more.
func (d *draft) ownerGone(ctx context.Context, o Object) (bool, error) {
	c, ok := o.(*Connection)
	if !ok || c.Owner == nil {
		return false, nil
	}
	key := Key{Kind: KindUser, Name: c.Owner.User}
	if c.Owner.Team != "" {
		key = Key{Kind: KindTeam, Name: c.Owner.Team}
	}
	if key.Name == "" {
		return false, nil
	}
	owner, err := d.R.Get(ctx, key)
	return owner == nil, err
}

// turnedInto checks what the resources have become.
func (d *draft) turnedInto(ctx context.Context, list []turned) (items []AppliedItem, gone []string, err error) {
	var refused []*fault.Fault
	for _, t := range list {
		if t.now, err = d.Full(ctx, t.key.Kind, t.key.Name); err != nil {
			return nil, nil, err
		}
		item, err := d.turn(ctx, t)
		if f := (*fault.Fault)(nil); errors.As(err, &f) && resource.IsRefusal(f.Kind) {
			refused = append(refused, resource.Located(f, desk.Label(t.key.Kind)+" "+t.key.Name))
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if item.Action != ActionUnchanged {
			items = append(items, item)
		}
		if t.before != nil && (t.now == nil || t.now.Metadata().UID != t.before.Metadata().UID) {
			gone = append(gone, secretsOf(t.key.Kind, t.before.Metadata().UID)...)
		}
	}
	return items, gone, resource.Joined(refused)
}

// turn checks one resource and says what happened to it.
func (d *draft) turn(ctx context.Context, t turned) (AppliedItem, error) {
	item := AppliedItem{Kind: t.key.Kind, Name: t.key.Name, Action: ActionUnchanged}
	switch {
	case t.now == nil && t.before == nil:
		return item, nil
	case t.now == nil:
		item.Action = ActionDeleted
		return item, usage.Refuse(ctx, d.Desk, t.before)
	}
	var err error
	resource.Normalize(t.now)
	if t.before == nil {
		item.Action = ActionCreated
		item.ChangedFields, err = fields.Changed(nil, t.now)
	} else {
		resource.Normalize(t.before)
		if item.ChangedFields, err = fields.Changed(t.before, t.now); len(item.ChangedFields) > 0 {
			item.Action = ActionUpdated
		}
	}
	if err != nil || t.key.Kind == KindTool {
		return item, err
	}
	if isOff(t.now) && t.before != nil && !isOff(t.before) {
		d.Tx.Deny(t.key)
	}
	if err := d.admit(ctx, t.before, t.now); err != nil {
		return item, err
	}
	rec, err := d.R.Get(ctx, t.key)
	if err != nil || rec == nil {
		return item, err
	}
	return item, d.PutBack(ctx, rec) // nobody may have changed it, or what belongs to it, meanwhile
}
