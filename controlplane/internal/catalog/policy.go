// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/desk"
)

// Policies returns all policies on calls and on results, in name order. The fault is Denied for whom they are not visible to: a
// decision by some of them would be none.
func (c *Catalog) Policies(ctx context.Context, caller Caller) (calls []*Policy, results []*ResultPolicy, err error) {
	err = c.cfg.Store.Read(ctx, func(_ Head, r Reader) error {
		d := desk.New(r, caller)
		who, err := d.Who(ctx)
		if err != nil {
			return err
		}
		if err := who.Manages(&Policy{}); err != nil {
			return err
		}
		if calls, err = desk.All[*Policy](ctx, d, KindPolicy); err != nil {
			return err
		}
		results, err = desk.All[*ResultPolicy](ctx, d, KindResultPolicy)
		return err
	})
	return calls, results, err
}
