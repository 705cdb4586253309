// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/reqctx"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	upkeepEvery = 10 * time.Minute
	// mostBatches bounds one round of removing what is over, at a thousand rows of each kind.
	mostBatches = 1000
	// passwordPage is how many passwords are looked at together, mostGone how many are removed in one round.
	passwordPage = 500
	mostGone     = 1000
	// passwordRest is how old a password is at least that is removed: its user may have been made a moment ago.
	passwordRest = time.Hour
)

// upkeep removes from the store what nobody needs any more. It is used by one goroutine.
type upkeep struct {
	store    store.OAuth
	subjects subjects
	state    func() *directory.View // all users there are; nil before the first state
	fresh    func() bool            // state is that of a control plane that is heard now
	now      func() time.Time
	log      *slog.Logger

	// What was missing in the round before.
	gone   map[string]bool // users with a password
	strays map[string]bool // keys of kept tokens
}

// subjects keeps tokens of logins; [subject.Keeper] is one.
type subjects interface {
	// Strays returns the keys of what nobody can use any more by a view of all there is.
	Strays(ctx context.Context, view *directory.View) ([]string, error)
	// Forget deletes what is kept under a key.
	Forget(ctx context.Context, key string) error
}

// run goes round until ctx ends.
func (u *upkeep) run(ctx context.Context) error {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		if err := u.round(ctx); err != nil && ctx.Err() == nil {
			u.log.WarnContext(ctx, "store not tidied", obs.AttrError, err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (u *upkeep) round(ctx context.Context) error {
	if err := u.collect(ctx); err != nil {
		return err
	}
	state := u.state()
	if state == nil || !u.fresh() {
		u.gone, u.strays = nil, nil
		return nil
	}
	if err := u.passwords(ctx, state); err != nil {
		return err
	}
	return u.tokens(ctx, state)
}

// collect removes what is over, batch by batch: with one batch in a round, whoever makes rows faster would fill the disk.
func (u *upkeep) collect(ctx context.Context) error {
	for range mostBatches {
		left := 0
		err := u.store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) (err error) {
			left, err = tx.Collect(ctx, u.now())
			return err
		})
		if err != nil || left == 0 {
			return err
		}
	}
	return nil
}

// passwords removes those of users who are no longer in the directory.
func (u *upkeep) passwords(ctx context.Context, state *directory.View) error {
	missing, err := u.missing(ctx, state)
	if err != nil {
		return err
	}
	u.gone, err = twice(missing, u.gone, func(uid string) error { return u.forget(ctx, uid) })
	return err
}

// tokens removes those that are kept of users, and of identity providers, who are no longer there.
func (u *upkeep) tokens(ctx context.Context, state *directory.View) error {
	missing, err := u.subjects.Strays(ctx, state)
	if err != nil {
		return err
	}
	u.strays, err = twice(missing, u.strays, func(key string) error { return u.subjects.Forget(ctx, key) })
	return err
}

// twice forgets what is missing and was so in the round before, and returns the rest, for the next one. Both rounds have a control
// plane that is heard: what was restored or is being caught up with costs nobody her password.
func twice(missing []string, before map[string]bool, forget func(string) error) (map[string]bool, error) {
	left := make(map[string]bool)
	for _, one := range missing {
		if !before[one] {
			left[one] = true
			continue
		}
		if err := forget(one); err != nil {
			return before, err
		}
	}
	return left, nil
}

// missing returns the users with a password who are not there, at most mostGone.
func (u *upkeep) missing(ctx context.Context, state *directory.View) ([]string, error) {
	var list []string
	for after := ""; len(list) < mostGone; {
		page, err := u.store.PasswordUsers(ctx, u.now().Add(-passwordRest), after, passwordPage)
		if err != nil {
			return nil, err
		}
		for _, uid := range page {
			if !state.Exists(uid) {
				list = append(list, uid)
			}
		}
		if len(page) < passwordPage {
			break
		}
		after = page[len(page)-1]
	}
	return list, nil
}

func (u *upkeep) forget(ctx context.Context, uid string) error {
	e := reqctx.Event(ctx, "password.removed", "ok")
	e.ActorType, e.Target, e.Reason = "system", uid, "user_gone"
	err := u.store.Update(ctx, func(ctx context.Context, tx store.OAuthTx) error {
		if err := tx.DeletePassword(ctx, uid); err != nil {
			return err
		}
		return tx.Record(ctx, e)
	})
	if err != nil {
		return fmt.Errorf("remove the password of a user who is gone: %w", err)
	}
	return nil
}
