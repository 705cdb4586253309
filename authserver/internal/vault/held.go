// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// resealTries is how often a replacement is tried that a re-encryption came before; the next is 15 minutes away.
const resealTries = 3

// Held is a secret with the form that it was read in, for [Vault.Replace].
type Held struct {
	Secret     Secret
	Unreadable bool // it was changed, moved, or its key is gone: Secret is empty. Only [Vault.Due] returns such
	row        store.Secret
}

// Connection returns what the secret belongs to.
func (h Held) Connection() string { return h.row.Connection }

// Version returns the reference of the secret.
func (h Held) Version() string { return h.row.Version }

// Hold is [Vault.Resolve] for whoever may have to replace the secret.
func (v *Vault) Hold(ctx context.Context, connection, version string) (Held, error) {
	n, err := v.read(ctx, connection, version)
	if err != nil {
		return Held{}, err
	}
	s, err := v.open(ctx, n)
	if err != nil {
		return Held{}, err
	}
	v.touch(ctx, n)
	return Held{Secret: s, row: n}, nil
}

// Created returns when the secret was put.
func (h Held) Created() time.Time { return h.row.CreateTime }

// Versions opens every version of a connection's credential, for whoever is about to delete them. Within a transaction of the
// store nobody replaces one before its end. What does not open is left out.
func (v *Vault) Versions(ctx context.Context, connection string) ([]Held, error) {
	rows, err := v.secrets.SecretsOf(ctx, connection)
	if err != nil {
		return nil, err
	}
	all, err := v.openAll(ctx, rows)
	return slices.DeleteFunc(all, func(h Held) bool { return h.Unreadable }), err
}

// Due opens up to limit secrets that nobody has leased, of connections whose names begin with prefix, the oldest first.
func (v *Vault) Due(ctx context.Context, prefix string, limit int) ([]Held, error) {
	rows, err := v.secrets.DueSecrets(ctx, prefix, v.now(), limit)
	if err != nil {
		return nil, err
	}
	return v.openAll(ctx, rows)
}

func (v *Vault) openAll(ctx context.Context, rows []store.Secret) ([]Held, error) {
	list := make([]Held, 0, len(rows))
	for _, n := range rows {
		s, err := v.open(ctx, n)
		if err != nil && fault.From(err).Reason != ReasonUnreadable {
			return nil, err
		}
		list = append(list, Held{Secret: s, Unreadable: err != nil, row: n})
	}
	return list, nil
}

// Lease lets one process renew a secret until a time, over all that share the database, and tells whether it is this one.
func (v *Vault) Lease(ctx context.Context, h Held, until time.Time) (bool, error) {
	return v.secrets.LeaseSecret(ctx, h.row.Connection, h.row.Version, v.now(), until)
}

// EndLease lets others renew a secret.
func (v *Vault) EndLease(ctx context.Context, h Held) error {
	return v.secrets.EndLease(ctx, h.row.Connection, h.row.Version)
}

// Replace seals s in place of a held secret, under the same version, and tells whether the held one was still there. A
// re-encryption meanwhile does not count: it changed nothing that matters.
func (v *Vault) Replace(ctx context.Context, h Held, s Secret) (bool, error) {
	if err := s.Check(); err != nil {
		return false, err
	}
	plain, err := s.encode()
	if err != nil {
		return false, err
	}
	defer clear(plain)
	was, err := h.Secret.encode()
	if err != nil {
		return false, err
	}
	defer clear(was)
	for range resealTries {
		n := h.row
		if n.KeyID, n.Sealed, err = envelope.Seal(ctx, v.kms, cellOf(n), plain); err != nil {
			return false, err
		}
		if done, err := v.secrets.ReplaceSecret(ctx, n, h.row.Sealed); err != nil || done {
			return done, err
		}
		if h.row, err = v.read(ctx, n.Connection, n.Version); err != nil {
			return false, err
		}
		now, err := v.unseal(ctx, h.row)
		if err != nil {
			return false, err
		}
		same := bytes.Equal(now, was)
		clear(now)
		if !same {
			return false, nil
		}
	}
	return false, fmt.Errorf("replace a secret: it was sealed anew %d times meanwhile", resealTries)
}

// PutOnce seals a secret as a version that the caller names, or tells that there is one already.
func (v *Vault) PutOnce(ctx context.Context, connection, version string, s Secret) (bool, error) {
	if err := s.Check(); err != nil {
		return false, err
	}
	err := v.put(ctx, connection, version, s)
	if isTaken(err) {
		return false, nil
	}
	return err == nil, err
}

// Connections returns up to limit of what there are secrets for whose name begins with a text, in order, after the given one; ""
// starts.
func (v *Vault) Connections(ctx context.Context, prefix, after string, limit int) ([]string, error) {
	return v.secrets.SecretConnections(ctx, prefix, after, limit)
}
