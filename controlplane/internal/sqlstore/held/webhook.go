// SPDX-License-Identifier: Apache-2.0

package held

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/sqlfault"
)

// Unsent returns events that are to be sent by now, the oldest first, up to a limit, with when each is to be sent.
func (t *Table) Unsent(ctx context.Context, now time.Time, limit int) (list []approval.Unsent, err error) {
	err = t.each(ctx, func(scan func(...any) error) error {
		var u approval.Unsent
		var at, due int64
		err := scan(&u.ID, &u.Approval, &u.Kind, &at, &u.Actor, &u.How, &u.Attempts, &due)
		u.Time, u.Due = instant(at), instant(due)
		list = append(list, u)
		return err
	}, "SELECT id, approval, kind, at, actor, how, attempts, send_at FROM approval_event WHERE send_at <> 0 AND send_at <= $1 ORDER BY send_at, id LIMIT $2",
		micros(now), limit)
	return list, err
}

// Resend sets when an event is sent next, the zero time for never, if nobody else did since it was read; false if somebody did.
func (t *Table) Resend(ctx context.Context, u approval.Unsent, next time.Time, attempts int) (done bool, err error) {
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		done, err = changed(tx.ExecContext(ctx, "UPDATE approval_event SET send_at = $3, attempts = $4 WHERE id = $1 AND send_at = $2",
			u.ID, micros(u.Due), micros(next), attempts))
		return err
	})
	return done && err == nil, sqlfault.Classify("send event", err)
}

// Answered returns how a message was answered; nil if it was not.
func (t *Table) Answered(ctx context.Context, id string) (*approval.Answer, error) {
	a := &approval.Answer{ID: id}
	var body []byte
	err := t.reads.QueryRowContext(ctx, "SELECT body_sha256, status, answer FROM approval_answer WHERE id = $1", id).Scan(&body, &a.Status, &a.Text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	copy(a.Body[:], body)
	return a, sqlfault.Classify("read answer", err)
}

// Answer stores how a message was answered; false if it has been answered before.
func (t *Table) Answer(ctx context.Context, a *approval.Answer, now time.Time) (done bool, err error) {
	err = t.inTx(ctx, func(tx *sql.Tx) error {
		done, err = changed(tx.ExecContext(ctx, insertAnswerQuery+" ON CONFLICT DO NOTHING", a.ID, a.Body[:], a.Status, nonNil(a.Text), micros(now)))
		return err
	})
	return done && err == nil, sqlfault.Classify("store answer", err)
}

const insertAnswerQuery = "INSERT INTO approval_answer (id, body_sha256, status, answer, at) VALUES ($1, $2, $3, $4, $5)"

// insertAnswer fails if the message was answered before: then its decision is not made a second time.
func insertAnswer(ctx context.Context, tx *sql.Tx, a *approval.Answer, now time.Time) error {
	_, err := tx.ExecContext(ctx, insertAnswerQuery, a.ID, a.Body[:], a.Status, nonNil(a.Text), micros(now))
	return err
}
