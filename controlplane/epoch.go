// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// NewEpoch gives the revision log of the database a new epoch: with it an operator who has restored an older state accepts
// that the revisions since are lost, having seen which those are (D-73). It is done once, with any number of control planes
// running: they take it in within 5 s, and have every node take one full state. Epoch.New must be the present revision of the
// database, otherwise the fault is Precondition, EPOCH_HEAD_DIFFERS; and the settings must be valid.
func NewEpoch(ctx context.Context, s Settings, log *slog.Logger) (err error) {
	if err := s.Validate(); err != nil {
		return err
	}
	at, err := strconv.ParseUint(s.Epoch.New, 10, 63)
	if err != nil {
		return fmt.Errorf("read epoch.new: %w", err)
	}
	store, err := sqlstore.OpenConfig(ctx, sqlstore.Config{DSN: s.Database.Reveal(), Log: log})
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	head, err := store.NewEpoch(ctx, catalog.Revision(at))
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "revision log has a new epoch", obs.AttrEpoch, head.Epoch, obs.AttrRevision, uint64(head.Revision))
	return nil
}
