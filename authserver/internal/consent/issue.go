// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/penstockhq/penstock/authserver/internal/consent/ask"
	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// codePrefix is what authorization codes begin with.
const codePrefix = "psa_"

// issue takes the request, keeps the consent and issues a code, all or nothing.
func (h *Handler) issue(w http.ResponseWriter, r *http.Request, q ask.Waiting, d decision) {
	now := h.cfg.Now().UTC().Truncate(time.Microsecond)
	text, hash := ident.MintSecret(codePrefix)
	code := store.Code{
		Hash: hash, RedirectURI: q.RedirectURI, Challenge: q.Challenge, ExpireTime: now.Add(h.cfg.CodeTTL),
		Grant: store.Grant{
			ID: uuid.NewString(), User: d.User, Client: d.Client.ID, RedirectHost: ask.TargetOf(q.RedirectURI).Host,
			Gateway: d.Gateway.UID, Resource: d.resource, Scopes: d.scopes,
			AMR: d.login.AMR, Provider: d.login.Provider, Session: d.login.Session, AuthTime: d.login.AuthTime,
			CreateTime: now, ExpireTime: now.Add(h.cfg.GrantTTL),
		},
	}
	err := h.cfg.Store.Update(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		if err := h.desk.Take(ctx, tx, q); err != nil {
			return err
		}
		if err := h.keep(ctx, tx, d, code.Grant, now); err != nil {
			return err
		}
		if err := tx.PutCode(ctx, code); err != nil {
			return err
		}
		if err := h.cfg.Clients.Touch(ctx, tx, d.Client); err != nil {
			return err
		}
		issued := d.event(ctx, "code.issued", "ok")
		gid := sha256.Sum256([]byte(code.Grant.ID))
		issued.Grant = hex.EncodeToString(gid[:])
		return tx.Record(ctx, issued)
	})
	if err != nil {
		h.lost(w, r, d, err)
		return
	}
	h.desk.Code(w, r, d.Case, text)
}

// keep stores a new consent, or adds what is new to the one that is there (TK-23). A client that says something else of
// itself starts anew.
func (h *Handler) keep(ctx context.Context, tx store.OAuthTx, d decision, g store.Grant, now time.Time) error {
	if !d.ask && d.covered() {
		return nil
	}
	c := store.Consent{
		User: d.User, Client: d.Client.ID, RedirectHost: g.RedirectHost, Gateway: d.Gateway.UID, Scopes: g.Scopes,
		Fingerprint: d.Client.Fingerprint, ClientName: d.Client.Name, CreateTime: now, UpdateTime: now,
	}
	// Read again: another tab may have agreed to more in between.
	before, err := tx.Consent(ctx, c.User, c.Client, c.RedirectHost, c.Gateway)
	switch {
	case err == nil && before.Fingerprint == c.Fingerprint:
		c.CreateTime = before.CreateTime
		c.Scopes = slices.Concat(before.Scopes, c.Scopes)
		slices.Sort(c.Scopes)
		c.Scopes = slices.Compact(c.Scopes)
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return err
	}
	if err := tx.PutConsent(ctx, c); err != nil {
		return err
	}
	granted := d.event(ctx, "consent.granted", "ok")
	if !d.ask {
		granted.Reason = "trusted_client" // nobody was asked (AZ-14)
	}
	return tx.Record(ctx, granted)
}

// deny takes the request and tells the client that the person does not want it.
func (h *Handler) deny(w http.ResponseWriter, r *http.Request, q ask.Waiting, d decision) {
	err := h.cfg.Store.Update(r.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		if err := h.desk.Take(ctx, tx, q); err != nil {
			return err
		}
		return tx.Record(ctx, d.event(ctx, "consent.denied", "refused"))
	})
	if err != nil {
		h.lost(w, r, d, err)
		return
	}
	h.desk.Deny(w, r, d.Case, oauthfault.New(oauthfault.AccessDenied, "The person does not allow it."))
}

// lost answers for a transaction that was not committed.
func (h *Handler) lost(w http.ResponseWriter, r *http.Request, d decision, err error) {
	if f := fault.From(err); f.Kind == fault.Invalid && f.Reason == ask.ReasonOver {
		h.desk.FaultPage(w, r, err)
		return
	}
	h.desk.Deny(w, r, d.Case, oauthfault.From(err))
}

func (d *decision) event(ctx context.Context, action, result string) store.Event {
	e := reqctx.Event(ctx, action, result)
	e.ActorType, e.Actor, e.Client, e.Target = "user", d.User, d.Client.ID, d.Gateway.UID
	return e
}
