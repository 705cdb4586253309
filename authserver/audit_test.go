// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// AU-5: the log of a server is exported while the server runs, and the settings of an export are little.
func TestExportAudit(t *testing.T) {
	w := newTown(t)
	enroll(w)
	s := Settings{Audit: AuditSettings{Export: true}, Database: obs.Secret("sqlite://" + filepath.Join(w.dir, "authserver.db"))}
	w.must(s.Validate())
	var out bytes.Buffer
	w.must(ExportAudit(t.Context(), s, &out))
	records, err := w.db.Audit(t.Context(), 0, 1000)
	w.must(err)
	if n := strings.Count(out.String(), "\n"); n != len(records) || n == 0 || !strings.Contains(out.String(), string(records[n-1].JSON)+"}\n") {
		t.Errorf("%d records are exported as %s", len(records), out.String())
	}
	for name, database := range map[string]obs.Secret{
		"": "", store.ReasonForeign: obs.Secret("sqlite://" + t.TempDir()), store.ReasonAuditEmpty: obs.Secret("sqlite://" + filepath.Join(t.TempDir(), "mistyped.db")),
	} {
		s.Database = database
		if name == "" {
			if f := fault.From(s.Validate()); f == nil || f.Reason != ReasonConfig || f.Fields[0].Path != "database" {
				t.Errorf("without a database: %v", f)
			}
			continue
		}
		if err := ExportAudit(t.Context(), s, &out); fault.From(err).Reason != name {
			t.Errorf("of no database: %v", err)
		}
	}
}
