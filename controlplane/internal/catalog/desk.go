// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// desk is what one command works at: a state of the store, read through a Reader and decoded once, and the caller. Objects
// it hands out are shared; whoever changes one takes a copy first.
type desk struct {
	c      *Catalog
	r      Reader
	caller Caller

	decoded  map[*Record]Object
	standing *access.Standing
	members  map[string]map[string]bool // team to its members
	failed   error                      // of a membership look-up, whose signature has no room for it
}

func (c *Catalog) desk(r Reader, caller Caller) *desk {
	return &desk{c: c, r: r, caller: caller, decoded: make(map[*Record]Object), members: make(map[string]map[string]bool)}
}

// object decodes a record. A gateway is without its tools.
func (d *desk) object(rec *Record) (Object, error) {
	if o, ok := d.decoded[rec]; ok {
		return o, nil
	}
	o, err := resource.Decode(rec.Kind, rec.Body)
	if err != nil {
		return nil, fmt.Errorf("read %s %q: %w", rec.Kind, rec.Name, err)
	}
	m := o.Metadata()
	m.Name, m.UID, m.CreateTime, m.UpdateTime = rec.Name, rec.UID, rec.CreateTime, rec.UpdateTime
	m.Etag = etag(rec.Version)
	d.decoded[rec] = o
	return o, nil
}

func etag(v Hash) string { return hex.EncodeToString(v[:8]) }

// find returns a living resource, the zero T if there is none. A gateway is without its tools.
func find[T Object](ctx context.Context, d *desk, kind Kind, name string) (found T, err error) {
	rec, err := d.r.Get(ctx, Key{Kind: kind, Name: name})
	if err != nil || rec == nil {
		return found, err
	}
	o, err := d.object(rec)
	if err != nil {
		return found, err
	}
	return o.(T), nil //nolint:forcetypeassert,errcheck // the kind decides the type
}

// all returns every living resource of a kind, in name order. Gateways are without their tools.
func all[T Object](ctx context.Context, d *desk, kind Kind) ([]T, error) {
	recs, err := d.r.ListPrefix(ctx, kind, "")
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(recs))
	for _, rec := range recs {
		o, err := d.object(rec)
		if err != nil {
			return nil, err
		}
		out = append(out, o.(T)) //nolint:forcetypeassert,errcheck // the kind decides the type
	}
	return out, nil
}

// full returns a living resource as callers see it, a copy that may be changed: a gateway with its tools. It is nil if
// there is none.
func (d *desk) full(ctx context.Context, kind Kind, name string) (Object, error) {
	o, err := find[Object](ctx, d, kind, name)
	if err != nil || o == nil {
		return nil, err
	}
	return d.complete(ctx, o)
}

// complete copies a decoded resource and joins a gateway with its tools.
func (d *desk) complete(ctx context.Context, o Object) (Object, error) {
	c, err := resource.Clone(o)
	if err != nil {
		return nil, err
	}
	g, ok := c.(*Gateway)
	if !ok {
		return c, nil
	}
	recs, err := d.assignments(ctx, g.Name)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, _ = sum.Write([]byte(g.Etag)) // a hash never fails
	for _, rec := range recs {
		a, err := resource.DecodeAssignment(rec.Body)
		if err != nil {
			return nil, fmt.Errorf("read assignment %q: %w", rec.Name, err)
		}
		a.Gateway = ""
		g.Tools = append(g.Tools, a)
		_, _ = sum.Write(rec.Version[:])
	}
	g.Etag = etag(Hash(sum.Sum(nil)))
	return g, nil
}

// assignments returns the records of a gateway's tools.
func (d *desk) assignments(ctx context.Context, gateway string) ([]*Record, error) {
	return d.r.ListPrefix(ctx, KindAssignment, gateway+"/")
}

// assignmentKey names one tool on one gateway.
func assignmentKey(gateway, tool string) Key {
	return Key{Kind: KindAssignment, Name: gateway + "/" + tool}
}

// who returns the caller's standing, with the memberships that it depends on.
func (d *desk) who(ctx context.Context) (access.Standing, error) {
	if d.standing != nil {
		return *d.standing, nil
	}
	s := access.System()
	if !d.caller.System {
		var teams []*Team
		var err error
		if d.caller.Role != RoleAdmin { // an ADMIN's memberships decide nothing here
			if teams, err = all[*Team](ctx, d, KindTeam); err != nil {
				return s, err
			}
		}
		s = access.Of(d.caller.Email, d.caller.Role, teams)
	}
	d.standing = &s
	return s, nil
}

// isMember answers membership look-ups of package access. An error is kept in d.failed; whoever passes isMember on asks
// for it afterwards.
func (d *desk) isMember(ctx context.Context) access.Memberships {
	return func(team, user string) bool {
		set, ok := d.members[team]
		if !ok {
			t, err := find[*Team](ctx, d, KindTeam, team)
			if err != nil {
				d.failed = err
				return false
			}
			set = make(map[string]bool)
			if t != nil {
				for _, m := range t.Members {
					set[m.User] = true
				}
			}
			d.members[team] = set
		}
		return set[user]
	}
}

// sees reports whether the caller may read a resource.
func (d *desk) sees(ctx context.Context, o Object) (bool, error) {
	s, err := d.who(ctx)
	if err != nil || s.Unlimited() {
		return err == nil, err
	}
	var server *Server
	if t, ok := o.(*Tool); ok {
		if server, err = find[*Server](ctx, d, KindServer, t.Server); err != nil {
			return false, err
		}
	}
	return s.Sees(o, server), nil
}

// serverOf returns the server's part of a tool's name.
func serverOf(tool string) string {
	server, _, _ := strings.Cut(tool, "/")
	return server
}
