// SPDX-License-Identifier: Apache-2.0

package condition

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

// unmade are the servers behind a gateway whose credential Penstock cannot make.
type unmade struct {
	secretless []string // the client that it is got with has no secret
	off        []string // its identity provider is gone, disabled, or has no token_exchange
}

func unmakeable(ctx context.Context, d *desk.Desk, g *resource.Gateway) (out unmade, err error) {
	for _, name := range behind(g) {
		s, err := desk.Find[*resource.Server](ctx, d, resource.KindServer, name)
		if err != nil {
			return unmade{}, err
		}
		if s == nil {
			continue
		}
		if s.LacksClientSecret() {
			out.secretless = append(out.secretless, name)
		}
		provider, _ := s.IdentityProvider()
		if provider == "" {
			continue
		}
		p, err := desk.Find[*resource.IdentityProvider](ctx, d, resource.KindIdentityProvider, provider)
		if err != nil {
			return unmade{}, err
		}
		if p == nil || p.Disabled || p.TokenExchange == nil {
			out.off = append(out.off, name+" ("+provider+")")
		}
	}
	return out, nil
}

// behind names the servers of a gateway, each once.
func behind(g *resource.Gateway) (names []string) {
	for _, a := range g.Tools {
		names = appendNew(names, desk.ServerOf(a.Tool))
	}
	for _, f := range g.ServerFeatures {
		names = appendNew(names, f.Server)
	}
	return names
}
