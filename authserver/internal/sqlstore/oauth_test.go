// SPDX-License-Identifier: Apache-2.0

package sqlstore_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// textAndBytes says of every column that can hold a text or bytes what is in it. A new one is a question: may it hold what
// somebody logs in with (SE-1)? If so, it is a hash. Then add it here.
const textAndBytes = `
connect_links.client_id       public
connect_links.gateway         name
connect_links.hash            hash
connect_links.server          name
connect_links.user_uid        uid
oauth_audit.event             JSON, made of fields that hold no secret
oauth_audit.hash              hash
oauth_audit.previous          hash
oauth_clients.client_id       public
oauth_clients.fingerprint     hash
oauth_clients.manage_hash     hash
oauth_clients.metadata        JSON of the room, public
oauth_clients.secret_hash     hash
oauth_codes.amr               list
oauth_codes.challenge         S256 of the verifier
oauth_codes.client_id         public
oauth_codes.gateway           uid
oauth_codes.grant_id          uid
oauth_codes.hash              hash
oauth_codes.provider          name
oauth_codes.redirect_host     public
oauth_codes.redirect_uri      public
oauth_codes.resource          public
oauth_codes.scopes            list
oauth_codes.session           name of a session, which opens nothing
oauth_codes.subject           account at an identity provider
oauth_codes.subject_issuer    public
oauth_codes.subject_session   name of a session, which opens nothing
oauth_codes.user_uid          uid
oauth_consents.client_id      public
oauth_consents.client_name    public
oauth_consents.fingerprint    hash
oauth_consents.gateway        uid
oauth_consents.redirect_host  public
oauth_consents.scopes         list
oauth_consents.user_uid       uid
oauth_ended.user_uid          uid
oauth_grants.amr              list
oauth_grants.client_id        public
oauth_grants.gateway          uid
oauth_grants.grant_id         uid
oauth_grants.provider         name
oauth_grants.redirect_host    public
oauth_grants.resource         public
oauth_grants.scopes           list
oauth_grants.session          name of a session, which opens nothing
oauth_grants.subject          account at an identity provider
oauth_grants.subject_issuer   public
oauth_grants.subject_session  name of a session, which opens nothing
oauth_grants.user_uid         uid
oauth_head.audit_hash         hash
oauth_jtis.hash               hash
oauth_locks.name              constant
oauth_logins.amr              list
oauth_logins.hash             hash
oauth_logins.provider         name
oauth_logins.session          name of a session, which opens nothing
oauth_logins.user_uid         uid
oauth_outbox.hash             hash
oauth_passwords.encoded       argon2id
oauth_passwords.user_uid      uid
oauth_refresh_tokens.grant_id  uid
oauth_refresh_tokens.hash      hash
oauth_refresh_tokens.successor sealed
oauth_signing_keys.key_id     name
oauth_signing_keys.kid        public
oauth_signing_keys.public_jwk public
oauth_signing_keys.sealed     sealed
oauth_signing_keys.state      constant
oauth_tickets.data            JSON of the room, no secret
oauth_tickets.hash            hash
oauth_tickets.kind            constant
secrets.connection            uid
secrets.key_id                name
secrets.sealed                sealed
secrets.version               name
`

// A schema that is checked: its columns of texts and bytes, and the text of its tables and constraints.
type schemaText struct {
	columns []string
	checks  string
}

func TestSchemaHoldsNoSecretSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	open(t, "sqlite://"+path)
	db := driver(t, "sqlite", "file:"+path)
	checkSchema(t, schemaText{
		columns: column(t, db, `SELECT m.name || '.' || c.name FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c
			WHERE m.type = 'table' AND m.name <> 'authserver_schema_version' AND m.name NOT LIKE 'sqlite_%' AND c.type NOT IN ('BIGINT', 'INTEGER')`),
		checks: strings.Join(column(t, db, `SELECT sql FROM sqlite_master WHERE type = 'table'`), "\n"),
	})
}

func TestIntegrationSchemaHoldsNoSecretPostgres(t *testing.T) {
	database := pgtest.Start(t).Database(t)
	open(t, database)
	db := driver(t, "pgx", database)
	checkSchema(t, schemaText{
		columns: column(t, db, `SELECT table_name || '.' || column_name FROM information_schema.columns
			WHERE table_schema = 'authserver' AND table_name <> 'authserver_schema_version' AND data_type NOT IN ('bigint', 'integer')`),
		checks: strings.Join(column(t, db, `SELECT 'CREATE TABLE ' || r.relname || ' (' || pg_get_constraintdef(c.oid)
			FROM pg_constraint AS c JOIN pg_class AS r ON r.oid = c.conrelid WHERE c.contype = 'c'`), "\n"),
	})
}

func checkSchema(t *testing.T, s schemaText) {
	t.Helper()
	var want []string
	for line := range strings.Lines(strings.TrimSpace(textAndBytes)) {
		fields := strings.Fields(line)
		want = append(want, fields[0])
		table, name, _ := strings.Cut(fields[0], ".")
		if fields[1] == "hash" && !checked(s.checks, table, name) {
			t.Errorf("%s may hold something else than a hash", fields[0])
		}
	}
	slices.Sort(s.columns)
	slices.Sort(want)
	if diff := cmp.Diff(want, s.columns); diff != "" {
		t.Errorf("columns of texts and bytes (-known +there):\n%s", diff)
	}
}

// checked reports whether a constraint of a table says that a column has 32 bytes.
func checked(checks, table, name string) bool {
	for part := range strings.SplitSeq(checks, "CREATE TABLE ") {
		if strings.HasPrefix(part, table+" ") && strings.Contains(part, "length("+name+") = 32") {
			return true
		}
	}
	return false
}

