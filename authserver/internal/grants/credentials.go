// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Credentials is what a client asks for without a person (RFC 6749 §4.4). That it may have it is checked before.
type Credentials struct {
	Client  string
	Gateway string // uid
	Scopes  []string
}

// Credentials makes a grant that is as long as its one access token: there is no refresh token (TK-19).
func (g *Grants) Credentials(ctx context.Context, r Credentials) (Issue, error) {
	now := g.now()
	grant := store.Grant{
		ID: uuid.NewString(), Client: r.Client, Gateway: r.Gateway, Scopes: r.Scopes,
		CreateTime: now, UseTime: now, ExpireTime: now.Add(g.c.AccessTTL + g.c.Skew),
	}
	resource, err := g.c.Access.Usable(ctx, grant)
	if err != nil {
		return Issue{}, err
	}
	grant.Resource = resource
	err = g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		return errors.Join(tx.PutGrant(ctx, grant), tx.Record(ctx, event(ctx, "token.issued", "ok", "client_credentials", grant)))
	})
	if err != nil {
		return Issue{}, err
	}
	return Issue{Grant: grant, Resource: resource, Scopes: r.Scopes}, nil
}
