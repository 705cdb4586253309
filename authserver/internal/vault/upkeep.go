// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// upkeepEvery is the time between two rounds of Run.
	upkeepEvery = 15 * time.Minute
	// resealPage is how many secrets are read at a time for re-encryption.
	resealPage = 100
)

// Reencrypt seals anew, under the primary key, every secret that another key sealed, while the vault is in use. It
// returns how many it sealed. A secret that does not open is logged, left as it is, and part of the error, as the first
// of those; the others are done.
func (v *Vault) Reencrypt(ctx context.Context) (int, error) {
	primary, err := v.kms.Primary(ctx)
	if err != nil {
		return 0, fmt.Errorf("find the primary key: %w", err)
	}
	var (
		done  int
		first error
		last  store.Secret
	)
	for {
		page, err := v.secrets.SecretsNotUnder(ctx, primary, last.Connection, last.Version, resealPage)
		if err != nil {
			return done, errors.Join(err, first)
		}
		for _, n := range page {
			last = n
			ok, err := v.reseal(ctx, n)
			if err != nil && fault.From(err).Reason != ReasonUnreadable {
				return done, errors.Join(err, first)
			}
			if err != nil && first == nil {
				first = err
			}
			if ok {
				done++
			}
		}
		if len(page) < resealPage {
			return done, first
		}
	}
}

// reseal does not touch n if another process did meanwhile.
func (v *Vault) reseal(ctx context.Context, n store.Secret) (bool, error) {
	plain, err := v.unseal(ctx, n)
	if err != nil {
		return false, err
	}
	defer clear(plain)
	old := n.KeyID
	if n.KeyID, n.Sealed, err = seal(ctx, v.kms, cellOf(n), plain); err != nil {
		return false, err
	}
	return v.secrets.ResealSecret(ctx, n, old)
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
