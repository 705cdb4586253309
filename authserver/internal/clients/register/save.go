// SPDX-License-Identifier: Apache-2.0

package register

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/metadata"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// secretPrefix is what client secrets begin with (ST-1).
const secretPrefix = "psc_"

// response is the answer to a registration (RFC 7591 §3.2.1): what is registered, not what was asked for.
type response struct {
	ID       string `json:"client_id"`
	IssuedAt int64  `json:"client_id_issued_at"` // seconds
	Secret   string `json:"client_secret,omitempty"`
	// SecretEnd is there with a secret only; 0 is never.
	SecretEnd *int64 `json:"client_secret_expires_at,omitempty"`
	metadata.Client
}

const (
	// quotaRetry is how long to wait when there are too many unused clients: they go one by one.
	quotaRetry = 10 * time.Minute
	// newcomer is how old an unused client is at least that gives its place up: whoever registers goes on to log in. Without it,
	// one address could keep everybody out for as long as unused clients live.
	newcomer = time.Hour
	// maxStored bounds what is kept of one client, in bytes: with MaxUnused it bounds what strangers can store.
	maxStored = 16 << 10
)

// store keeps a client and returns the answer. A public client that said the same before is that client (REG-9).
func (h *Handler) store(ctx context.Context, m *metadata.Client) ([]byte, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode the metadata: %w", err)
	}
	if len(text) > maxStored {
		return nil, refused("What would be registered is longer than 16 KiB.")
	}
	now := h.config.Now().UTC().Truncate(time.Microsecond)
	row := store.Client{ID: Prefix + rand.Text(), Metadata: text, CreateTime: now, ExpireTime: now.Add(h.config.UnusedTTL)}
	secret := ""
	switch m.Method {
	case metadata.MethodNone:
		row.Fingerprint = m.Fingerprint()
	case metadata.MethodBasic, metadata.MethodPost:
		secret, row.SecretHash = ident.MintSecret(secretPrefix)
	}
	var kept store.Client
	err = h.config.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
		kept, err = h.create(ctx, tx, row)
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer(kept, secret)
}

func (h *Handler) create(ctx context.Context, tx store.OAuthTx, row store.Client) (store.Client, error) {
	kept, err := tx.CreateClient(ctx, row)
	if err != nil {
		return store.Client{}, fmt.Errorf("keep the client: %w", err)
	}
	e := reqctx.Event(ctx, "client.registered", "ok")
	e.ActorType, e.Actor, e.Client, e.Target = "client", kept.ID, kept.ID, kept.ID
	if kept.ID != row.ID {
		e.Reason = "KNOWN"
	} else {
		n, err := tx.UnusedClients(ctx)
		if err != nil {
			return store.Client{}, fmt.Errorf("count unused clients: %w", err)
		}
		if over := n - h.config.MaxUnused; over > 0 {
			if over, err = h.makeRoom(ctx, tx, row.CreateTime, over); err != nil {
				return store.Client{}, err
			}
			n = h.config.MaxUnused + over
		}
		if n > h.config.MaxUnused {
			over := oauthfault.New(oauthfault.SlowDown, "Too many clients are registered and not used. Try again later, or ask an administrator.")
			over.Retry = quotaRetry
			return store.Client{}, over
		}
	}
	if err := tx.Record(ctx, e); err != nil {
		return store.Client{}, fmt.Errorf("record the registration: %w", err)
	}
	return kept, nil
}

// makeRoom drops unused clients that nobody logs in with any more, and returns how many are still too many.
func (h *Handler) makeRoom(ctx context.Context, tx store.OAuthTx, now time.Time, over int) (int, error) {
	dropped, err := tx.DropUnusedClients(ctx, now.Add(-newcomer), over)
	if err != nil {
		return 0, fmt.Errorf("drop unused clients: %w", err)
	}
	return over - dropped, nil
}

func answer(kept store.Client, secret string) ([]byte, error) {
	r := response{ID: kept.ID, IssuedAt: kept.CreateTime.Unix(), Secret: secret}
	if secret != "" {
		r.SecretEnd = new(int64)
	}
	if err := json.Unmarshal(kept.Metadata, &r.Client); err != nil {
		return nil, fmt.Errorf("decode the metadata of client %s: %w", kept.ID, err)
	}
	text, err := json.Marshal(&r) //nolint:gosec // the one time that the secret is told (REG-5)
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return text, nil
}

// refuse logs a refusal and, unless it is about a rate or the store, records it: a flood of requests does not become a
// flood of rows.
func (h *Handler) refuse(ctx context.Context, err error) {
	e := oauthfault.From(err)
	h.config.Logger.InfoContext(ctx, "client registration refused", obs.AttrStatus, e.Status, obs.AttrReason, string(e.Code), obs.AttrError, e.Error())
	if e.Code == oauthfault.SlowDown || e.Status >= 500 {
		return
	}
	event := reqctx.Event(ctx, "client.refused", "refused")
	event.ActorType, event.Reason = "client", string(e.Code)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // a client that hangs up is recorded as well
	defer cancel()
	err = h.config.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.Record(ctx, event) })
	if err != nil && !errors.Is(err, context.Canceled) {
		h.config.Logger.ErrorContext(ctx, "audit event not recorded", slog.String(obs.AttrReason, event.Action), obs.Fault(err))
	}
}
