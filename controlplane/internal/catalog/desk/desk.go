// SPDX-License-Identifier: Apache-2.0

package desk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/access"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/record"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
	// ReasonNotFound (NotFound): there is no such resource that the caller may see.
	ReasonNotFound = "RESOURCE_NOT_FOUND"
	// ReasonEtagStale (Conflict): the resource was changed since its etag was read.
	ReasonEtagStale = "ETAG_STALE"
)

// Desk reads one state of the store. Objects it hands out are shared, but for those of [Desk.Full] and [Desk.Complete];
// whoever changes one takes a copy first. A desk is used by one goroutine.
type Desk struct {
	R      record.Reader
	Caller access.Caller

	decoded   map[*record.Record]resource.Object
	standing  *access.Standing
	members   map[string]map[string]bool // team to its members
	accounts  map[resource.Identity]string
	installed map[string][]*resource.Connection // by server
	failed    error                             // of a membership look-up, whose signature has no room for it
}

// New returns a desk for a caller.
func New(r record.Reader, caller access.Caller) *Desk {
	return &Desk{
		R: r, Caller: caller,
		decoded: make(map[*record.Record]resource.Object), members: make(map[string]map[string]bool),
	}
}

// Object decodes a record. A gateway is without its tools.
func (d *Desk) Object(rec *record.Record) (resource.Object, error) {
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

// etag is the first 16 hexadecimal digits of a version.
func etag(v record.Hash) string { return hex.EncodeToString(v[:8]) }

// Find returns a living resource, the zero T if there is none. A gateway is without its tools.
func Find[T resource.Object](ctx context.Context, d *Desk, kind resource.Kind, name string) (found T, err error) {
	rec, err := d.R.Get(ctx, record.Key{Kind: kind, Name: name})
	if err != nil || rec == nil {
		return found, err
	}
	return as[T](d, rec)
}

// All returns every living resource of a kind, in name order. Gateways are without their tools.
func All[T resource.Object](ctx context.Context, d *Desk, kind resource.Kind) ([]T, error) {
	return Under[T](ctx, d, kind, "")
}

// Under is [All] of the names that start with prefix: with "<server>/", the tools of a server.
func Under[T resource.Object](ctx context.Context, d *Desk, kind resource.Kind, prefix string) ([]T, error) {
	recs, err := d.R.ListPrefix(ctx, kind, prefix)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, len(recs))
	for _, rec := range recs {
		o, err := as[T](d, rec)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

func as[T resource.Object](d *Desk, rec *record.Record) (found T, err error) {
	o, err := d.Object(rec)
	if err != nil {
		return found, err
	}
	found, ok := o.(T)
	if !ok {
		return found, fmt.Errorf("%s %q is a %T", rec.Kind, rec.Name, o)
	}
	return found, nil
}

// Full returns a living resource as callers see it, a copy that may be changed: a gateway with its tools. It is nil if
// there is none.
func (d *Desk) Full(ctx context.Context, kind resource.Kind, name string) (resource.Object, error) {
	o, err := Find[resource.Object](ctx, d, kind, name)
	if err != nil || o == nil {
		return nil, err
	}
	return d.Complete(ctx, o)
}

// Complete copies a resource and joins a gateway with its tools. The etag of a gateway covers them too.
func (d *Desk) Complete(ctx context.Context, o resource.Object) (resource.Object, error) {
	c, err := resource.Clone(o)
	if err != nil {
		return nil, err
	}
	g, ok := c.(*resource.Gateway)
	if !ok {
		return c, nil
	}
	recs, err := d.Assignments(ctx, g.Name)
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
	g.Etag = etag(record.Hash(sum.Sum(nil)))
	return g, nil
}

// Assignments returns the records of a gateway's tools.
func (d *Desk) Assignments(ctx context.Context, gateway string) ([]*record.Record, error) {
	return d.R.ListPrefix(ctx, resource.KindAssignment, gateway+"/")
}

// AssignmentKey names one tool on one gateway.
func AssignmentKey(gateway, tool string) record.Key {
	return record.Key{Kind: resource.KindAssignment, Name: gateway + "/" + tool}
}

// ServerOf returns the server's part of a tool's name.
func ServerOf(tool string) string {
	server, _, _ := strings.Cut(tool, "/")
	return server
}

// Visible returns a living resource as [Desk.Full] does, if the caller may see it; for others it does not exist.
func (d *Desk) Visible(ctx context.Context, kind resource.Kind, name string) (resource.Object, error) {
	o, err := d.Full(ctx, kind, resource.NormalizeName(kind, name))
	if err != nil {
		return nil, err
	}
	if o != nil {
		ok, err := d.Sees(ctx, o)
		if err != nil {
			return nil, err
		}
		if ok {
			return o, nil
		}
	}
	return nil, NotFound(kind, name)
}

// See is [Desk.Visible] with the type that the kind has.
func See[T resource.Object](ctx context.Context, d *Desk, kind resource.Kind, name string) (seen T, err error) {
	o, err := d.Visible(ctx, kind, name)
	if err != nil {
		return seen, err
	}
	seen, ok := o.(T)
	if !ok {
		return seen, fmt.Errorf("%s is a %T", Refer(o), o)
	}
	return seen, nil
}

// NotFound is the fault of a resource that does not exist for the caller.
func NotFound(kind resource.Kind, name string) error {
	return fault.Newf(fault.NotFound, ReasonNotFound, "There is no %s %q that you may see.", Label(kind), name)
}

// Fresh refuses an etag that is not the stored one; none is no promise.
func Fresh(stored resource.Object, etag string) error {
	if etag == "" || etag == stored.Metadata().Etag {
		return nil
	}
	return fault.Newf(fault.Conflict, ReasonEtagStale, "The %s was changed since you read it; read it again and repeat your change.", Refer(stored))
}

// Identities returns whose each account at an identity provider is. The map is the desk's: who admits a user writes the
// user's accounts into it, so that it is right for the next one.
func (d *Desk) Identities(ctx context.Context) (map[resource.Identity]string, error) {
	if d.accounts != nil {
		return d.accounts, nil
	}
	users, err := All[*resource.User](ctx, d, resource.KindUser)
	if err != nil {
		return nil, err
	}
	d.accounts = make(map[resource.Identity]string)
	for _, u := range users {
		for _, id := range u.Identities {
			d.accounts[id] = u.Name
		}
	}
	return d.accounts, nil
}

// Installed returns the connections of a server, as they were when it was first asked for any: it is for reading many gateways.
func (d *Desk) Installed(ctx context.Context, server string) ([]*resource.Connection, error) {
	if d.installed == nil {
		all, err := All[*resource.Connection](ctx, d, resource.KindConnection)
		if err != nil {
			return nil, err
		}
		d.installed = make(map[string][]*resource.Connection)
		for _, c := range all {
			d.installed[c.Server] = append(d.installed[c.Server], c)
		}
	}
	return d.installed[server], nil
}

// Label is a kind as it stands in a sentence.
func Label(k resource.Kind) string { return k.Label() }

// Refer names a resource in a sentence, for example `gateway "eng"`.
func Refer(o resource.Object) string {
	return fmt.Sprintf("%s %q", Label(o.Kind()), o.Metadata().Name)
}
