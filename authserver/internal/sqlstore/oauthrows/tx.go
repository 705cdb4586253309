// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

// Tx implements [store.OAuthTx] on a transaction that its maker begins and ends. Only one goroutine uses it.
type Tx struct {
	Reader
	given       bool
	revocations []store.Revocation
	events      []store.Event
}

// NewTx returns the rows of a transaction. forUpdate is what ends a SELECT that locks its row, empty where a transaction is
// alone.
func NewTx(tx Conn, forUpdate string) *Tx {
	t := new(Tx)
	t.Reader = Reader{conn: func(context.Context) Conn { return tx }, forUpdate: forUpdate, conflict: &t.given}
	return t
}

// Conflicted reports whether the database gave the transaction up for the sake of another one.
func (t *Tx) Conflicted() bool { return t.given }

// Finish stores what goes to the ends of the logs: it comes last before the commit, since nobody else can append from then
// on.
func (t *Tx) Finish(ctx context.Context) error {
	if len(t.revocations) == 0 && len(t.events) == 0 {
		return nil
	}
	h, err := t.advance(ctx)
	if err != nil {
		return err
	}
	if err := t.appendOutbox(ctx, h); err != nil {
		return err
	}
	return t.appendAudit(ctx, h)
}

// head is the end of the logs after a transaction, and the hash of the record before it.
type head struct {
	seq, outbox int64
	hash        store.Hash
}

func scanHead(s scanner) (head, error) {
	var h head
	err := s.Scan(&h.seq, digest{&h.hash}, &h.outbox)
	return h, err
}

// advance takes the numbers of what this transaction appends. The row is locked from here to the commit, so numbers have no
// gaps and rise in the order of commits.
func (t *Tx) advance(ctx context.Context) (head, error) {
	return row(ctx, t.Reader, "take the ends of the logs", scanHead,
		`UPDATE oauth_head SET audit_seq = audit_seq + $1, outbox_id = outbox_id + $2 WHERE one = 1 RETURNING audit_seq, audit_hash, outbox_id`,
		len(t.events), len(t.revocations))
}
