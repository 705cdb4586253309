// SPDX-License-Identifier: Apache-2.0

package envelope_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestCreateKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(path))
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o", info.Mode().Perm())
	}
	before, err := os.ReadFile(path)
	must(t, err)
	wantFault(t, envelope.CreateKeyFile(path), fault.Precondition, envelope.ReasonKeyFile) // never overwritten
	after, err := os.ReadFile(path)
	must(t, err)
	same(t, string(after), string(before))
	left, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(left) != 1 {
		t.Errorf("%d files are left in the directory, want 1", len(left))
	}
}

func TestRotateKeyFileKeepsTheOldKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(path))
	keys, err := envelope.OpenKeyFile(path)
	must(t, err)
	first, err := keys.Primary(t.Context())
	must(t, err)
	must(t, envelope.RotateKeyFile(path))
	second, err := keys.Primary(t.Context())
	must(t, err)
	if first == second {
		t.Error("the primary key did not change")
	}
	old, err := keys.Key(t.Context(), first)
	must(t, err)
	sealed, err := old.EncryptWithContext(t.Context(), []byte("x"), nil)
	must(t, err)
	young, err := keys.Key(t.Context(), second)
	must(t, err)
	if plain, err := young.DecryptWithContext(t.Context(), sealed, nil); err != nil || string(plain) != "x" {
		t.Errorf("what the old key sealed opens to %q (error %v)", plain, err)
	}
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o", info.Mode().Perm())
	}
	wantFault(t, envelope.RotateKeyFile(filepath.Join(t.TempDir(), "none")), fault.Precondition, envelope.ReasonKeyMissing)
}

// A file that goes bad under a running process does not take its keys away.
func TestKeyFileThatGoesBadIsNotTakenUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	must(t, envelope.CreateKeyFile(path))
	keys, err := envelope.OpenKeyFile(path)
	must(t, err)
	id, err := keys.Primary(t.Context())
	must(t, err)
	must(t, os.WriteFile(path, []byte("{"), 0o600))
	if _, err := keys.Key(t.Context(), id); err != nil {
		t.Errorf("the key in use is gone: %v", err)
	}
	_, err = keys.Key(t.Context(), "local/1")
	wantFault(t, err, fault.Precondition, envelope.ReasonKeyMissing)
	if !strings.Contains(err.Error(), "damaged") {
		t.Errorf("the error does not tell why: %v", err)
	}
}

func TestOpenKeyFileRefusals(t *testing.T) {
	dir := t.TempDir()
	good := filepath.Join(dir, "good")
	must(t, envelope.CreateKeyFile(good))
	raw, err := os.ReadFile(good)
	must(t, err)
	var set map[string]any
	must(t, json.Unmarshal(raw, &set))
	set["primaryKeyId"] = 1
	noPrimary, err := json.Marshal(set)
	must(t, err)
	for _, c := range []struct {
		name, content, reason, says string
		mode                        os.FileMode
	}{
		{"group may read", string(raw), envelope.ReasonKeyFile, "0600", 0o640},
		{"all may read", string(raw), envelope.ReasonKeyFile, "0600", 0o604},
		{"empty", "", envelope.ReasonKeyFile, "no Tink keyset", 0o600},
		{"cut", string(raw[:len(raw)/2]), envelope.ReasonKeyFile, "no Tink keyset", 0o600},
		{"no keyset", `{"a":1}`, envelope.ReasonKeyFile, "no Tink keyset", 0o600},
		{"no keys", `{"primaryKeyId":1,"key":[]}`, envelope.ReasonKeyFile, "no Tink keyset", 0o600},
		{"primary key missing", string(noPrimary), envelope.ReasonKeyFile, "no Tink keyset", 0o600},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(dir, "bad")
			must(t, os.WriteFile(path, []byte(c.content), 0o600))
			must(t, os.Chmod(path, c.mode))
			_, err := envelope.OpenKeyFile(path)
			wantFault(t, err, fault.Precondition, c.reason)
			if !strings.Contains(fault.From(err).Public, c.says) {
				t.Errorf("public text is %q, want …%s…", fault.From(err).Public, c.says)
			}
			if value := keyValue(t, raw); strings.Contains(err.Error(), value) {
				t.Error("the error shows the key")
			}
			must(t, os.Remove(path))
		})
	}
	t.Run("missing", func(t *testing.T) {
		_, err := envelope.OpenKeyFile(filepath.Join(dir, "none"))
		wantFault(t, err, fault.Precondition, envelope.ReasonKeyMissing)
	})
	t.Run("a directory", func(t *testing.T) {
		sub := filepath.Join(dir, "sub")
		must(t, os.Mkdir(sub, 0o700))
		_, err := envelope.OpenKeyFile(sub)
		wantFault(t, err, fault.Precondition, envelope.ReasonKeyFile)
	})
}

func keyValue(t *testing.T, raw []byte) string {
	t.Helper()
	var set struct {
		Key []struct {
			KeyData struct{ Value string } `json:"keyData"`
		} `json:"key"`
	}
	must(t, json.Unmarshal(raw, &set))
	return set.Key[0].KeyData.Value
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	if f := fault.From(err); f == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("error is %v, want %v %s", err, kind, reason)
	}
}
