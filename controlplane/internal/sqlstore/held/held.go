// SPDX-License-Identifier: Apache-2.0

package held

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

// Table is the tables of approvals. It implements approval.Store and is safe for concurrent use.
type Table struct {
	reads *sql.DB
	inTx  func(context.Context, func(*sql.Tx) error) error
	keys  envelope.KMS // nil: there is none
}

var _ approval.Store = (*Table)(nil)

// New returns the tables of a database, of which inTx runs writing transactions, and whose arguments keys seal; nil for none.
func New(reads *sql.DB, inTx func(context.Context, func(*sql.Tx) error) error, keys envelope.KMS) *Table {
	return &Table{reads: reads, inTx: inTx, keys: keys}
}

// unsent is an event that nobody is told.
const unsent = 0

// Add implements approval.Store.
func (t *Table) Add(ctx context.Context, a *approval.Approval, e approval.Event, send bool) (bool, error) {
	call, err := json.Marshal(a.Call)
	if err != nil {
		return false, fmt.Errorf("encode call: %w", err)
	}
	keyID, arguments, err := t.seal(ctx, a)
	if err != nil {
		return false, err
	}
	return t.change(ctx, e, send, "INSERT INTO approval (id, state, live_key, call, arguments, arguments_sha256, created_at, expires_at, decided_by, "+
		"decided_at, reason, run_node, run_at, ended_at, key_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING",
		a.ID, string(a.State), a.Key, call, arguments, a.SHA256[:], micros(a.Create), micros(a.Expire), a.DecidedBy,
		micros(a.DecideTime), a.Reason, a.RunNode, micros(a.RunTime), micros(a.Ends), keyID)
}

// change runs the statement of a transition, and stores its event if it changed a row.
func (t *Table) change(ctx context.Context, e approval.Event, send bool, query string, args ...any) (done bool, err error) {
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		done, err = changed(tx.ExecContext(ctx, query, args...))
		if err != nil || !done {
			return err
		}
		return insertEvent(ctx, tx, e, send)
	})
	return done && err == nil, sqlfault.Classify("change approval", err)
}

func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func insertEvent(ctx context.Context, tx *sql.Tx, e approval.Event, send bool) error {
	next := int64(unsent)
	if send {
		next = micros(e.Time)
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO approval_event (id, approval, kind, at, actor, how, send_at, attempts) VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
		e.ID, e.Approval, e.Kind, micros(e.Time), e.Actor, e.How, next)
	return err
}

// Decide implements approval.Store.
func (t *Table) Decide(ctx context.Context, d approval.Decision, until time.Time, e approval.Event, send bool, answer *approval.Answer) (done bool, err error) {
	query, ended := "UPDATE approval SET state = 'APPROVED', decided_by = $2, decided_at = $3, reason = $4, expires_at = $5, ended_at = $6 "+
		"WHERE id = $1 AND state = 'PENDING' AND expires_at > $3", int64(0)
	if !d.Approve {
		query, ended = "UPDATE approval SET state = 'DENIED', decided_by = $2, decided_at = $3, reason = $4, expires_at = $5, ended_at = $6, "+
			"arguments = $7 WHERE id = $1 AND state = 'PENDING' AND expires_at > $3", micros(e.Time)
	}
	args := []any{d.ID, d.By, micros(e.Time), d.Reason, micros(until), ended}
	if !d.Approve {
		args = append(args, []byte{})
	}
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		if done, err = changed(tx.ExecContext(ctx, query, args...)); err != nil || !done {
			return err
		}
		if answer != nil {
			if err := insertAnswer(ctx, tx, answer, e.Time); err != nil {
				return err
			}
		}
		return insertEvent(ctx, tx, e, send)
	})
	return done && err == nil, sqlfault.Classify("decide approval", err)
}

// Run implements approval.Store.
func (t *Table) Run(ctx context.Context, id string, e approval.Event) (bool, error) {
	return t.change(ctx, e, false, "UPDATE approval SET state = 'RUN', live_key = '', arguments = $2, run_node = $3, run_at = $4, ended_at = $4 "+
		"WHERE id = $1 AND state = 'APPROVED' AND expires_at > $4", id, []byte{}, e.Actor, micros(e.Time))
}

// Expire implements approval.Store.
func (t *Table) Expire(ctx context.Context, id string, e approval.Event, send bool) (bool, error) {
	return t.change(ctx, e, send, "UPDATE approval SET state = 'EXPIRED', arguments = $2, ended_at = $3 "+
		"WHERE id = $1 AND state IN ('PENDING', 'APPROVED') AND expires_at <= $3", id, []byte{}, micros(e.Time))
}

// Release implements approval.Store.
func (t *Table) Release(ctx context.Context, id string) (done bool, err error) {
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		done, err = changed(tx.ExecContext(ctx, "UPDATE approval SET live_key = '' WHERE id = $1 AND live_key <> '' AND state IN ('DENIED', 'EXPIRED')", id))
		return err
	})
	return done && err == nil, sqlfault.Classify("release approval", err)
}

