// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"time"
)

const (
	// collectGrace is how long what is over stays: clocks differ, and a replay is told from nonsense for as long (TK-3).
	collectGrace = time.Hour
	// collectBatch bounds what one transaction removes of a kind: a long one would keep everybody else waiting.
	collectBatch = 1000
)

// Collect implements [store.OAuthTx].
func (t *Tx) Collect(ctx context.Context, now time.Time) (int, error) {
	const over = `(g.expire_time < $1 OR (g.revoke_time <> 0 AND g.revoke_time < $1))`
	old, total := micros(now.Add(-collectGrace)), 0
	for _, c := range []struct {
		what, query string
		before      int64
	}{
		{"tickets", `DELETE FROM oauth_tickets WHERE (kind, hash) IN (
		   SELECT kind, hash FROM oauth_tickets WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, old},
		{"logins", `DELETE FROM oauth_logins WHERE hash IN (
		   SELECT hash FROM oauth_logins WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, old},
		{"codes", `DELETE FROM oauth_codes WHERE hash IN (
		   SELECT hash FROM oauth_codes WHERE code_expire_time < $1 ORDER BY code_expire_time LIMIT $2)`, old},
		{"tokens", `DELETE FROM oauth_refresh_tokens WHERE hash IN (
		   SELECT hash FROM oauth_refresh_tokens WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, old},
		{"tokens of grants", `DELETE FROM oauth_refresh_tokens WHERE hash IN (
		   SELECT hash FROM oauth_refresh_tokens WHERE grant_id IN (SELECT g.grant_id FROM oauth_grants AS g WHERE ` + over + `) LIMIT $2)`, old},
		// After its tokens: one without its grant would stay until its own end.
		{"grants", `DELETE FROM oauth_grants WHERE grant_id IN (
		   SELECT g.grant_id FROM oauth_grants AS g WHERE ` + over + `
		     AND NOT EXISTS (SELECT 1 FROM oauth_refresh_tokens AS r WHERE r.grant_id = g.grant_id) LIMIT $2)`, old},
		{"clients", `DELETE FROM oauth_clients WHERE client_id IN (
		   SELECT client_id FROM oauth_clients WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, micros(now)},
		{"jtis", `DELETE FROM oauth_jtis WHERE hash IN (
		   SELECT hash FROM oauth_jtis WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, old},
		{"connect links", `DELETE FROM connect_links WHERE hash IN (
		   SELECT hash FROM connect_links WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, old},
		{"the outbox", `DELETE FROM oauth_outbox WHERE id IN (
		   SELECT id FROM oauth_outbox WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)`, old},
	} {
		n, err := t.exec(ctx, "collect "+c.what, c.query, c.before, collectBatch)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
