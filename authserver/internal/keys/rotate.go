// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	// turns is the issuer under which the store remembers whose turn it was to make a key: of several processes that find
	// one missing, one makes it.
	turns      = "penstock:signing-keys"
	turnMemory = time.Hour

	// mostSteps bounds one round of upkeep.
	mostSteps = 20
)

// errLost tells that another process made the change first.
var errLost = errors.New("another process changed the signing keys")

// upkeep makes the changes that are due, one transaction each.
func (k *Keys) upkeep(ctx context.Context) error {
	for range mostSteps {
		list, err := k.c.Store.SigningKeys(ctx)
		if err != nil {
			return fmt.Errorf("read the signing keys: %w", err)
		}
		step := k.due(list)
		if step == nil {
			return nil
		}
		if err := step(ctx); err != nil && !errors.Is(err, errLost) {
			return fmt.Errorf("keep the signing keys in order: %w", err)
		}
	}
	return nil
}

// due returns the next change that is due, nil if there is none.
func (k *Keys) due(list []store.SigningKey) func(context.Context) error {
	byAge(list)
	now := k.now()
	active, next := first(list, store.KeyActive), first(list, store.KeyNext)
	switch {
	case active == nil && next != nil: // after an emergency
		return func(ctx context.Context) error { return k.promote(ctx, *next, nil, "no_active_key") }
	case active == nil:
		return func(ctx context.Context) error { return k.add(ctx, list, store.KeyActive) }
	case next == nil:
		// There is always a next one: it is published long before it is needed, in an emergency too.
		return func(ctx context.Context) error { return k.add(ctx, list, store.KeyNext) }
	case now.Sub(active.StateTime) >= k.c.Rotate && now.Sub(next.CreateTime) >= MinLead:
		return func(ctx context.Context) error { return k.promote(ctx, *next, active, "age") }
	}
	for _, one := range list {
		over := one.State == store.KeyRetired || one.State == store.KeyRevoked
		// Another process may have signed with it until it read the change.
		if over && now.Sub(one.StateTime) >= k.c.Retain+2*poll {
			return func(ctx context.Context) error {
				return k.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error { return tx.DeleteSigningKey(ctx, one.ID) })
			}
		}
	}
	return nil
}

// add makes a key, unless another process does.
func (k *Keys) add(ctx context.Context, list []store.SigningKey, state store.SigningKeyState) error {
	n, err := k.generate(ctx)
	if err != nil {
		return err
	}
	n.State, n.CreateTime = state, k.now()
	n.StateTime = n.CreateTime
	// A turn is named after what was found: it comes once, because the key that is made changes that.
	turn := "after"
	for _, one := range list {
		turn += " " + one.ID
	}
	return k.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		mine, err := tx.UseJTI(ctx, turns, turn, n.CreateTime.Add(turnMemory))
		if err != nil {
			return err
		}
		if !mine {
			return errLost
		}
		if err := tx.CreateSigningKey(ctx, n); err != nil {
			return err
		}
		return tx.Record(ctx, event(ctx, "key.created", n.ID, string(state)))
	})
}

// promote lets the next key sign, and the active one, if there is one, no more.
func (k *Keys) promote(ctx context.Context, next store.SigningKey, active *store.SigningKey, why string) error {
	now := k.now()
	return k.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		if active != nil {
			if err := move(ctx, tx, *active, store.KeyRetired, now); err != nil {
				return err
			}
		}
		if err := move(ctx, tx, next, store.KeyActive, now); err != nil {
			return err
		}
		return tx.Record(ctx, event(ctx, "key.rotated", next.ID, why))
	})
}

// Rotate lets the next key sign from now on, before its time. It is refused with Precondition, SIGNING_KEY_TOO_NEW, until
// that key has been published for an hour (KM-1); in an emergency, [Keys.Revoke] does not wait.
func (k *Keys) Rotate(ctx context.Context) error {
	list, err := k.c.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	byAge(list)
	active, next := first(list, store.KeyActive), first(list, store.KeyNext)
	if active == nil || next == nil {
		return notReady()
	}
	if wait := MinLead - k.now().Sub(next.CreateTime); wait > 0 {
		return fault.New(fault.Precondition, ReasonTooNew,
			"The next signing key has not been published for an hour: nodes may not know it.").After(wait)
	}
	if err := k.promote(ctx, *next, active, "requested"); err != nil {
		return fmt.Errorf("rotate the signing keys: %w", err)
	}
	return k.Start(ctx)
}

// Revoke makes every token that a key signed worthless at once (KM-3): it is taken out of the key set, nodes are told to
// drop it, and if it was the active one the next key takes over. NotFound, SIGNING_KEY_MISSING, is for a key that is not
// there or revoked already.
func (k *Keys) Revoke(ctx context.Context, kid string) error {
	list, err := k.c.Store.SigningKeys(ctx)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	byAge(list)
	var key *store.SigningKey
	for i := range list {
		if list[i].ID == kid && list[i].State != store.KeyRevoked {
			key = &list[i]
		}
	}
	if key == nil {
		return fault.New(fault.NotFound, ReasonMissing, "There is no such signing key, or it is revoked already.")
	}
	now, next := k.now(), first(list, store.KeyNext)
	err = k.c.Store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		if err := move(ctx, tx, *key, store.KeyRevoked, now); err != nil {
			return err
		}
		if key.State == store.KeyActive && next != nil {
			if err := move(ctx, tx, *next, store.KeyActive, now); err != nil {
				return err
			}
		}
		// Nodes drop the key from their own copies; the entry outlives all that the key signed.
		out := store.Revocation{Kind: store.RevokeKey, Key: sha256.Sum256([]byte(kid)), ExpireTime: now.Add(k.c.Retain + 2*poll)}
		if err := tx.Revoke(ctx, out); err != nil {
			return err
		}
		return tx.Record(ctx, event(ctx, "key.rotated", kid, "revoked"))
	})
	if err != nil {
		return fmt.Errorf("revoke signing key %s: %w", kid, err)
	}
	return k.Start(ctx)
}

// move changes a key's state if it is still the one that was read.
func move(ctx context.Context, tx store.OAuthTx, key store.SigningKey, to store.SigningKeyState, at time.Time) error {
	moved, err := tx.SetSigningKeyState(ctx, key.ID, key.State, to, at)
	if err != nil {
		return err
	}
	if !moved {
		return errLost
	}
	return nil
}

func event(ctx context.Context, action, kid, reason string) store.Event {
	e := reqctx.Event(ctx, action, "ok")
	e.ActorType, e.Target, e.Reason = "system", kid, reason
	return e
}

// now is the time as the store keeps it.
func (k *Keys) now() time.Time { return k.c.Now().UTC().Truncate(time.Microsecond) }
