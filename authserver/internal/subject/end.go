// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// revokeTimeout bounds what one token's revocation waits for its provider.
	revokeTimeout = 5 * time.Second
	// page is how many kept logins are listed at a time.
	page = 500
)

// End deletes all that is kept of a user (uid), and revokes her refresh tokens where the provider has an endpoint for it (RFC 7009,
// UP-11): a provider that does not answer keeps nothing from ending here. Logging out is no end: tokens of offline_access outlive
// the logout at the provider, too (OpenID Connect Back-Channel Logout 1.0 §2.7).
func (k *Keeper) End(ctx context.Context, user string) error {
	k.drop(func(w want) bool { return w.user == user })
	keys, err := k.list(ctx, prefix+user+":")
	if err != nil {
		return fmt.Errorf("list the tokens of a user: %w", err)
	}
	for _, key := range keys {
		if err := k.Forget(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// Strays returns the keys of what nobody can use any more by a view of all there is: of users who are gone or deactivated, and of
// providers that are gone or whose tokens are not kept any more.
func (k *Keeper) Strays(ctx context.Context, view *directory.View) ([]string, error) {
	keys, err := k.list(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("list kept tokens: %w", err)
	}
	var strays []string
	for _, key := range keys {
		user, provider := split(key)
		if p := view.ProviderByUID(provider); p == nil || p.Kept == nil || view.User(user) == nil {
			strays = append(strays, key)
		}
	}
	return strays, nil
}

// Forget deletes what is kept under a key, and revokes its refresh token.
func (k *Keeper) Forget(ctx context.Context, key string) error {
	_, l, err := k.load(ctx, key)
	if err != nil && fault.KindOf(err) != fault.Precondition { // what cannot be read can be deleted
		return fmt.Errorf("read kept tokens: %w", err)
	}
	user, provider := split(key)
	e := store.Event{Time: k.c.Now(), ActorType: "system", Action: actionEnded, Target: user + "/" + provider, Result: resultOK}
	if p := k.providerOf(key); p != nil {
		e.Target = user + "/" + p.Name
	}
	there := 0
	err = k.c.Audit.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
		if there, err = k.c.Vault.Delete(ctx, key); err != nil || there == 0 {
			return err
		}
		return tx.Record(ctx, e)
	})
	if err != nil {
		return fmt.Errorf("delete kept tokens: %w", err)
	}
	if there > 0 && l != nil {
		k.revoke(ctx, key, l)
	}
	return nil
}

// revoke ends a refresh token at its provider, if that is still the one that gave it.
func (k *Keeper) revoke(ctx context.Context, key string, l *kept) {
	p := k.providerOf(key)
	if p == nil || l.Refresh == "" || p.Issuer != l.Issuer || p.ClientID != l.Client {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
	defer cancel()
	if err := k.c.Providers.Revoke(ctx, p, obs.Secret(l.Refresh)); err != nil {
		k.c.Log.WarnContext(ctx, "refresh token not revoked", slog.String("provider", p.Name), obs.Fault(err))
	}
}

// providerOf returns the provider of a key, disabled ones too; nil if it is gone.
func (k *Keeper) providerOf(key string) *directory.Provider {
	view := k.c.View()
	if view == nil {
		return nil
	}
	_, provider := split(key)
	return view.ProviderByUID(provider)
}

// list returns all keys that begin with a text.
func (k *Keeper) list(ctx context.Context, text string) ([]string, error) {
	var all []string
	for after := ""; ; after = all[len(all)-1] {
		keys, err := k.c.Vault.Connections(ctx, text, after, page)
		if err != nil {
			return nil, err
		}
		if all = append(all, keys...); len(keys) < page {
			return all, nil
		}
	}
}
