// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// completeTimeout bounds what is done with a credential; a person waits for it.
const completeTimeout = 20 * time.Second

// complete uses a link up, then gets a credential and installs it. What comes to nothing leaves the link open: the person can try again. It is
// finished even if the browser goes away meanwhile, so that the link and the connection do not contradict each other.
func (h *Handler) complete(
	ctx context.Context, l store.ConnectLink, names []string, credential func(context.Context) (vault.Secret, error),
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), completeTimeout)
	defer cancel()
	if err := h.use(ctx, l); err != nil {
		return err
	}
	secret, err := credential(ctx)
	if err == nil {
		err = h.install(ctx, l, secret, names)
	}
	if err != nil {
		h.reopen(ctx, l)
		return err
	}
	if err := h.record(ctx, event(ctx, l, actionDone, resultOK, l.User)); err != nil {
		h.c.Log.ErrorContext(ctx, "connected server not recorded", slog.String(obs.AttrRequestID, reqctx.From(ctx).ID), obs.Fault(err))
	}
	return nil
}

// use uses a link up: of several at once one gets through (EL-5).
func (h *Handler) use(ctx context.Context, l store.ConnectLink) error {
	return h.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		used, err := tx.UseConnectLink(ctx, l.Hash, h.now())
		if err == nil && !used {
			return over()
		}
		return err
	})
}

func (h *Handler) reopen(ctx context.Context, l store.ConnectLink) {
	err := h.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.ReopenConnectLink(ctx, l.Hash) })
	if err != nil { // the person needs a new link, which the next call gives
		h.c.Log.WarnContext(ctx, "connect link not reopened", slog.String(obs.AttrRequestID, reqctx.From(ctx).ID), obs.Fault(err))
	}
}

// install makes the person's connection, seals the credential for it, and has the control plane refer to it. The secret is
// bound to the connection's uid (SE-2), so the connection comes first; a version that nobody refers to is collected.
func (h *Handler) install(ctx context.Context, l store.ConnectLink, secret vault.Secret, names []string) error {
	to := directory.Installation{User: l.User, Server: l.Server}
	uid, err := h.c.Installer.ConnectServer(ctx, to)
	if err != nil {
		return fmt.Errorf("make a connection: %w", err)
	}
	if to.Version, err = h.c.Vault.Put(ctx, uid, secret); err != nil {
		return fmt.Errorf("seal a credential: %w", err)
	}
	to.Names = names
	if _, err := h.c.Installer.ConnectServer(ctx, to); err != nil {
		return fmt.Errorf("refer to a credential: %w", err)
	}
	return nil
}
