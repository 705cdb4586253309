// SPDX-License-Identifier: Apache-2.0

package enrolled

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this room.
const (
	// ReasonTokenUnknown is a join token that was never made, or was forgotten some time after it expired (Unauthenticated).
	ReasonTokenUnknown = "JOIN_TOKEN_UNKNOWN"
	// ReasonTokenUsed is a join token that was used with another key (Unauthenticated).
	ReasonTokenUsed = "JOIN_TOKEN_USED"
	// ReasonTokenExpired is a join token that was not used in time (Unauthenticated).
	ReasonTokenExpired = "JOIN_TOKEN_EXPIRED"
	// ReasonBanned is a workload that is shut out for ever (Denied).
	ReasonBanned = "WORKLOAD_BANNED"
)

// Token is a join token.
type Token struct {
	SHA256      [32]byte
	SPIFFEID    string
	Actor       string
	Create, End time.Time
}

// Workload is what is known of a workload.
type Workload struct {
	SPIFFEID  string
	KeySHA256 []byte // empty: never enrolled
	Banned    bool
}

// Ban shuts a workload out.
type Ban struct {
	SPIFFEID, Actor, Reason string
	Time                    time.Time
}

// Querier is a *sql.DB or a *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// AddToken stores a join token. For a banned workload the fault is Denied, WORKLOAD_BANNED.
func AddToken(ctx context.Context, tx *sql.Tx, t Token) error {
	if w, err := Find(ctx, tx, t.SPIFFEID); err != nil || w.Banned {
		return banned(err)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO join_token (token_sha256, spiffe_id, actor, created_at, expires_at, used_at) VALUES ($1, $2, $3, $4, $5, 0)",
		t.SHA256[:], t.SPIFFEID, t.Actor, t.Create.UnixMicro(), t.End.UnixMicro())
	return sqlfault.Classify("store join token", err)
}

// Use uses a join token up and pins the key, by its SHA-256, to the workload that it was made for, whose SPIFFE id it
// returns. The same key may use it again until it expires: the first answer may have been lost.
func Use(ctx context.Context, tx *sql.Tx, token, key [32]byte, now time.Time) (id string, err error) {
	res, err := tx.ExecContext(ctx, "UPDATE join_token SET used_at = $2 WHERE token_sha256 = $1 AND used_at = 0 AND expires_at > $3",
		token[:], now.UnixMicro(), now.UnixMicro())
	if err != nil {
		return "", sqlfault.Classify("use join token", err)
	}
	first, err := res.RowsAffected() // of two that use it at the same moment, one waits for the other, and then finds it used
	if err != nil {
		return "", sqlfault.Classify("use join token", err)
	}
	var expires int64
	err = tx.QueryRowContext(ctx, "SELECT spiffe_id, expires_at FROM join_token WHERE token_sha256 = $1", token[:]).Scan(&id, &expires)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", fault.New(fault.Unauthenticated, ReasonTokenUnknown, "There is no such join token. Make a new one.")
	case err != nil:
		return "", sqlfault.Classify("use join token", err)
	case expires <= now.UnixMicro():
		return "", fault.New(fault.Unauthenticated, ReasonTokenExpired, "The join token has expired. Make a new one.")
	}
	w, err := Find(ctx, tx, id)
	switch {
	case err != nil || w.Banned:
		return "", banned(err)
	case first == 1:
		return id, pin(ctx, tx, id, key, now)
	case subtle.ConstantTimeCompare(w.KeySHA256, key[:]) == 0:
		return "", fault.New(fault.Unauthenticated, ReasonTokenUsed,
			"The join token was used before, with another key. If that was not you, ban the workload; else make a new one.")
	}
	return id, nil
}

// pin makes the key the one of the workload, in place of any other. A ban that is made meanwhile wins.
func pin(ctx context.Context, tx *sql.Tx, id string, key [32]byte, now time.Time) error {
	res, err := tx.ExecContext(ctx, "INSERT INTO workload (spiffe_id, key_sha256, enrolled_at, banned_at, ban_actor, ban_reason) VALUES ($1, $2, $3, 0, '', '') "+
		"ON CONFLICT (spiffe_id) DO UPDATE SET key_sha256 = excluded.key_sha256, enrolled_at = excluded.enrolled_at WHERE workload.banned_at = 0",
		id, key[:], now.UnixMicro())
	if err != nil {
		return sqlfault.Classify("pin key", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return banned(sqlfault.Classify("pin key", err))
	}
	return nil
}

// Find returns what is known of a workload; of an unknown one, nothing.
func Find(ctx context.Context, q Querier, id string) (Workload, error) {
	w := Workload{SPIFFEID: id}
	err := q.QueryRowContext(ctx, "SELECT key_sha256, banned_at <> 0 FROM workload WHERE spiffe_id = $1", id).Scan(&w.KeySHA256, &w.Banned)
	if errors.Is(err, sql.ErrNoRows) {
		return w, nil
	}
	return w, sqlfault.Classify("read workload", err)
}

// SetBan bans a workload, known or not, and reports whether it was not banned before.
func SetBan(ctx context.Context, tx *sql.Tx, b Ban) (bool, error) {
	res, err := tx.ExecContext(ctx, "INSERT INTO workload (spiffe_id, key_sha256, enrolled_at, banned_at, ban_actor, ban_reason) VALUES ($1, $2, 0, $3, $4, $5) "+
		"ON CONFLICT (spiffe_id) DO UPDATE SET banned_at = excluded.banned_at, ban_actor = excluded.ban_actor, ban_reason = excluded.ban_reason "+
		"WHERE workload.banned_at = 0", b.SPIFFEID, []byte{}, b.Time.UnixMicro(), b.Actor, b.Reason)
	if err != nil {
		return false, sqlfault.Classify("ban workload", err)
	}
	n, err := res.RowsAffected()
	return n > 0, sqlfault.Classify("ban workload", err)
}

// Banned returns the SPIFFE ids of all banned workloads.
func Banned(ctx context.Context, q Querier) (ids []string, err error) {
	rows, err := q.QueryContext(ctx, "SELECT spiffe_id FROM workload WHERE banned_at > 0 ORDER BY spiffe_id")
	if err != nil {
		return nil, sqlfault.Classify("list bans", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, sqlfault.Classify("list bans", err)
		}
		ids = append(ids, id)
	}
	return ids, sqlfault.Classify("list bans", rows.Err())
}

func banned(err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.Denied, ReasonBanned, "The workload is banned. Give the machine another name, and make a join token for that.")
}
