// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

// TestApprovalsMigration: the database of a version that held no calls gets the tables, and keeps what it has.
func TestApprovalsMigration(t *testing.T) {
	for name, dsn := range engines() {
		t.Run(name, func(t *testing.T) {
			where := dsn(t)
			s, err := sqlstore.Open(t.Context(), where)
			if err != nil {
				t.Fatal(err)
			}
			c := catalog.New(catalog.Config{Store: s})
			if _, _, err := c.Bootstrap(t.Context(), "root@example.com"); err != nil {
				t.Fatal(err)
			}
			head, err := s.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			driver, source, prefix := "pgx", where, "controlplane."
			if path, ok := strings.CutPrefix(where, "sqlite://"); ok {
				driver, source, prefix = "sqlite", path, ""
			}
			db, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			for _, statement := range []string{
				"DROP TABLE " + prefix + "approval", "DROP TABLE " + prefix + "approval_event", "DROP TABLE " + prefix + "approval_answer",
				"DROP TABLE " + prefix + "audit_event", "DROP TABLE " + prefix + "audit_head", "DROP TABLE " + prefix + "audit_queue",
				"DELETE FROM " + prefix + "goose_db_version WHERE version_id >= 6",
			} {
				if _, err := db.ExecContext(t.Context(), statement); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, sqlstore.Config{DSN: where})
			if h, err := again.Head(t.Context()); err != nil || h != head {
				t.Errorf("head %+v, %v; want %+v", h, err, head)
			}
			path := filepath.Join(t.TempDir(), "keyset.json")
			if err := envelope.CreateKeyFile(path); err != nil {
				t.Fatal(err)
			}
			keys, err := envelope.OpenKeyFile(path)
			if err != nil {
				t.Fatal(err)
			}
			table := again.Approvals(keys)
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			a := &approval.Approval{ID: "a", State: approval.Pending, Key: "k", Arguments: []byte(`{}`), Create: now, Expire: now.Add(time.Hour)}
			added, err := table.Add(t.Context(), a, approval.Event{ID: "e", Approval: "a", Kind: approval.EventCreated, Time: now}, true)
			if err != nil || !added {
				t.Fatalf("added: %v, %v", added, err)
			}
			if got, err := table.Live(t.Context(), "k"); err != nil || got == nil || got.ID != "a" || string(got.Arguments) != `{}` || !got.Expire.Equal(a.Expire) {
				t.Errorf("read back: %+v, %v", got, err)
			}
		})
	}
}
