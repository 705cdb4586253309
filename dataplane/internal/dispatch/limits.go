// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"context"

	"github.com/penstockhq/penstock/dataplane/internal/call"
)

// counted counts a call of a tool against the limits of its gateway.
func (d *Dispatcher) counted(ctx context.Context, c *call.Caller, t *target, dry *call.Dry) error {
	switch {
	case t.tool == nil || d.RateLimits == nil:
		return nil
	case dry != nil:
		return d.looked(ctx, c, t, dry)
	}
	err := d.RateLimits.Call(ctx, c.Snapshot, c.Gateway, c.Principal, t.tool)
	t.counted = err == nil
	return err //nolint:wrapcheck // a fault with the answer
}

// uncounted gives back what a held call counted that did not run: it comes again, and would cost twice.
func (d *Dispatcher) uncounted(ctx context.Context, c *call.Caller, t *target) {
	if t.counted {
		d.RateLimits.Return(ctx, c.Snapshot, c.Gateway, c.Principal, t.tool)
	}
}
