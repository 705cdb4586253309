// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/cenkalti/backoff/v5"
)

// retry repeats calls that the contract marks NO_SIDE_EFFECTS while the server is unavailable. A write is never repeated: it
// may have happened although its answer was lost.
func retry(attempts uint) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if req.Spec().IdempotencyLevel != connect.IdempotencyNoSideEffects {
				return next(ctx, req)
			}
			waits := backoff.NewExponentialBackOff()
			waits.InitialInterval, waits.Multiplier, waits.MaxInterval = 100*time.Millisecond, 2, 2*time.Second
			var last error
			res, err := backoff.Retry(ctx, func() (connect.AnyResponse, error) {
				res, err := next(ctx, req)
				last = err
				if err != nil && connect.CodeOf(err) != connect.CodeUnavailable {
					return nil, backoff.Permanent(err)
				}
				return res, err
			}, backoff.WithBackOff(waits), backoff.WithMaxTries(attempts))
			if err != nil {
				return nil, last // not what Retry made of it: the caller wants the server's own answer
			}
			return res, nil
		}
	}
}