func driver(t *testing.T, name, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open(name, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// column returns the first column of an answer.
func column(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSQLiteAuditShowsChanges(t *testing.T) {
	auditShowsChanges(t, func(t *testing.T) (*sqlstore.Store, func(string)) {
		path := filepath.Join(t.TempDir(), "a.db")
		return open(t, "sqlite://"+path), func(statement string) { execSQLite(t, path, statement) }
	})
}

func TestIntegrationPostgresAuditShowsChanges(t *testing.T) {
	pg := pgtest.Start(t)
	auditShowsChanges(t, func(t *testing.T) (*sqlstore.Store, func(string)) {
		database := pg.Database(t)
		return open(t, database), func(statement string) {
			pgtest.Exec(t, database, strings.ReplaceAll(statement, "oauth_audit", "authserver.oauth_audit"))
		}
	})
}

func auditShowsChanges(t *testing.T, fresh func(*testing.T) (*sqlstore.Store, func(string))) {
	for _, c := range []struct{ name, statement, says string }{
		{"nothing", `DELETE FROM oauth_audit WHERE seq = 0`, ""},
		{"an event is changed", `UPDATE oauth_audit SET event = replace(event, '"refused"', '"ok"') WHERE seq = 2`, "record 2 was changed"},
		{"the spelling of an event is changed", `UPDATE oauth_audit SET event = event || ' ' WHERE seq = 2`, "record 2 was changed"},
		{"an event is changed with its hash", `UPDATE oauth_audit SET event = (SELECT event FROM oauth_audit WHERE seq = 1),
			hash = (SELECT hash FROM oauth_audit WHERE seq = 1), previous = NULL WHERE seq = 2`, "record 2 does not follow record 1"},
		{"a record is removed", `DELETE FROM oauth_audit WHERE seq = 2`, "record 1 is followed by record 3"},
		{"the first record is removed", `DELETE FROM oauth_audit WHERE seq = 1`, "record 0 is followed by record 2"},
		{"the last record is removed before others follow", `DELETE FROM oauth_audit WHERE seq = 3`, "record 2 is followed by record 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, spoil := fresh(t)
			for range 3 {
				record(t, s)
			}
			spoil(c.statement)
			record(t, s)
			list, err := s.Audit(t.Context(), 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			_, err = store.VerifyAudit(store.AuditRecord{}, list)
			if c.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if f := fault.From(err); err == nil || f.Reason != store.ReasonAuditBroken || !strings.Contains(f.Public, c.says) {
				t.Errorf("got %v, want %s", err, c.says)
			}
		})
	}
}

func record(t *testing.T, s store.OAuth) {
	t.Helper()
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		return tx.Record(ctx, store.Event{Action: "code.replayed", Result: "refused"})
	}); err != nil {
		t.Fatal(err)
	}
}

// What is committed is there after a restart, and the chain goes on.
func TestOAuthOutlivesTheProcess(t *testing.T) {
	database := "sqlite://" + filepath.Join(t.TempDir(), "a.db")
	s := open(t, database)
	record(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, database)
	record(t, s)
	list, err := s.Audit(t.Context(), 0, 10)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d records, %v", len(list), err)
	}
	if _, err := store.VerifyAudit(store.AuditRecord{}, list); err != nil {
		t.Error(err)
	}
}

func TestIntegrationPostgresGone(t *testing.T) {
	var s *sqlstore.Store
	t.Run("while the server runs", func(t *testing.T) {
		var err error
		if s, err = sqlstore.Open(t.Context(), pgtest.Start(t).Database(t)); err != nil { // the server ends with this subtest
			t.Fatal(err)
		}
		record(t, s)
	})
	if s == nil {
		t.FailNow()
	}
	defer func() { _ = s.Close() }()
	runs := 0
	err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		runs++
		_, err := tx.UseJTI(ctx, "i", "j", time.Unix(1, 0))
		return err
	})
	_, readErr := s.Code(t.Context(), sha256.Sum256([]byte("code")))
	for _, err := range []error{err, readErr} {
		if f := fault.From(err); f.Kind != fault.Unavailable || f.Reason != store.ReasonUnavailable {
			t.Errorf("got %v, want STORE_UNAVAILABLE", err)
		}
	}
	if runs > 1 {
		t.Errorf("an update was run %d times without a database", runs)
	}
}

// Only a conflict is run again, and only so often: a queue of callers that wait several times each would never end.
func TestIntegrationPostgresRunsConflictsAgain(t *testing.T) {
	database := pgtest.Start(t).Database(t)
	s := open(t, database)
	for _, c := range []struct {
		state string
		runs  int
	}{{"40001", 6}, {"40P01", 6}, {"55P03", 1}, {"23505", 1}} {
		pgtest.Exec(t, database, `CREATE OR REPLACE FUNCTION authserver.raise() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN RAISE 'on purpose' USING ERRCODE = '`+c.state+`'; END $$`)
		pgtest.Exec(t, database, `CREATE OR REPLACE TRIGGER raise BEFORE INSERT ON authserver.oauth_jtis EXECUTE FUNCTION authserver.raise()`)
		own, runs := errors.New("own"), 0
		err := s.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
			runs++
			if _, err := tx.UseJTI(ctx, "i", "j", time.Unix(1, 0)); err == nil {
				t.Error("the trigger raised nothing")
			}
			return own // hides the cause, as a library in between may do
		})
		if !errors.Is(err, own) || runs != c.runs {
			t.Errorf("SQLSTATE %s: %d runs, want %d (%v)", c.state, runs, c.runs, err)
		}
	}
}
