// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/pages"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// dateForm is how people read days.
const dateForm = "2 January 2006"

// app is what a person allowed a client at a gateway, over all redirect hosts: it is taken back as one.
type app struct {
	client, gateway string
	name            string
	hosts, scopes   []string
	since, used     time.Time
}

// apps returns what has access in a person's name, the newest first.
func (h *Handler) apps(ctx context.Context, user string) ([]pages.App, error) {
	consents, err := h.cfg.Store.Consents(ctx, user)
	if err != nil {
		return nil, fmt.Errorf("list consents: %w", err)
	}
	grants, err := h.cfg.Store.Grants(ctx, user, h.cfg.Now().UTC())
	if err != nil {
		return nil, fmt.Errorf("list grants: %w", err)
	}
	var list []*app
	find := func(client, gateway string) *app {
		for _, a := range list {
			if a.client == client && a.gateway == gateway {
				return a
			}
		}
		a := &app{client: client, gateway: gateway}
		list = append(list, a)
		return a
	}
	for i := range consents {
		find(consents[i].Client, consents[i].Gateway).consent(&consents[i])
	}
	for i := range grants {
		find(grants[i].Client, grants[i].Gateway).grant(&grants[i])
	}
	view := h.cfg.View()
	shown := make([]pages.App, 0, len(list))
	for _, a := range list {
		one := a.show()
		if g := view.Gateway(a.gateway); g != nil {
			one.Gateway = g.Title()
		} else {
			one.Gateway = "A gateway that was removed"
		}
		shown = append(shown, one)
	}
	return shown, nil
}

func (a *app) consent(c *store.Consent) {
	if a.name == "" {
		a.name = c.ClientName // the newest comes first
	}
	a.add(c.RedirectHost, c.Scopes, c.CreateTime)
}

// grant adds what a grant knows. One without a consent is of an identity assertion: her organisation let the client in.
func (a *app) grant(g *store.Grant) {
	a.add(g.RedirectHost, g.Scopes, g.CreateTime)
	if g.UseTime.After(a.used) {
		a.used = g.UseTime
	}
}

func (a *app) add(host string, scopes []string, since time.Time) {
	if host != "" && !slices.Contains(a.hosts, host) {
		a.hosts = append(a.hosts, host)
	}
	for _, s := range scopes {
		if !slices.Contains(a.scopes, s) {
			a.scopes = append(a.scopes, s)
		}
	}
	slices.Sort(a.scopes)
	if a.since.IsZero() || since.Before(a.since) {
		a.since = since
	}
}

func (a *app) show() pages.App {
	one := pages.App{
		Client: a.client, GatewayID: a.gateway, Name: a.name, Scopes: pages.Scopes(a.scopes), Since: a.since.UTC().Format(dateForm),
	}
	if u, err := url.Parse(a.client); err == nil && u.Scheme == "https" { // its document is there (CIMD)
		one.Host = u.Host
	}
	for _, host := range a.hosts {
		one.Answers = append(one.Answers, strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://"))
	}
	if one.Name == "" {
		one.Name = a.client
	}
	if !a.used.IsZero() {
		one.LastUsed = a.used.UTC().Format(dateForm)
	}
	return one
}
