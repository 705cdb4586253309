// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
)

// exportPage is how many audit records are read at a time.
const exportPage = 1000

// AuditSettings are what an operator takes out of the audit log.
type AuditSettings struct {
	Export bool `name:"export" help:"verify the audit log, print it as JSON lines, and end; the server may run meanwhile"`
}

// ExportAudit writes the audit log of the settings' database to out, oldest first, a record a line (AU-5):
//
//	{"seq":1,"previous":"<hex>","hash":"<hex>","event":{…}}
//
// hash is SHA-256 of the 32 bytes of previous and the bytes of event as they stand in the line, so that other tools can check
// the chain (AU-1). A record that does not fit ends the export with Precondition, AUDIT_CHAIN_BROKEN, after the good ones; of a
// database that no server has used it is Precondition, AUDIT_LOG_EMPTY.
func ExportAudit(ctx context.Context, s Settings, out io.Writer) (err error) {
	db, err := sqlstore.Open(ctx, s.Database.Reveal())
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	w := bufio.NewWriter(out)
	err = store.ExportAudit(ctx, db, w, exportPage)
	return errors.Join(err, w.Flush())
}
