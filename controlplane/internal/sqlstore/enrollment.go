// SPDX-License-Identifier: Apache-2.0

package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/enrolled"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/revoked"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// JoinToken is a join token, known by its hash (D-81).
type JoinToken = enrolled.Token

// Workload is what is known of a workload that was enrolled or banned.
type Workload = enrolled.Workload

// Ban shuts a workload out.
type Ban = enrolled.Ban

const (
	// revokedWorkload is REVOCATION_KIND_WORKLOAD of penstock.distribution.v1.
	revokedWorkload = 5
	// banLife is how long nodes and authservers remember a ban: longer than any certificate lives.
	banLife = 100 * 365 * 24 * time.Hour
)

// AddJoinToken stores a join token. For a banned workload the fault is Denied, WORKLOAD_BANNED.
func (s *Store) AddJoinToken(ctx context.Context, t JoinToken) error {
	return s.inTx(ctx, func(tx *sql.Tx) error { return enrolled.AddToken(ctx, tx, t) })
}

// UseJoinToken uses a join token up, pins the key, both by their SHA-256, and returns the SPIFFE id that it was made for.
// The faults are Unauthenticated, JOIN_TOKEN_UNKNOWN, _USED or _EXPIRED, and Denied, WORKLOAD_BANNED.
func (s *Store) UseJoinToken(ctx context.Context, token, key [32]byte) (id string, err error) {
	err = s.inTx(ctx, func(tx *sql.Tx) error {
		id, err = enrolled.Use(ctx, tx, token, key, s.cfg.Now())
		return err
	})
	return id, err
}

// Workload returns what is known of a workload; of an unknown one, nothing.
func (s *Store) Workload(ctx context.Context, id string) (Workload, error) {
	return enrolled.Find(ctx, s.reads, id)
}

// BanWorkload bans a workload for ever and adds that to the sequence of revocations, in one transaction: everybody who
// follows the sequence learns of it. Who is banned already stays so, and nothing is stored.
func (s *Store) BanWorkload(ctx context.Context, b Ban) error {
	b.Time = s.cfg.Now()
	changed := false
	err := s.inTx(ctx, func(tx *sql.Tx) (err error) {
		if changed, err = enrolled.SetBan(ctx, tx, b); err != nil || !changed {
			return err
		}
		seq, _, err := revoked.Append(ctx, tx, s.pg != nil, []Revocation{{
			Kind: revokedWorkload, KeySHA256: sha256.Sum256([]byte(b.SPIFFEID)), ExpireTime: b.Time.Add(banLife),
		}})
		if err != nil || s.pg == nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "SELECT pg_notify($1, $2)", revocationChannel, strconv.FormatUint(seq, 10))
		return sqlfault.Classify("notify", err)
	})
	if err == nil && changed {
		s.revoked.Notify()
	}
	return err
}

// BannedWorkloads returns the SPIFFE ids of all banned workloads, sorted.
func (s *Store) BannedWorkloads(ctx context.Context) ([]string, error) {
	return enrolled.Banned(ctx, s.reads)
}

// dropJoinTokens forgets what has expired a week ago: until then its user is told why it is refused.
func (s *Store) dropJoinTokens(ctx context.Context) error {
	return s.batches(ctx, "DELETE FROM join_token WHERE token_sha256 IN (SELECT token_sha256 FROM join_token WHERE expires_at <= $1 LIMIT $2)",
		fromTime(s.cfg.Now().Add(-keepTokens)))
}

const keepTokens = 7 * 24 * time.Hour
