// SPDX-License-Identifier: Apache-2.0

package audited

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/audit"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

const (
	rowsAtOnce = 100 // of one INSERT
	columns    = 10
)

// ErrKnown is an upload that is stored already.
var ErrKnown = errors.New("all events of the upload are stored")

// Upload adds what of an upload is not stored yet. The error is [ErrKnown] if nothing is new.
func Upload(ctx context.Context, tx *sql.Tx, u audit.Upload, now time.Time) (stored uint64, err error) {
	first, err := take(ctx, tx, len(u.Events)) // and with it the turn: whoever uploads the same waits here
	if err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, "SELECT stored FROM audit_queue WHERE node = $1 AND queue = $2", u.Node, u.Queue).Scan(&stored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, sqlfault.Classify("read what is stored of an audit queue", err)
	}
	last := u.First + uint64(len(u.Events)) - 1
	if last <= stored {
		return stored, ErrKnown
	}
	fresh := u.Events
	if stored >= u.First {
		fresh = fresh[stored-u.First+1:]
	}
	if err := insert(ctx, tx, first, fresh); err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO audit_queue (node, queue, stored, at) VALUES ($1, $2, $3, $4) "+
		"ON CONFLICT (node, queue) DO UPDATE SET stored = excluded.stored, at = excluded.at", u.Node, u.Queue, int64(last), now.UnixMicro())
	return last, sqlfault.Classify("note what is stored of an audit queue", err)
}

// Add adds events.
func Add(ctx context.Context, tx *sql.Tx, events []audit.Event) error {
	first, err := take(ctx, tx, len(events))
	if err != nil {
		return err
	}
	return insert(ctx, tx, first, events)
}

// take gives out numbers and returns the first. Its row is locked until the transaction ends.
func take(ctx context.Context, tx *sql.Tx, n int) (first int64, err error) {
	err = tx.QueryRowContext(ctx, "UPDATE audit_head SET seq = seq + $1 WHERE id = 1 RETURNING seq", int64(n)).Scan(&first)
	return first - int64(n) + 1, sqlfault.Classify("number audit events", err)
}

func insert(ctx context.Context, tx *sql.Tx, first int64, events []audit.Event) error {
	for some := range slices.Chunk(events, rowsAtOnce) {
		query := []byte("INSERT INTO audit_event (seq, at, source, principal, principal_key, gateway, tool, outcome, policy, body) VALUES ")
		args := make([]any, 0, len(some)*columns)
		for i := range some {
			e := &some[i]
			body, err := json.Marshal(e)
			if err != nil {
				return fmt.Errorf("encode audit event: %w", err)
			}
			if i > 0 {
				query = append(query, ", "...)
			}
			for n := range columns {
				query = strconv.AppendInt(append(query, separator(n)...), int64(len(args)+n+1), 10)
			}
			query = append(query, ')')
			call := audit.Call{}
			if e.Call != nil {
				call = *e.Call
			}
			args = append(args, first, e.Time.UnixMicro(), string(e.Source), e.Principal.String(), e.Principal.Key(),
				call.Gateway, call.Tool, e.Outcome, call.Policy, body)
			first++
		}
		if _, err := tx.ExecContext(ctx, string(query), args...); err != nil {
			return sqlfault.Classify("store audit events", err)
		}
	}
	return nil
}

// Querier is a *sql.DB or a *sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// List lists events.
func List(ctx context.Context, q Querier, f audit.Filter) (p audit.Page, err error) {
	if err := q.QueryRowContext(ctx, "SELECT seq FROM audit_head WHERE id = 1").Scan(&p.LastID); err != nil {
		return p, sqlfault.Classify("read the newest audit event", err)
	}
	where, args := conditions(f)
	order := " ORDER BY at DESC, seq DESC"
	if f.After != nil {
		order = " ORDER BY seq"
	}
	rows, err := q.QueryContext(ctx, "SELECT seq, body FROM audit_event"+where+order+" LIMIT "+strconv.Itoa(f.Limit), args...)
	if err != nil {
		return p, sqlfault.Classify("list audit events", err)
	}
	defer func() { _ = rows.Close() }() // read to the end or given up
	for rows.Next() {
		var seq uint64
		var body []byte
		if err := rows.Scan(&seq, &body); err != nil {
			return p, sqlfault.Classify("list audit events", err)
		}
		var e audit.Event
		if err := json.Unmarshal(body, &e); err != nil {
			return p, fmt.Errorf("decode audit event %d: %w", seq, err)
		}
		e.ID = seq
		p.Events = append(p.Events, e)
	}
	return p, sqlfault.Classify("list audit events", rows.Err())
}

// conditions are the WHERE clause of a filter.
func conditions(f audit.Filter) (where string, args []any) {
	var all []string
	and := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		all = append(all, condition)
	}
	for _, c := range []struct{ column, value string }{
		{"source", string(f.Source)},
		{"gateway", f.Gateway},
		{"policy", f.Policy},
		{"principal", f.Principal},
		{"principal_key", f.PrincipalKey},
		{"outcome", f.Outcome},
	} {
		if c.value != "" {
			and(c.column+" = ?", c.value)
		}
	}
	if server, all := strings.CutSuffix(f.Tool, "/*"); all {
		and("tool >= ? AND tool < ?", server+"/", server+"0") // "0" comes after "/"
	} else if f.Tool != "" {
		and("tool = ?", f.Tool)
	}
	if !f.Start.IsZero() {
		and("at >= ?", f.Start.UnixMicro())
	}
	if !f.End.IsZero() {
		and("at < ?", f.End.UnixMicro())
	}
	if f.BeforeID != 0 {
		and("(at < ? OR at = ? AND seq < ?)", f.BeforeTime, f.BeforeTime, f.BeforeID)
	}
	if f.After != nil {
		and("seq > ?", int64(*f.After))
	}
	if len(all) == 0 {
		return "", nil
	}
	return " WHERE " + strings.Join(all, " AND "), args
}

// separator comes before the nth placeholder of a row.
func separator(n int) string {
	if n == 0 {
		return "($"
	}
	return ", $"
}
