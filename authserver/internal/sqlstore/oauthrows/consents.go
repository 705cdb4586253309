// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

const consentColumns = `user_uid, client_id, gateway, redirect_host, scopes, fingerprint, client_name, create_time, update_time`

func scanConsent(s scanner) (store.Consent, error) {
	var c store.Consent
	err := s.Scan(&c.User, &c.Client, &c.Gateway, &c.RedirectHost, texts{&c.Scopes}, digest{&c.Fingerprint}, &c.ClientName,
		moment{&c.CreateTime}, moment{&c.UpdateTime})
	return c, err
}

// Consent implements [store.OAuthReader].
func (r Reader) Consent(ctx context.Context, user, client, redirectHost, gateway string) (store.Consent, error) {
	if !storable(client, redirectHost) {
		return store.Consent{}, store.RowMissing()
	}
	return row(ctx, r, "read a consent", scanConsent, `SELECT `+consentColumns+` FROM oauth_consents
		 WHERE user_uid = $1 AND client_id = $2 AND gateway = $3 AND redirect_host = $4`+r.forUpdate, user, client, gateway, redirectHost)
}

// Consents implements [store.OAuthReader].
func (r Reader) Consents(ctx context.Context, user string) ([]store.Consent, error) {
	return rows(ctx, r, "list the consents of a user", scanConsent, `SELECT `+consentColumns+` FROM oauth_consents
		 WHERE user_uid = $1 ORDER BY create_time DESC, client_id, gateway, redirect_host`, user)
}

// PutConsent implements [store.OAuthTx].
func (t *Tx) PutConsent(ctx context.Context, c store.Consent) error {
	return t.change(ctx, "store a consent", `INSERT INTO oauth_consents (`+consentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		 ON CONFLICT (user_uid, client_id, gateway, redirect_host) DO UPDATE SET scopes = excluded.scopes, fingerprint = excluded.fingerprint,
		   client_name = excluded.client_name, create_time = excluded.create_time, update_time = excluded.update_time`,
		c.User, c.Client, c.Gateway, c.RedirectHost, list(c.Scopes), optional(c.Fingerprint), c.ClientName, micros(c.CreateTime), micros(c.UpdateTime))
}

// DeleteConsents implements [store.OAuthTx].
func (t *Tx) DeleteConsents(ctx context.Context, user, client, gateway string) error {
	if !storable(client, gateway) { // as a form said
		return nil
	}
	return t.change(ctx, "delete consents", `DELETE FROM oauth_consents WHERE user_uid = $1 AND client_id = $2 AND gateway = $3`,
		user, client, gateway)
}
