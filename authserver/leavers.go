// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/upstream"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// leaveRetry is the pause of leavers.
const leaveRetry = 5 * time.Second

// leavers ends what users have who were deactivated or deleted, whoever did that: logins, grants, access tokens and the credentials of
// their own connections, so that they do not come back with the user (SC-2, UP-11), also if the user was back before this authserver
// heard of it. Meanwhile they are refused anyway. It is used by one goroutine.
type leavers struct {
	follower *directory.Follower
	end      func(ctx context.Context, left directory.Left) error
	log      *slog.Logger
	retry    time.Duration // how long the end of what somebody had waits after it failed

	left []directory.Left // still to be done
}

// run follows the directory until ctx ends.
func (l *leavers) run(ctx context.Context) error {
	retry := time.NewTicker(l.retry)
	defer retry.Stop()
	for {
		changed := l.follower.Changed()
		l.left = append(l.left, l.follower.TakeLeft()...)
		for len(l.left) > 0 {
			if err := l.end(ctx, l.left[0]); err != nil {
				if ctx.Err() == nil {
					l.log.WarnContext(ctx, "what a user had does not end yet", obs.Fault(err))
				}
				break
			}
			l.left = l.left[1:]
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry.C:
		}
	}
}

// ending is how what somebody had ends.
type ending struct {
	state    func() *directory.View // with those who are deactivated
	ended    func(ctx context.Context, user string) (time.Time, error)
	upstream interface {
		End(ctx context.Context, connection string) (int, error)
	}
	subjects interface {
		End(ctx context.Context, user string) error
	}
	grants interface {
		EndUser(ctx context.Context, user string, at time.Time) error
	}
	forget func(user string) // what this authserver has in memory
}

// end ends what a user had who has left, once for each time, over all authservers: what the user has got since stays. That it is
// done is noted last, so that what failed halfway is done again.
func (e ending) end(ctx context.Context, left directory.Left) error {
	e.forget(left.User) // also where another authserver did the rest
	if !left.At.IsZero() {
		if done, err := e.ended(ctx, left.User); err != nil || !done.Before(left.At) {
			return err
		}
	}
	for _, c := range e.state().OwnConnections(left.User) {
		if _, err := e.upstream.End(ctx, c); err != nil {
			return fmt.Errorf("end the connection %s: %w", c, err)
		}
	}
	if err := e.subjects.End(ctx, left.User); err != nil {
		return err
	}
	return e.grants.EndUser(ctx, left.User, left.At)
}

// endingVault is the vault for those who delete: grants do not just go, they are revoked (UP-11).
type endingVault struct {
	*vault.Vault
	upstream *upstream.Upstream
}

// Delete implements credentialapi.Vault.
func (v endingVault) Delete(ctx context.Context, connection string) (int, error) {
	return v.upstream.End(ctx, connection)
}
