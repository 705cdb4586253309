// SPDX-License-Identifier: Apache-2.0

package grants

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// assertions is what the issuers of identity assertions are called in the store, to keep their identifiers apart from those
// of clients.
const assertions = "id_jag "

// Assertion is what an identity assertion gives a client, when everything about it is found right but whether it is new.
type Assertion struct {
	Client   Client
	User     string // uid
	Gateway  string // uid
	Scopes   []string
	Provider string // name of the identity provider
	AMR      []string
	AuthTime time.Time     // zero: not said
	Subject  store.Subject // whom it is about
	ID       string        // `jti`
	Until    time.Time     // nothing is to be had for it from then on
}

// Assert makes the grant of an identity assertion, which is as long as its one access token: there is no refresh token
// (JAG-15). In the same transaction the assertion is used up, for all authservers on the store: of several requests with it
// one gets the grant, the others invalid_grant (JAG-8).
func (g *Grants) Assert(ctx context.Context, a Assertion) (Issue, error) {
	now := g.now()
	grant := store.Grant{
		ID: uuid.NewString(), User: a.User, Client: a.Client.ID, Gateway: a.Gateway, Scopes: a.Scopes, AMR: a.AMR, Provider: a.Provider,
		AuthTime: a.AuthTime, CreateTime: now, UseTime: now, ExpireTime: now.Add(g.c.AccessTTL + g.c.Skew), Origin: a.Subject,
	}
	resource, err := g.c.Access.Usable(ctx, grant)
	if err != nil {
		return Issue{}, err
	}
	grant.Resource = resource
	accepted := event(ctx, "idjag.accepted", "ok", "", grant)
	accepted.Issuer, accepted.Subject, accepted.Token = a.Subject.Issuer, store.Digest(a.Subject.Subject), store.Digest(a.ID)
	err = g.update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		fresh, err := tx.UseJTI(ctx, assertions+a.Subject.Issuer, a.ID, a.Until)
		if err != nil {
			return err
		}
		if !fresh {
			return invalid(ReasonAssertionReplayed, "The assertion was used before. Get a new one from the identity provider.")
		}
		return errors.Join(
			tx.PutGrant(ctx, grant), a.Client.touch(ctx, tx), tx.Record(ctx, accepted),
			tx.Record(ctx, event(ctx, "token.issued", "ok", MethodIDJAG, grant)))
	})
	if err != nil {
		return Issue{}, err
	}
	return Issue{Grant: grant, Resource: resource, Scopes: a.Scopes}, nil
}

// ReasonAssertionReplayed is the reason of an identity assertion that was used before.
const ReasonAssertionReplayed = "assertion_replayed"

// Asserted reports whether an identity assertion of an issuer was used before, by its `jti`. Only [Grants.Assert] can tell
// that it was not: this is for whoever would do something in between that cannot be taken back.
func (g *Grants) Asserted(ctx context.Context, issuer, id string) (bool, error) {
	return g.c.Store.JTIUsed(ctx, assertions+issuer, id)
}
