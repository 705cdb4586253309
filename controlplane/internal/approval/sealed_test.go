// SPDX-License-Identifier: Apache-2.0

package approval_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/approval"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
)

const secretArguments = `{"password":"correct-horse-battery"}`

// database is what lies in a database, for who has it but no key.
type database struct {
	*sql.DB

	t      *testing.T
	prefix string
	file   string // of SQLite
}

func (o *org) open() database {
	o.t.Helper()
	driver, source := "pgx", o.dsn
	d := database{t: o.t, prefix: "controlplane."}
	if path, ok := strings.CutPrefix(o.dsn, "sqlite://"); ok {
		driver, source, d.prefix, d.file = "sqlite", path, "", path
	}
	var err error
	d.DB, err = sql.Open(driver, source)
	o.must(err)
	o.t.Cleanup(func() { o.must(d.Close()) })
	return d
}

func (d database) exec(query string, args ...any) {
	d.t.Helper()
	if _, err := d.ExecContext(d.t.Context(), strings.ReplaceAll(query, "approval ", d.prefix+"approval "), args...); err != nil {
		d.t.Fatal(err)
	}
}

// dump returns all that the tables of approvals hold and, of SQLite, the files.
func (d database) dump() string {
	d.t.Helper()
	var out strings.Builder
	for _, table := range []string{"approval", "approval_event", "approval_answer"} {
		rows, err := d.QueryContext(d.t.Context(), "SELECT * FROM "+d.prefix+table)
		if err != nil {
			d.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			d.t.Fatal(err)
		}
		for rows.Next() {
			values, into := make([]any, len(columns)), make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				d.t.Fatal(err)
			}
			for i, v := range values {
				fmt.Fprintf(&out, "%s.%s=%s\n", table, columns[i], v)
			}
		}
		if err := rows.Err(); err != nil {
			d.t.Fatal(err)
		}
	}
	if d.file != "" {
		for _, suffix := range []string{"", "-wal"} {
			text, err := os.ReadFile(d.file + suffix)
			if err != nil {
				d.t.Fatal(err)
			}
			out.Write(text)
		}
	}
	return out.String()
}

// TestSealed: who has the database has no argument of a held call, nor can they pass one off as another's; with the key file everything opens,
// also after a rotation (SE-2).
func TestSealed(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		db := o.open()
		first := o.hold("PENDING", arguments(secretArguments))
		if got := db.dump(); strings.Contains(got, "correct-horse") || strings.Contains(got, "password") || !strings.Contains(got, first) {
			t.Errorf("the database holds %q", got)
		}
		o.must(envelope.RotateKeyFile(o.keyFile))
		second := o.hold("PENDING", arguments(`{"a":"under the new key"}`))
		stored := func(id string) (keyID string, sealed []byte) {
			row := db.QueryRowContext(t.Context(), "SELECT key_id, arguments FROM "+db.prefix+"approval WHERE id = $1", id)
			o.must(row.Scan(&keyID, &sealed))
			return keyID, sealed
		}
		oldKey, sealed := stored(first)
		if newKey, _ := stored(second); oldKey == newKey || !strings.HasPrefix(newKey, "local/") {
			t.Errorf("the keys are %q, and %q after a rotation", oldKey, newKey)
		}
		seen := func(id string) *approval.Approval {
			a, _, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id)
			o.must(err)
			return a
		}
		if got := seen(first); string(got.Arguments) != secretArguments || got.Unreadable != nil {
			t.Errorf("under the old key: %s, %v", got.Arguments, got.Unreadable)
		}
		if got := seen(second); string(got.Arguments) != `{"a":"under the new key"}` {
			t.Errorf("under the new key: %s, %v", got.Arguments, got.Unreadable)
		}

		db.exec("UPDATE approval SET key_id = $1, arguments = $2 WHERE id = $3", oldKey, sealed, second)
		if got := seen(second); got.Unreadable == nil || len(got.Arguments) != 0 {
			t.Errorf("the arguments of another approval open: %s", got.Arguments)
		}
		o.decide(second, ada, true, approval.ReasonUnreadable)
		o.decide(second, ada, false, "")
		o.hold("DENIED", arguments(`{"a":"under the new key"}`))

		db.exec("UPDATE approval SET key_id = 'local/1' WHERE id = $1", first)
		if list, _, err := o.List(t.Context(), approval.Viewer{Admin: true}, approval.Query{Limit: 10}); err != nil || len(list) != 2 {
			t.Errorf("a key that is missing hides approvals: %d, %v", len(list), err)
		}
		o.decide(first, ada, true, approval.ReasonUnreadable)
		db.exec("UPDATE approval SET key_id = $1 WHERE id = $2", oldKey, first)
		o.decide(first, ada, true, "")
		o.hold("RUN run", arguments(secretArguments))
		if _, sealed := stored(first); len(sealed) != 0 {
			t.Errorf("after its end: %d bytes", len(sealed))
		}
	})
}

// TestHeldInClear: a call that was held before there were keys is decided about and runs as ever.
func TestHeldInClear(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		db := o.open()
		id := o.hold("PENDING", arguments(secretArguments))
		db.exec("UPDATE approval SET key_id = '', arguments = $1 WHERE id = $2", []byte(secretArguments), id)
		if !strings.Contains(db.dump(), "correct-horse") {
			t.Error("the dump does not show what lies in clear")
		}
		if a, _, err := o.Get(t.Context(), approval.Viewer{Admin: true}, id); err != nil || string(a.Arguments) != secretArguments {
			t.Errorf("%+v, %v", a, err)
		}
		o.decide(id, ada, true, "")
		o.hold("RUN run", arguments(secretArguments))
	})
}

// TestNoKey: without a key nothing is kept, and no call is held for others; what callers confirm themselves needs none.
func TestNoKey(t *testing.T) {
	onBoth(t, func(t *testing.T, o *org) {
		sealed := o.hold("PENDING", arguments(secretArguments))
		store, err := sqlstore.OpenConfig(t.Context(), sqlstore.Config{DSN: o.dsn, Now: o.clock.now})
		o.must(err)
		t.Cleanup(func() { o.must(store.Close()) })
		keyless, err := approval.New(approval.Config{Store: store.Approvals(nil), Resources: store, Log: slog.New(slog.DiscardHandler), Now: o.clock.now})
		o.must(err)
		if _, err := keyless.Hold(t.Context(), o.request(arguments(`{"a":"new"}`))); reasonOf(err) != approval.ReasonNoKey || !strings.Contains(err.Error(), "approvals.keyset") {
			t.Errorf("held: %v", err)
		}
		list, _, err := keyless.List(t.Context(), approval.Viewer{Admin: true}, approval.Query{Limit: 10})
		if err != nil || len(list) != 1 || list[0].ID != sealed || list[0].Unreadable == nil || len(list[0].Arguments) != 0 {
			t.Errorf("listed %+v, %v", list, err)
		}
	})
}
