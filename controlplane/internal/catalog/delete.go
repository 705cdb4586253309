// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
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
		if kind == KindConnection {
			gone = append(gone, uid)
		}
		return err
	})
	if err == nil && !opt.ValidateOnly {
		c.dropSecrets(ctx, gone)
	}
	return rev, err
}

// remove deletes a resource and what belongs to it, and returns its UID.
func (d *draft) remove(ctx context.Context, kind Kind, name, etag string) (uid string, err error) {
	o, err := d.visible(ctx, kind, name)
	if err != nil {
		return "", err
	}
	who, err := d.who(ctx)
	if err != nil {
		return "", err
	}
	if err := who.Deletes(o); err != nil {
		return "", err
	}
	if err := fresh(o, etag); err != nil {
		return "", err
	}
	key := Key{Kind: kind, Name: name}
	if err := d.tx.Delete(ctx, key); err != nil {
		return "", err
	}
	d.tx.Deny(key)
	if u, ok := o.(*User); ok && isAdmin(u) {
		if err := d.notLastAdmin(ctx, u.Name); err != nil {
			return "", err
		}
	}
	if err := d.notInUse(ctx, o); err != nil {
		return "", err
	}
	return o.Metadata().UID, d.removeParts(ctx, o)
}

// removeParts deletes what exists only within a resource: a gateway's assignments, a server's tools.
func (d *draft) removeParts(ctx context.Context, o Object) error {
	part := partsOf(o.Kind())
	if part == "" {
		return nil
	}
	recs, err := d.r.ListPrefix(ctx, part, o.Metadata().Name+"/")
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := d.tx.Delete(ctx, rec.Key); err != nil {
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

// notInUse refuses to delete what others refer to.
func (d *draft) notInUse(ctx context.Context, o Object) error {
	var users []string
	var err error
	name := o.Metadata().Name
	switch o.Kind() {
	case KindServer:
		users, err = d.usersOfServer(ctx, name)
	case KindTeam:
		users, err = d.ownedBy(ctx, func(o *resource.Owner) bool { return o != nil && o.Team == name },
			func(v *resource.Visibility) bool {
				return v != nil && v.Team != nil && slices.Contains(v.Team.Teams, name)
			})
	case KindUser:
		users, err = d.ownedBy(ctx, func(o *resource.Owner) bool { return o != nil && o.User == name },
			func(v *resource.Visibility) bool { return v != nil && v.Personal != nil && v.Personal.Owner == name })
		var teams []string
		if err == nil {
			teams, err = d.teamsOf(ctx, name)
		}
		users = append(users, teams...)
	default:
	}
	if err != nil || len(users) == 0 {
		return err
	}
	hint := "delete or change them first"
	if o.Kind() == KindUser {
		hint += ", or deactivate the user instead"
	}
	f := fault.Newf(fault.Precondition, ReasonInUse, "The %s %q is in use by %s; %s.", label(o.Kind()), name, listed(users), hint)
	for _, u := range users[:min(len(users), maxListed)] {
		f = f.At("name", "in use by "+u)
	}
	return f
}

const maxListed = 10

// listed joins the first few of a list for people.
func listed(list []string) string {
	if len(list) <= maxListed {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:maxListed], ", "), len(list)-maxListed)
}

func refer(o Object) string { return fmt.Sprintf("%s %q", label(o.Kind()), o.Metadata().Name) }

func (d *draft) usersOfServer(ctx context.Context, server string) ([]string, error) {
	connections, err := all[*Connection](ctx, d.desk, KindConnection)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range connections {
		if c.Server == server {
			out = append(out, refer(c))
		}
	}
	assigned, err := d.r.ListPrefix(ctx, KindAssignment, "")
	if err != nil {
		return nil, err
	}
	for _, rec := range assigned {
		gateway, tool, _ := strings.Cut(rec.Name, "/")
		if serverOf(tool) == server {
			out = append(out, fmt.Sprintf("tool %q of gateway %q", tool, gateway))
		}
	}
	return out, nil
}

