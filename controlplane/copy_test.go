// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/dbcopy"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// The command needs two databases and nothing else, says that the copy is equal, and does it once.
func TestCopyDatabase(t *testing.T) {
	url := func(name string) obs.Secret { return obs.Secret("sqlite://" + filepath.Join(t.TempDir(), name)) }
	s := Settings{Database: url("from.db"), Copy: CopySettings{To: url("to.db")}}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	if none := (&Settings{Copy: s.Copy}).Validate(); none == nil {
		t.Error("it takes no database to copy")
	}
	store, err := sqlstore.Open(t.Context(), s.Database.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	head, err := store.Head(t.Context())
	if err == nil {
		err = store.Note(t.Context(), "node", "a", []byte("{}"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	if err := CopyDatabase(t.Context(), s, log); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "the copy is equal") || !strings.Contains(out.String(), head.Epoch) || !strings.Contains(out.String(), "table=note count=1 done=true") {
		t.Errorf("the log says:\n%s", out.String())
	}
	if err := CopyDatabase(t.Context(), s, log); fault.From(err).Reason != dbcopy.ReasonTargetNotEmpty {
		t.Errorf("the second time: %v", err)
	}
}
