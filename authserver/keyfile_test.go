// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Whatever another authserver that starts has done between this one's look for the key file and its turn to make it, this
// one opens the other's file; a file that is lost is never made anew.
func TestCreateKeyFileAfterAnother(t *testing.T) {
	for _, c := range []struct {
		name         string
		sealed, file bool
		reason       string // of the refusal; empty: the file is opened
	}{
		{"nobody was there", false, false, ""},
		{"the other made the file", false, true, ""},
		{"the other made the file and sealed with it", true, true, ""},
		{"sealed, and the file is lost", true, false, envelope.ReasonKeyMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newTown(t) // it made a key file and sealed its signing keys
			s, db := w.server(), w.db
			path := s.c.Vault.Keyset
			before, err := os.ReadFile(path)
			w.must(err)
			if !c.file {
				w.must(os.Remove(path))
			}
			if !c.sealed {
				db, err = sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "empty.db"))
				w.must(err)
				defer func() { w.must(db.Close()) }()
			}
			keys, err := s.createKeyFile(t.Context(), db)
			if c.reason != "" {
				if f := fault.From(err); f == nil || f.Reason != c.reason || keys != nil {
					t.Errorf("gives %v, want %s", err, c.reason)
				}
				if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("a lost key file was made anew (%v)", err)
				}
				return
			}
			if err != nil || keys == nil {
				t.Fatalf("not opened: %v", err)
			}
			after, err := os.ReadFile(path)
			w.must(err)
			if c.file && string(after) != string(before) {
				t.Errorf("%s was written over", filepath.Base(path))
			}
		})
	}
}
