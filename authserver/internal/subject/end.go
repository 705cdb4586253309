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
	// revokeTimeout bounds what one token's revocation waits for its provider, and what all that are left at the stop wait together.
	revokeTimeout = 5 * time.Second
	// revokeQueue is how many revocations may wait: beyond it a provider does not hear that its token is not used any more.
	revokeQueue = 1000
	// page is how many kept logins are listed at a time.
	page = 500
)

// End deletes all that is kept of a user (uid), and has her refresh tokens revoked where the provider has an endpoint for it (RFC 7009,
// UP-11), by [Keeper.Run]: a provider that does not answer keeps nothing from ending here. Logging out is no end: tokens of offline_access outlive
// the logout at the provider, too (OpenID Connect Back-Channel Logout 1.0 §2.7).
func (k *Keeper) End(ctx context.Context, user string) error {
	k.Drop(user)
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

// Drop forgets what this process has in memory of what providers gave a user (uid) for servers.
func (k *Keeper) Drop(user string) { k.drop(func(w want) bool { return w.user == user }) }

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

// Forget deletes what is kept under a key, and has its refresh token revoked.
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
		k.revokeLater(key, l)
	}
	return nil
}

// revocation is a refresh token that is not used any more.
type revocation struct {
	provider *directory.Provider
	token    obs.Secret
}

// revokeLater leaves a refresh token to Run, if its provider is still the one that gave it.
func (k *Keeper) revokeLater(key string, l *kept) {
	p := k.providerOf(key)
	if p == nil || l.Refresh == "" || p.Issuer != l.Issuer || p.ClientID != l.Client {
		return
	}
	select {
	case k.revocations <- revocation{p, obs.Secret(l.Refresh)}:
	default:
		k.c.Log.Warn("refresh token not revoked: too many wait for it", slog.String("provider", p.Name))
	}
}

// Run revokes at their providers what has ended here, one after another, until ctx ends, and what waits then in a last round.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		select {
		case r := <-k.revocations:
			k.revoke(context.WithoutCancel(ctx), r)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
			defer cancel()
			for {
				select {
				case r := <-k.revocations:
					k.revoke(last, r)
				default:
					return nil
				}
			}
		}
	}
}

func (k *Keeper) revoke(ctx context.Context, r revocation) {
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	if err := k.c.Providers.Revoke(ctx, r.provider, r.token); err != nil {
		k.c.Log.WarnContext(ctx, "refresh token not revoked", slog.String("provider", r.provider.Name), obs.Fault(err))
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
