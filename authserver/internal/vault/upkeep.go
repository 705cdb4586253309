// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// upkeepEvery is the time between two rounds of Run.
	upkeepEvery = 15 * time.Minute
	// resealPage is how many secrets are read at a time for re-encryption.
	resealPage = 100

	attrTable = "table"
)

// Reencrypt seals anew, under the primary key, every secret and every private signing key that another key sealed, while
// the vault is in use: after it, the other keys are needed no more. It returns how many it sealed. What does not open is
// logged, left as it is, and part of the error, as the first of those; the others are done.
func (v *Vault) Reencrypt(ctx context.Context) (int, error) {
	primary, err := v.kms.Primary(ctx)
	if err != nil {
		return 0, fmt.Errorf("find the primary key: %w", err)
	}
	t := &tally{}
	if err := v.reencryptRows(ctx, primary, t); err != nil {
		return t.done, errors.Join(err, t.first)
	}
	if err := v.reencryptSecrets(ctx, primary, t); err != nil {
		return t.done, errors.Join(err, t.first)
	}
	return t.done, t.first
}

// tally is what a re-encryption has come to.
type tally struct {
	done  int
	first error // of what does not open
}

// add counts one value. The error is one that ends the re-encryption.
func (t *tally) add(sealed bool, err error) error {
	if err != nil && fault.From(err).Reason != ReasonUnreadable {
		return err
	}
	if t.first == nil {
		t.first = err
	}
	if sealed {
		t.done++
	}
	return nil
}

func (v *Vault) reencryptSecrets(ctx context.Context, primary string, t *tally) error {
	var last store.Secret
	for {
		page, err := v.secrets.SecretsNotUnder(ctx, primary, last.Connection, last.Version, resealPage)
		if err != nil {
			return err
		}
		for _, n := range page {
			last = n
			if err := t.add(v.reseal(ctx, n)); err != nil {
				return err
			}
		}
		if len(page) < resealPage {
			return nil
		}
	}
}

func (v *Vault) reencryptRows(ctx context.Context, primary string, t *tally) error {
	rows, err := v.secrets.SealedRows(ctx, primary)
	if err != nil {
		return err
	}
	for _, n := range rows {
		if err := t.add(v.resealRow(ctx, n)); err != nil {
			return err
		}
	}
	return nil
}

// resealRow does not touch n if another process did meanwhile.
func (v *Vault) resealRow(ctx context.Context, n store.SealedRow) (bool, error) {
	place := envelope.Cell{Table: n.Table, Row: []string{n.Row}, Column: n.Column}
	plain, err := envelope.Open(ctx, v.kms, place, n.KeyID, n.Sealed)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return false, fmt.Errorf("open %s: %w", n.Table, errors.Join(ctx.Err(), err))
	case fault.KindOf(err) == fault.Unavailable:
		return false, err
	default: // SE-2, as unseal
		v.log.ErrorContext(ctx, "sealed row does not open", attrTable, n.Table, obs.AttrVersion, n.Row, obs.AttrError, err.Error())
		return false, fault.New(fault.Precondition, ReasonUnreadable, "A sealed value of the database cannot be opened.").Because(err)
	}
	defer clear(plain)
	old := n.KeyID
	if n.KeyID, n.Sealed, err = envelope.Seal(ctx, v.kms, place, plain); err != nil {
		return false, err
	}
	return v.secrets.ResealRow(ctx, n, old)
}

// reseal does not touch n if another process did meanwhile.
func (v *Vault) reseal(ctx context.Context, n store.Secret) (bool, error) {
	plain, err := v.unseal(ctx, n)
	if err != nil {
		return false, err
	}
	defer clear(plain)
	old := n.Sealed
	if n.KeyID, n.Sealed, err = envelope.Seal(ctx, v.kms, cellOf(n), plain); err != nil {
		return false, err
	}
	return v.secrets.ReplaceSecret(ctx, n, old)
}

// Run keeps the vault in order until ctx ends: at once and then every 15 minutes it collects garbage and seals anew what
// is under an old key. It returns nil.
func (v *Vault) Run(ctx context.Context) error {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		v.upkeep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (v *Vault) upkeep(ctx context.Context) {
	n, err := v.Collect(ctx)
	if n > 0 {
		v.log.InfoContext(ctx, "unreferenced secrets collected", obs.AttrCount, n)
	}
	if err != nil && ctx.Err() == nil {
		v.log.WarnContext(ctx, "collecting unreferenced secrets failed", obs.AttrError, err.Error())
	}
	n, err = v.Reencrypt(ctx)
	if n > 0 {
		v.log.InfoContext(ctx, "secrets sealed under the primary key", obs.AttrCount, n)
	}
	if err != nil && ctx.Err() == nil {
		v.log.WarnContext(ctx, "sealing under the primary key failed", obs.AttrError, err.Error())
	}
}
