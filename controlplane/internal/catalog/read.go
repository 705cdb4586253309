// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/condition"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/fields"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/filter"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	defaultPage = 100
	maxPage     = 1000
	scanPage    = 500
)

// Get returns one resource with its status; a tool with its definitions. What the caller may not see is NotFound, like
// what does not exist.
func (c *Catalog) Get(ctx context.Context, caller Caller, kind Kind, name string) (Object, error) {
	if kind == KindAssignment {
		return nil, resource.NotAResource(kind, "read by itself: get its gateway")
	}
	return c.read(ctx, caller, kind, name)
}

func (c *Catalog) read(ctx context.Context, caller Caller, kind Kind, name string) (Object, error) {
	var o Object
	err := c.cfg.Store.Read(ctx, func(_ Head, r Reader) (err error) {
		d := desk.New(r, caller)
		if o, err = d.Visible(ctx, kind, name); err != nil {
			return err
		}
		if t, ok := o.(*Tool); ok {
			if err := d.Definitions(ctx, t); err != nil {
				return err
			}
		}
		return c.status(ctx, d, o)
	})
	if err != nil {
		return nil, err
	}
	return o, c.facts.Annotate(ctx, kind, []Object{o})
}

// conceal takes out of a resource what is stored and never shown, and of a token what its rotation left once that is over.
func (c *Catalog) conceal(o Object) {
	switch o := o.(type) {
	case interface{ DropSecrets() }:
		o.DropSecrets()
	case *BearerToken:
		o.PreviousSHA256 = nil
		if !o.PreviousExpireTime.After(c.cfg.Now()) {
			o.PreviousExpireTime = time.Time{}
		}
	}
}

// status fills in a gateway's status: where it is and why it is not usable, if it is not.
func (c *Catalog) status(ctx context.Context, d *desk.Desk, o Object) error {
	c.conceal(o)
	g, ok := o.(*Gateway)
	if !ok {
		return nil
	}
	list, err := condition.Of(ctx, d, g, c.cfg.Status)
	g.Status = &resource.GatewayStatus{Conditions: list, URL: c.cfg.GatewayURL(g.Name)}
	return err
}

// List returns a page of what the caller may see, in name order, tools without definitions. Faults: Invalid for a filter
// or page token that cannot be used.
func (c *Catalog) List(ctx context.Context, caller Caller, kind Kind, opt ListOptions) (Page, error) {
	if _, err := resource.New(kind); err != nil {
		return Page{}, resource.NotAResource(kind, "listed")
	}
	switch {
	case opt.PageSize < 0 || opt.PageSize > maxPage:
		return Page{}, fault.Newf(fault.Invalid, resource.ReasonInvalidField, "The page size is %d; it is 1 to %d, or 0 for %d.", opt.PageSize, maxPage, defaultPage).
			At("page_size", "out of range")
	case opt.PageSize == 0:
		opt.PageSize = defaultPage
	}
	f, err := filter.Parse(opt.Filter, func(field string) string { return fields.FilterProblem(kind, field) })
	if err != nil {
		return Page{}, err
	}
	of := filter.Request{Kind: string(kind), Filter: opt.Filter, Deleted: opt.ShowDeleted}
	after, err := of.After(opt.PageToken)
	if err != nil {
		return Page{}, err
	}
	var page Page
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		page = Page{}
		l := lister{Desk: desk.New(r, caller), c: c, kind: kind, filter: f, deleted: opt.ShowDeleted}
		more, err := l.collect(ctx, after, opt.PageSize, &page)
		if more {
			page.NextPageToken = of.Token(page.Objects[len(page.Objects)-1].Metadata().Name)
		}
		return err
	})
	if err != nil {
		return Page{}, err
	}
	return page, c.facts.Annotate(ctx, kind, page.Objects)
}

// lister collects a page.
type lister struct {
	*desk.Desk

	c       *Catalog
	kind    Kind
	filter  filter.Filter
	deleted bool
}

// collect fills a page and reports whether something follows it.
func (l *lister) collect(ctx context.Context, after string, size int, page *Page) (more bool, err error) {
	// The tools of one server lie together: their names begin with its name.
	only, narrowed := l.filter.Equal("server")
	if narrowed = narrowed && l.kind == KindTool; narrowed {
		after = max(after, only+"/")
	}
	for {
		recs, err := l.R.List(ctx, l.kind, after, scanPage, l.deleted)
		if err != nil {
			return false, err
		}
		for _, rec := range recs {
			if narrowed && desk.ServerOf(rec.Name) != only {
				return false, nil
			}
			o, err := l.match(ctx, rec)
			if err != nil {
				return false, err
			}
			if o == nil {
				continue
			}
			if len(page.Objects) == size {
				return true, nil
			}
			page.Objects = append(page.Objects, o)
		}
		if len(recs) < scanPage {
			return false, nil
		}
		after = recs[len(recs)-1].Name
	}
}

// match returns the resource of a record as callers see it, nil if it is not for the page.
func (l *lister) match(ctx context.Context, rec *Record) (Object, error) {
	if !rec.DeleteTime.IsZero() && rec.DeleteTime.Before(l.c.cfg.Now().Add(-KeepDeleted)) {
		return nil, nil
	}
	o, err := l.Object(rec)
	if err != nil {
		return nil, err
	}
	if ok, err := l.Sees(ctx, o); err != nil || !ok {
		return nil, err
	}
	if !l.filter.Matches(func(field string) string { return fields.Text(o, field) }) {
		return nil, nil
	}
	if o, err = l.Complete(ctx, o); err != nil {
		return nil, err
	}
	if s, ok := o.(*Server); ok {
		s.DropDefinitions()
	}
	return o, l.c.status(ctx, l.Desk, o)
}

// exported are the kinds that manifests have, in the order in which they depend on each other.
func exported() []Kind {
	return []Kind{KindUser, KindTeam, KindIdentityProvider, KindServer, KindConnection, KindGateway, KindOAuthClient, KindPolicy, KindResultPolicy}
}

// Export returns every resource that manifests have and the caller may see, in the form that Apply takes: without what
// only the control plane writes, and without secrets.
func (c *Catalog) Export(ctx context.Context, caller Caller) ([]Object, Revision, error) {
	var out []Object
	var rev Revision
	err := c.cfg.Store.Read(ctx, func(h Head, r Reader) error {
		out, rev = nil, h.Revision
		d := desk.New(r, caller)
		for _, kind := range exported() {
			objects, err := desk.All[Object](ctx, d, kind)
			if err != nil {
				return err
			}
			for _, o := range objects {
				if ok, err := d.Sees(ctx, o); err != nil || !ok {
					if err != nil {
						return err
					}
					continue
				}
				if o, err = d.Complete(ctx, o); err != nil {
					return err
				}
				fields.Strip(o)
				out = append(out, o)
			}
		}
		return nil
	})
	return out, rev, err
}
