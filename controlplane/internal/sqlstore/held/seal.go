// SPDX-License-Identifier: Apache-2.0

package held

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// cellOf is where the arguments of an approval belong: they open nowhere else.
func cellOf(id string) envelope.Cell {
	return envelope.Cell{Table: "approval", Row: []string{ident.OrganizationUID, id}, Column: "arguments"}
}

// seal returns the arguments as they are stored, and the id of the key that sealed them. What a caller has confirmed keeps none.
func (t *Table) seal(ctx context.Context, a *approval.Approval) (keyID string, sealed []byte, err error) {
	if a.State != approval.Pending {
		return "", []byte{}, nil
	}
	if t.keys == nil {
		return "", nil, fault.New(fault.Precondition, approval.ReasonNoKey,
			"The control plane has no key to seal the arguments of calls with, so that it holds none: an operator has to set approvals.keyset.")
	}
	return envelope.Seal(ctx, t.keys, cellOf(a.ID), a.Arguments)
}

// open opens the arguments of an approval that has not ended. Those of a version that knew no keys have no key id and are in clear.
func (t *Table) open(ctx context.Context, a *approval.Approval, keyID string) {
	if keyID == "" || len(a.Arguments) == 0 {
		return
	}
	if t.keys == nil {
		a.Arguments, a.Unreadable = nil, envelope.Missing(keyID)
		return
	}
	a.Arguments, a.Unreadable = envelope.Open(ctx, t.keys, cellOf(a.ID), keyID, a.Arguments)
}