const selectApproval = "SELECT id, state, live_key, call, arguments, arguments_sha256, created_at, expires_at, decided_by, decided_at, reason, " +
	"run_node, run_at, ended_at, key_id FROM approval "

func (t *Table) scanApproval(ctx context.Context, scan func(...any) error) (*approval.Approval, error) {
	a := &approval.Approval{}
	var state, keyID string
	var call, sum []byte
	var created, expires, decided, ran, ended int64
	err := scan(&a.ID, &state, &a.Key, &call, &a.Arguments, &sum, &created, &expires, &a.DecidedBy, &decided, &a.Reason, &a.RunNode, &ran, &ended, &keyID)
	if err != nil {
		return nil, err
	}
	if len(sum) != len(a.SHA256) {
		return nil, fmt.Errorf("the approval %s has a hash of %d bytes", a.ID, len(sum))
	}
	if err := json.Unmarshal(call, &a.Call); err != nil {
		return nil, fmt.Errorf("decode call of the approval %s: %w", a.ID, err)
	}
	a.State, a.SHA256 = approval.State(state), [32]byte(sum)
	a.Create, a.Expire, a.DecideTime, a.RunTime, a.Ends = instant(created), instant(expires), instant(decided), instant(ran), instant(ended)
	t.open(ctx, a, keyID)
	return a, nil
}

// Get implements approval.Store.
func (t *Table) Get(ctx context.Context, id string) (*approval.Approval, error) {
	return t.one(ctx, selectApproval+"WHERE id = $1", id)
}

// Live implements approval.Store.
func (t *Table) Live(ctx context.Context, key string) (*approval.Approval, error) {
	return t.one(ctx, selectApproval+"WHERE live_key = $1 AND live_key <> ''", key)
}

func (t *Table) one(ctx context.Context, query string, arg any) (*approval.Approval, error) {
	a, err := t.scanApproval(ctx, t.reads.QueryRowContext(ctx, query, arg).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return a, sqlfault.Classify("read approval", err)
}

// Due implements approval.Store.
func (t *Table) Due(ctx context.Context, now time.Time, limit int) (ids []string, err error) {
	err = t.each(ctx, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		ids = append(ids, id)
		return err
	}, "SELECT id FROM approval WHERE ended_at = 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2", micros(now), limit)
	return ids, err
}

// atOnce is how many approvals one statement names.
const atOnce = 500

// States implements approval.Store.
func (t *Table) States(ctx context.Context, ids []string) (map[string]approval.State, error) {
	out := make(map[string]approval.State, len(ids))
	for len(ids) > 0 {
		some := ids[:min(len(ids), atOnce)]
		ids = ids[len(some):]
		marks, args := make([]string, len(some)), make([]any, len(some))
		for i, id := range some {
			marks[i], args[i] = "$"+strconv.Itoa(i+1), id
		}
		err := t.each(ctx, func(scan func(...any) error) error {
			var id, state string
			err := scan(&id, &state)
			out[id] = approval.State(state)
			return err
		}, "SELECT id, state FROM approval WHERE id IN ("+strings.Join(marks, ", ")+")", args...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// List implements approval.Store.
func (t *Table) List(ctx context.Context, q approval.Query) (list []*approval.Approval, err error) {
	where, args := []string{"1 = 1"}, []any{q.Limit}
	add := func(cond string, more ...any) {
		for _, a := range more {
			args = append(args, a)
			cond = strings.Replace(cond, "?", "$"+strconv.Itoa(len(args)), 1)
		}
		where = append(where, cond)
	}
	if q.State != "" {
		add("state = ?", string(q.State))
	}
	if q.Before != nil {
		add("(created_at, id) < (?, ?)", micros(q.Before.Create), q.Before.ID)
	}
	err = t.each(ctx, func(scan func(...any) error) error {
		a, err := t.scanApproval(ctx, scan)
		list = append(list, a)
		return err
	}, selectApproval+"WHERE "+strings.Join(where, " AND ")+" ORDER BY created_at DESC, id DESC LIMIT $1", args...)
	return list, err
}

// Events implements approval.Store.
func (t *Table) Events(ctx context.Context, id string) (list []approval.Event, err error) {
	err = t.each(ctx, func(scan func(...any) error) error {
		e, err := scanEvent(scan)
		list = append(list, e)
		return err
	}, selectEvent+"WHERE approval = $1 ORDER BY at, id", id)
	return list, err
}

const selectEvent = "SELECT id, approval, kind, at, actor, how, attempts FROM approval_event "

func scanEvent(scan func(...any) error) (e approval.Event, err error) {
	var at int64
	err = scan(&e.ID, &e.Approval, &e.Kind, &at, &e.Actor, &e.How, &e.Attempts)
	e.Time = instant(at)
	return e, err
}

func (t *Table) each(ctx context.Context, row func(scan func(...any) error) error, query string, args ...any) (err error) {
	rows, err := t.reads.QueryContext(ctx, query, args...)
	if err != nil {
		return sqlfault.Classify("list approvals", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return sqlfault.Classify("list approvals", err)
		}
	}
	return sqlfault.Classify("list approvals", rows.Err())
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
