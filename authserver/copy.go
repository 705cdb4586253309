// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// CopySettings are where the database is copied to.
type CopySettings struct {
	To obs.Secret `name:"to" help:"copy the database into this empty one (sqlite:///absolute/path or postgres://…), compare both, and end; stop the server first"`
}

// CopyDatabase copies the settings' database into the one that they name as copy.to, proves that the copy is equal, and says
// so in the log. It is for a stopped server. A database that is not empty is Precondition, COPY_TARGET_NOT_EMPTY.
func CopyDatabase(ctx context.Context, s Settings, log *slog.Logger) (err error) {
	db, err := sqlstore.Open(ctx, s.Database.Reveal())
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	n, err := db.Copy(ctx, s.Copy.To.Reveal(), func(table string, rows int64, done bool) {
		log.InfoContext(ctx, "copying", "table", table, obs.AttrCount, rows, "done", done)
	})
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "database copied, and the copy is equal", "tables", n.Tables, obs.AttrCount, n.Rows, "digest", n.Digest)
	return nil
}
