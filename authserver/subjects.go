// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/exchange"
	"github.com/penstockhq/penstock/authserver/internal/grants"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/subject"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Renew implements subject.Providers: login brings tokens to the keeper, which asks it for new ones.
func (a *authorization) Renew(
	ctx context.Context, idp *directory.Provider, r federation.Refresh,
) (federation.Tokens, federation.Proof, error) {
	return a.login.Renew(ctx, idp, r)
}

// Revoke implements subject.Providers.
func (a *authorization) Revoke(ctx context.Context, idp *directory.Provider, token obs.Secret) error {
	return a.login.Revoke(ctx, idp, token)
}

// returned leads who comes back from an identity provider to the link that she was sent for: login is made before connect is.
func (a *authorization) returned(w http.ResponseWriter, r *http.Request, link, user string) {
	a.connect.Returned(w, r, link, user)
}

// kept is what logins left, as the room that exchanges it knows it.
type kept struct{ *subject.Keeper }

// Token implements exchange.Subjects.
func (k kept) Token(ctx context.Context, user string, p *directory.Provider, kind directory.Subject) (exchange.Token, error) {
	t, err := k.Keeper.Token(ctx, user, p, kind)
	return exchange.Token(t), err
}

// StepUp implements exchange.Subjects.
func (k kept) StepUp(ctx context.Context, user string, p *directory.Provider, want exchange.StepUp) error {
	return k.Keeper.StepUp(ctx, user, p, subject.StepUp(want))
}

// forget drops what this authserver has in memory of a user (uid).
func (a *authorization) forget(user string) {
	a.exchanger.Forget(user)
	a.subjects.Drop(user)
}

// endUser ends what a user (uid) has: logins and grants first, then the tokens of identity providers, and what they were exchanged for.
func (a *authorization) endUser(ctx context.Context, user string) error {
	a.exchanger.Forget(user)
	return errors.Join(a.grants.RevokeUser(ctx, user), a.subjects.End(ctx, user))
}

// sessions is what security events end.
type sessions struct {
	*grants.Grants
	a *authorization
}

// RevokeUser implements signals.Sessions.
func (s sessions) RevokeUser(ctx context.Context, user string) error { return s.a.endUser(ctx, user) }
