// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Send sends a user (uid), who has just asked for it, to log in with a provider (name), so that there are tokens of hers that are
// kept. Whoever comes back is told to [Config.Returned], with the request; only the user herself is logged in then, and only her
// tokens are kept. The caller has checked that the form is one that this browser was shown.
func (l *Login) Send(w http.ResponseWriter, r *http.Request, provider, request, user string) {
	view, err := l.view()
	if err != nil {
		l.failed(w, r, err)
		return
	}
	idp := view.Provider(provider)
	if idp == nil {
		l.unknown(w, r, provider)
		return
	}
	proof, again, err := l.c.Subjects.Wanted(r.Context(), user, idp)
	if err != nil {
		l.failed(w, r, err)
		return
	}
	l.depart(w, r, idp, request, attempt{User: user, Again: again}, proof)
}

// keep keeps what a login left. Nobody is kept from logging in by it: who needs the tokens says that there are none.
func (l *Login) keep(ctx context.Context, user string, idp *directory.Provider, t federation.Tokens) {
	if idp.Kept == nil || l.c.Subjects == nil || t.Access == "" {
		return
	}
	if err := l.c.Subjects.Keep(ctx, user, idp, t); err != nil {
		l.c.Log.ErrorContext(ctx, "tokens of a login not kept", slog.String(attrProvider, idp.Name), obs.Fault(err))
	}
}

// Renew gets tokens with the refresh token of a login; see [federation.Party.Refresh]. A client secret that cannot be opened is
// the fault of the vault, or Precondition PROVIDER_SECRET.
func (l *Login) Renew(ctx context.Context, idp *directory.Provider, r federation.Refresh) (federation.Tokens, federation.Proof, error) {
	secret, err := l.secretOf(ctx, idp)
	if err != nil {
		return federation.Tokens{}, federation.Proof{}, err
	}
	return l.party.Refresh(ctx, idp, secret, r)
}

// Revoke ends a refresh token at its provider; see [federation.Party.Revoke].
func (l *Login) Revoke(ctx context.Context, idp *directory.Provider, token obs.Secret) error {
	secret, err := l.secretOf(ctx, idp)
	if err != nil {
		return err
	}
	return l.party.Revoke(ctx, idp, secret, token)
}