// ownedBy returns what an owner owns, or what is visible to it by name. The bearer tokens of somebody whom Apply prunes
// are deleted instead.
func (d *draft) ownedBy(ctx context.Context, owner func(*resource.Owner) bool, sees func(*resource.Visibility) bool) ([]string, error) {
	connections, err := all[*Connection](ctx, d.desk, KindConnection)
	if err != nil {
		return nil, err
	}
	gateways, err := all[*Gateway](ctx, d.desk, KindGateway)
	if err != nil {
		return nil, err
	}
	servers, err := all[*Server](ctx, d.desk, KindServer)
	if err != nil {
		return nil, err
	}
	tokens, err := all[*BearerToken](ctx, d.desk, KindBearerToken)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range connections {
		if owner(c.Owner) {
			out = append(out, refer(c))
		}
	}
	for _, g := range gateways {
		if sees(g.Visibility) {
			out = append(out, refer(g))
		}
	}
	for _, s := range servers {
		if sees(s.Visibility) {
			out = append(out, refer(s))
		}
	}
	for _, t := range tokens {
		switch {
		case !owner(t.Owner):
		case d.prunes:
			if err := d.removeToken(ctx, t.Name); err != nil {
				return nil, err
			}
		default:
			out = append(out, refer(t))
		}
	}
	return out, nil
}

func (d *draft) removeToken(ctx context.Context, name string) error {
	key := Key{Kind: KindBearerToken, Name: name}
	d.tx.Deny(key)
	return d.tx.Delete(ctx, key)
}

func (d *draft) teamsOf(ctx context.Context, user string) ([]string, error) {
	teams, err := all[*Team](ctx, d.desk, KindTeam)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range teams {
		if slices.ContainsFunc(t.Members, func(m resource.TeamMember) bool { return m.User == user }) {
			out = append(out, refer(t))
		}
	}
	return out, nil
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
		out, err = d.full(ctx, kind, name)
		return err
	})
	if err != nil {
		return Written{}, err
	}
	return c.written(ctx, out, rev, changed, opt)
}

func (d *draft) restore(ctx context.Context, kind Kind, name string) error {
	key := Key{Kind: kind, Name: name}
	if live, err := d.r.Get(ctx, key); err != nil || live != nil {
		if live != nil {
			err = fault.Newf(fault.AlreadyExists, ReasonAlreadyExists, "The %s %q is not deleted.", label(kind), name)
		}
		return err
	}
	dead, err := d.r.GetDeleted(ctx, key)
	if err != nil {
		return err
	}
	if dead == nil || dead.DeleteTime.Before(d.c.cfg.Now().Add(-KeepDeleted)) {
		return fault.Newf(fault.NotFound, ReasonNotFound, "There is no %s %q that was deleted within the last 30 days.", label(kind), name)
	}
	o, err := d.object(dead)
	if err != nil {
		return err
	}
	who, err := d.who(ctx)
	if err != nil {
		return err
	}
	if err := who.Manages(o); err != nil {
		return err
	}
	if err := d.putBack(ctx, dead); err != nil {
		return err
	}
	if err := d.restoreParts(ctx, dead); err != nil {
		return err
	}
	back, err := d.full(ctx, kind, name)
	if err != nil {
		return err
	}
	return d.admitRestored(ctx, back)
}

// putBack stores a deleted record as it was.
func (d *draft) putBack(ctx context.Context, dead *Record) error {
	return d.tx.Put(ctx, &Record{Key: dead.Key, UID: dead.UID, Body: dead.Body, Blobs: dead.Blobs, Lookup: dead.Lookup})
}

// restoreParts brings back the parts that were deleted in the same change; what had been taken away before stays away.
func (d *draft) restoreParts(ctx context.Context, dead *Record) error {
	const page = 500
	prefix := dead.Name + "/"
	for after := prefix; ; {
		recs, err := d.r.List(ctx, partsOf(dead.Kind), after, page, true)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if !strings.HasPrefix(rec.Name, prefix) {
				return nil
			}
			if !rec.DeleteTime.IsZero() && rec.Revision == dead.Revision {
				if err := d.putBack(ctx, rec); err != nil {
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

// admitRestored checks that what came back still has what it names.
func (d *draft) admitRestored(ctx context.Context, o Object) error {
	var problems resource.Problems
	switch o := o.(type) {
	case *Server:
		if err := d.references(ctx, o.Visibility, &problems); err != nil {
			return err
		}
	case *Gateway:
		if err := d.references(ctx, o.Visibility, &problems); err != nil {
			return err
		}
		for _, a := range o.Tools {
			tool, err := find[*Tool](ctx, d.desk, KindTool, a.Tool)
			if err != nil {
				return err
			}
			if tool == nil {
				problems.Add(ReasonUnknownTool, at(a, "tool"), "the tool is gone with its server; undelete the server %q first", serverOf(a.Tool))
			}
		}
	}
	return problems.Err(fmt.Sprintf("%s %q", label(o.Kind()), o.Metadata().Name))
}
