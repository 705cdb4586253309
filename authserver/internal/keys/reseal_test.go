// SPDX-License-Identifier: Apache-2.0

package keys_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/keys"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/sqlstore/pgtest"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// withoutOldKeys writes a key file that holds the primary key of another one only, and returns its path.
func withoutOldKeys(t *testing.T, from string) string {
	t.Helper()
	raw, err := os.ReadFile(from)
	must(t, err)
	var set map[string]any
	must(t, json.Unmarshal(raw, &set))
	set["key"] = slices.DeleteFunc(set["key"].([]any), func(k any) bool { return k.(map[string]any)["keyId"] != set["primaryKeyId"] })
	raw, err = json.Marshal(set)
	must(t, err)
	path := filepath.Join(t.TempDir(), "keyset.json")
	must(t, os.WriteFile(path, raw, 0o600))
	return path
}

// opened is a vault on a key file, as a process that starts has it.
func opened(t *testing.T, s *sqlstore.Store, path string, log *bytes.Buffer) *vault.Vault {
	t.Helper()
	kms, err := envelope.OpenKeyFile(path)
	must(t, err)
	v, err := vault.New(vault.Config{Secrets: s, KMS: kms, Log: slog.New(slog.NewJSONHandler(log, nil))})
	must(t, err)
	return v
}

// SE-2, SE-3: the key of the vault that sealed signing keys is missed at the start; after its rotation it is needed no more,
// and the same signing keys sign on.
func TestVaultKeyIsRetired(t *testing.T) { vaultKeyIsRetired(t, sqlite(t)) }

func TestIntegrationVaultKeyIsRetiredPostgres(t *testing.T) {
	vaultKeyIsRetired(t, pgtest.Start(t).Database(t))
}

func vaultKeyIsRetired(t *testing.T, database string) {
	t.Helper()
	var log bytes.Buffer
	s, err := sqlstore.Open(t.Context(), database)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	path := filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(path))
	v := opened(t, s, path, &log)
	start := func(v *vault.Vault) (*keys.Keys, error) {
		k, err := keys.New(keys.Config{Store: s, Vault: v, Retain: retain, Log: slog.New(slog.NewJSONHandler(&log, nil))})
		must(t, err)
		return k, k.Start(t.Context())
	}
	k, err := start(v)
	must(t, err)
	token := sign(t, k)
	must(t, v.Check(t.Context()))

	stranger := filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(stranger))
	err = opened(t, s, stranger, &log).Check(t.Context())
	if f := fault.From(err); err == nil || f.Kind != fault.Precondition || f.Reason != envelope.ReasonKeyMissing {
		t.Fatalf("no key of the vault that sealed signing keys is missed: %v", err)
	}

	must(t, envelope.RotateKeyFile(path))
	young := withoutOldKeys(t, path)
	if err := opened(t, s, young, &log).Check(t.Context()); err == nil {
		t.Fatal("the old key is not missed before the rotation is over")
	}
	before, err := s.SigningKeys(t.Context())
	must(t, err)
	for i, want := range []int{len(before), 0} { // online, and once
		if n, err := v.Reencrypt(t.Context()); n != want || err != nil {
			t.Fatalf("round %d sealed %d (error %v), want %d", i+1, n, err, want)
		}
	}
	v = opened(t, s, young, &log)
	must(t, v.Check(t.Context()))
	again, err := start(v)
	must(t, err)
	if kidOf(t, sign(t, again)) != kidOf(t, token) {
		t.Error("another key signs after the rotation")
	}
	if _, err := again.Verify(token, typ); err != nil {
		t.Error(err)
	}
	after, err := s.SigningKeys(t.Context())
	must(t, err)
	for i, one := range after {
		if one.KeyID == before[i].KeyID || bytes.Equal(one.Sealed, before[i].Sealed) || one.ID != before[i].ID || one.State != before[i].State {
			t.Errorf("key %s: %s under %s", one.ID, one.State, one.KeyID)
		}
	}
	if strings.Contains(log.String(), `"level":"ERROR"`) {
		t.Errorf("log: %s", log.String())
	}
}

// SE-2: a signing key that lies in another row is told and left, and the others are sealed anew.
func TestResealPassesOverMovedKeys(t *testing.T) {
	b := newBench(t, sqlite(t))
	b.started()
	list, err := b.store.SigningKeys(t.Context())
	must(t, err)
	moved := list[0]
	moved.Sealed = list[1].Sealed
	must(t, b.store.Update(t.Context(), func(ctx context.Context, tx store.OAuthTx) error {
		if err := tx.DeleteSigningKey(ctx, moved.ID); err != nil {
			return err
		}
		return tx.CreateSigningKey(ctx, moved)
	}))
	n, err := b.vault.Reencrypt(t.Context())
	if n != 0 || err != nil {
		t.Fatalf("without a rotation: %d, %v", n, err)
	}
	must(t, envelope.RotateKeyFile(b.keyFile))
	n, err = b.vault.Reencrypt(t.Context())
	if n != 1 || fault.From(err).Reason != vault.ReasonUnreadable || !strings.Contains(b.log.String(), "sealed row does not open") {
		t.Errorf("sealed %d, %v; log %s", n, err, b.log.String())
	}
	for _, one := range list {
		if strings.Contains(b.log.String(), string(one.Sealed)) {
			t.Error("the log has a ciphertext")
		}
	}
	after, err := b.store.SigningKeys(t.Context())
	must(t, err)
	for _, one := range after {
		if one.ID == moved.ID && !bytes.Equal(one.Sealed, moved.Sealed) {
			t.Error("what did not open was changed")
		}
	}
}
