// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"log/slog"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// leaveRetry is the pause of leavers.
const leaveRetry = 5 * time.Second

// leavers ends what users have who were deactivated or deleted, whoever did that: logins, grants and access tokens, so that they do
// not come back with the user (SC-2). Meanwhile they are refused anyway. It is used by one goroutine.
type leavers struct {
	follower *directory.Follower
	revoke   func(ctx context.Context, user string) error
	log      *slog.Logger
	retry    time.Duration // how long the end of what somebody had waits after it failed

	left []string // still to be done
}

// run follows the directory until ctx ends.
func (l *leavers) run(ctx context.Context) error {
	retry := time.NewTicker(l.retry)
	defer retry.Stop()
	for {
		changed := l.follower.Changed()
		l.left = append(l.left, l.follower.TakeLeft()...)
		for len(l.left) > 0 {
			if err := l.revoke(ctx, l.left[0]); err != nil {
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
