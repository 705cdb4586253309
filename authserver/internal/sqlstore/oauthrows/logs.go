// SPDX-License-Identifier: Apache-2.0

package oauthrows

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
)

func scanRevocation(s scanner) (store.Revocation, error) {
	var v store.Revocation
	err := s.Scan(&v.ID, (*int32)(&v.Kind), digest{&v.Key}, moment{&v.ExpireTime}, moment{&v.IssuedBefore})
	return v, err
}

func scanRecord(s scanner) (store.AuditRecord, error) {
	var (
		a     store.AuditRecord
		event string
	)
	if err := s.Scan(&a.Seq, &event, digest{&a.Previous}, digest{&a.Hash}); err != nil {
		return store.AuditRecord{}, err
	}
	a.JSON = []byte(event)
	if err := json.Unmarshal(a.JSON, &a.Event); err != nil {
		return store.AuditRecord{}, fmt.Errorf("decode audit record %d: %w", a.Seq, err)
	}
	return a, nil
}

// Outbox implements [store.OAuthReader].
func (r Reader) Outbox(ctx context.Context, limit int) ([]store.Revocation, error) {
	return rows(ctx, r, "list the outbox", scanRevocation,
		`SELECT id, kind, hash, expire_time, issued_before FROM oauth_outbox ORDER BY id LIMIT $1`, limit)
}

// Revoke implements [store.OAuthTx].
func (t *Tx) Revoke(_ context.Context, v store.Revocation) error {
	t.revocations = append(t.revocations, v)
	return nil
}

// DeleteOutbox implements [store.OAuthTx].
func (t *Tx) DeleteOutbox(ctx context.Context, ids []int64) error {
	for _, id := range ids {
		if err := t.change(ctx, "delete from the outbox", `DELETE FROM oauth_outbox WHERE id = $1`, id); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tx) appendOutbox(ctx context.Context, h head) error {
	id := h.outbox - int64(len(t.revocations))
	for _, v := range t.revocations {
		id++
		if err := t.change(ctx, "store a revocation", `INSERT INTO oauth_outbox (id, kind, hash, expire_time, issued_before) VALUES ($1, $2, $3, $4, $5)`,
			id, int32(v.Kind), v.Key[:], micros(v.ExpireTime), micros(v.IssuedBefore)); err != nil {
			return err
		}
	}
	return nil
}

// Audit implements [store.OAuthReader].
func (r Reader) Audit(ctx context.Context, after int64, limit int) ([]store.AuditRecord, error) {
	return rows(ctx, r, "read the audit chain", scanRecord,
		`SELECT seq, event, previous, hash FROM oauth_audit WHERE seq > $1 ORDER BY seq LIMIT $2`, after, limit)
}

// Record implements [store.OAuthTx].
func (t *Tx) Record(_ context.Context, e store.Event) error {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Microsecond)
	t.events = append(t.events, e)
	return nil
}

func (t *Tx) appendAudit(ctx context.Context, h head) error {
	if len(t.events) == 0 {
		return nil
	}
	seq, last := h.seq-int64(len(t.events)), h.hash
	for _, e := range t.events {
		event, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode an audit event: %w", err)
		}
		seq++
		hash := store.AuditHash(last, event)
		if err := t.change(ctx, "store an audit event", `INSERT INTO oauth_audit (seq, event, previous, hash) VALUES ($1, $2, $3, $4)`,
			seq, string(event), optional(last), hash[:]); err != nil {
			return err
		}
		last = hash
	}
	return t.change(ctx, "move the end of the audit chain", `UPDATE oauth_head SET audit_hash = $1 WHERE one = 1`, last[:])
}
