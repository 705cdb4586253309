// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	checkEvery   = 5 * time.Second
	checkTimeout = 3 * time.Second
)

var errNotChecked = errors.New("not checked yet")

// health is what the readiness page shows. It is asked from memory; watch keeps it true.
type health struct{ store, vault verdict }

// verdict is the outcome of the latest check; the zero value is none.
type verdict struct{ latest atomic.Pointer[outcome] }

type outcome struct{ err error }

func (v *verdict) set(err error) { v.latest.Store(&outcome{err}) }

func (v *verdict) check() (string, error) {
	o := v.latest.Load()
	if o == nil {
		return "", errNotChecked
	}
	return "", o.err
}

func (h *health) checks() map[string]obs.Check {
	return map[string]obs.Check{"store": h.store.check, "vault": h.vault.check}
}

// watch checks the store and the keys at once and then every five seconds.
func (h *health) watch(ctx context.Context, s store.Store, v *vault.Vault) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		h.run(ctx, s, v)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (h *health) run(ctx context.Context, s store.Store, v *vault.Vault) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	h.store.set(s.Check(ctx))
	h.vault.set(v.Check(ctx))
}
