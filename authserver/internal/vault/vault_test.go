// SPDX-License-Identifier: Apache-2.0

package vault_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/sqlstore"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const canary = "canary-5f0c-never-in-a-log"

// bench is a vault on a real store and key file.
type bench struct {
	*vault.Vault
	store   *sqlstore.Store
	keyFile string
	log     *bytes.Buffer
	now     time.Time
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{
		keyFile: filepath.Join(t.TempDir(), "keyset.json"), log: new(bytes.Buffer),
		now: time.Date(2026, 7, 28, 12, 0, 0, 0, time.UTC),
	}
	must(t, envelope.CreateKeyFile(b.keyFile))
	s, err := sqlstore.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "a.db"))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	b.store = s
	b.Vault = b.open(t, b.keyFile)
	return b
}

// open returns a vault on the same store, as another process would have it.
func (b *bench) open(t testing.TB, keyFile string) *vault.Vault {
	t.Helper()
	keys, err := envelope.OpenKeyFile(keyFile)
	must(t, err)
	v, err := vault.New(vault.Config{
		Secrets: b.store, KMS: keys, Now: func() time.Time { return b.now },
		Log: slog.New(slog.NewJSONHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	must(t, err)
	return v
}

func sample() vault.Secret {
	return vault.Secret{
		Headers:      map[string]obs.Secret{"Authorization": "Bearer " + canary, "X-Tab": "a\tb", "X-Empty": ""},
		Env:          map[string]obs.Secret{"API_KEY": canary, "PEM": "-----BEGIN\nline\n", "ÜMLAUT": "ß"},
		ClientSecret: "client-" + canary,
	}
}

func TestPutAndResolve(t *testing.T) {
	b := newBench(t)
	first, err := b.Put(t.Context(), "c1", sample())
	must(t, err)
	other := vault.Secret{Headers: map[string]obs.Secret{"X-Key": "2"}, Env: map[string]obs.Secret{}}
	second, err := b.Put(t.Context(), "c1", other)
	must(t, err)
	if first == second || !strings.HasPrefix(first, "v_") || len(first) != 34 {
		t.Errorf("versions are %q and %q", first, second)
	}
	for version, want := range map[string]vault.Secret{first: sample(), second: other} {
		got, err := b.Resolve(t.Context(), "c1", version)
		must(t, err)
		same(t, reveal(got), reveal(want))
	}
	n, err := b.Delete(t.Context(), "c1")
	must(t, err)
	if n != 2 {
		t.Errorf("deleted %d versions, want 2", n)
	}
	_, err = b.Resolve(t.Context(), "c1", first)
	wantFault(t, err, fault.Precondition, vault.ReasonMissing)
	noCanary(t, "the log", b.log.String())
}

// SE-2: what lies in the database is ciphertext, bound to its row.
func TestStoredFormIsSealedAndBoundToItsRow(t *testing.T) {
	b := newBench(t)
	version, err := b.Put(t.Context(), "c1", sample())
	must(t, err)
	row, err := b.store.Secret(t.Context(), "c1", version)
	must(t, err)
	noCanary(t, "the sealed column", string(row.Sealed))
	noCanary(t, "the sealed column", string(bytes.ToLower(row.Sealed)))

	flip := func(i int) func(*store.Secret) {
		return func(s *store.Secret) {
			s.Sealed = bytes.Clone(s.Sealed)
			s.Sealed[(i+len(s.Sealed))%len(s.Sealed)] ^= 1
		}
	}
	for _, c := range []struct {
		name   string
		change func(*store.Secret)
	}{
		{"copied to another connection", func(s *store.Secret) { s.Connection = "c2" }},
		{"copied to another version", func(s *store.Secret) { s.Version = "v_other" }},
		{"moved between names of one length", func(s *store.Secret) { s.Connection, s.Version = "c1v", version[1:] }},
		{"first byte flipped", flip(0)},
		{"wrapped key flipped", flip(20)},
		{"last byte flipped", flip(-1)},
		{"cut short", func(s *store.Secret) { s.Sealed = s.Sealed[:len(s.Sealed)-1] }},
		{"cut to nothing", func(s *store.Secret) { s.Sealed = []byte{} }},
		{"plain text", func(s *store.Secret) { s.Sealed = []byte(`{"headers":{"X":"y"}}`) }},
		{"another key id", func(s *store.Secret) { s.KeyID = "local/1" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b.log.Reset()
			changed := row
			c.change(&changed)
			if changed.Connection == row.Connection && changed.Version == row.Version {
				_, err := b.store.DeleteSecrets(t.Context(), row.Connection)
				must(t, err)
			}
			must(t, b.store.PutSecret(t.Context(), changed))
			_, err := b.Resolve(t.Context(), changed.Connection, changed.Version)
			wantFault(t, err, fault.Precondition, vault.ReasonUnreadable)
			if !strings.Contains(b.log.String(), `"level":"ERROR"`) {
				t.Errorf("no alert in the log: %s", b.log)
			}
			noCanary(t, "the log", b.log.String())
			noCanary(t, "the error", err.Error())
		})
	}
}

func TestPutRefusals(t *testing.T) {
	b := newBench(t)
	header := func(name, value string) vault.Secret {
		return vault.Secret{Headers: map[string]obs.Secret{name: obs.Secret(value)}}
	}
	env := func(name, value string) vault.Secret {
		return vault.Secret{Env: map[string]obs.Secret{name: obs.Secret(value)}}
	}
	client := func(text string) vault.Secret { return vault.Secret{ClientSecret: obs.Secret(text)} }
	for _, c := range []struct {
		name   string
		secret vault.Secret
		path   string
	}{
		{"client secret with a line break", client(canary + "\nx"), "secret.client_secret"},
		{"client secret beyond ASCII", client(canary + "ä"), "secret.client_secret"},
		{"client secret too long", client(strings.Repeat("x", 4<<10+1)), "secret.client_secret"},
		{"private key with a tab", client("-----BEGIN PRIVATE KEY-----\n\t" + canary), "secret.client_secret"},
		{"private key too long", client("-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("\n", 4<<10)), "secret.client_secret"},
		{"nothing", vault.Secret{}, "secret"},
		{"empty header name", header("", "x"), "secret.headers[]"},
		{"header name with a space", header("A B", "x"), "secret.headers[A B]"},
		{"header name with a colon", header("A:", "x"), "secret.headers[A:]"},
		{"header name with a line break", header("A\r\nB", "x"), "secret.headers[A\r\nB]"},
		{"header name beyond ASCII", header("Ä", "x"), "secret.headers[Ä]"},
		{"header value with a line break", header("A", canary+"\r\nB: c"), "secret.headers[A]"},
		{"header value with NUL", header("A", canary+"\x00"), "secret.headers[A]"},
		{"header value with DEL", header("A", canary+"\x7f"), "secret.headers[A]"},
		{"header value not UTF-8", header("A", canary+"\xff"), "secret.headers[A]"},
		{"header value with a space at the end", header("A", canary+" "), "secret.headers[A]"},
		{"header value too long", header("A", strings.Repeat("x", 16<<10+1)), "secret.headers[A]"},
		{"empty variable name", env("", "x"), "secret.env[]"},
		{"variable name with =", env("A=B", "x"), "secret.env[A=B]"},
		{"variable name with NUL", env("A\x00", "x"), "secret.env[A\x00]"},
		{"variable value with NUL", env("A", canary+"\x00"), "secret.env[A]"},
		{"variable value not UTF-8", env("A", canary+"\xff"), "secret.env[A]"},
		{"variable value too long", env("A", strings.Repeat("x", 64<<10+1)), "secret.env[A]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.Put(t.Context(), "c1", c.secret)
			wantFault(t, err, fault.Invalid, vault.ReasonInvalid)
			f := fault.From(err)
			if len(f.Fields) != 1 || f.Fields[0].Path != c.path {
				t.Errorf("fields are %v, want one at %s", f.Fields, c.path)
			}
			noCanary(t, "the fault", err.Error()+f.Fields[0].Problem)
		})
	}
	all, err := b.store.SecretKeyIDs(t.Context())
	must(t, err)
	if len(all) != 0 {
		t.Error("a refused secret was stored")
	}
}

// SE-3: no start without the keys that stored secrets need, and never a fallback.
func TestCheckRefusesMissingKeys(t *testing.T) {
	b := newBench(t)
	empty := filepath.Join(t.TempDir(), "other.json")
	must(t, envelope.CreateKeyFile(empty))
	if err := b.open(t, empty).Check(t.Context()); err != nil {
		t.Errorf("an empty store needs no particular key: %v", err)
	}
	version, err := b.Put(t.Context(), "c1", sample())
	must(t, err)
	must(t, b.Check(t.Context()))

	stranger := b.open(t, empty)
	row, err := b.store.Secret(t.Context(), "c1", version)
	must(t, err)
	err = stranger.Check(t.Context())
	wantFault(t, err, fault.Precondition, envelope.ReasonKeyMissing)
	if !strings.Contains(fault.From(err).Public, row.KeyID) {
		t.Errorf("the fault does not name the key %s: %v", row.KeyID, err)
	}
	_, err = stranger.Resolve(t.Context(), "c1", version)
	wantFault(t, err, fault.Precondition, vault.ReasonUnreadable)
}

func TestRotationSealsAnewWhileInUse(t *testing.T) {
	b := newBench(t)
	versions := map[string]string{}
	for _, connection := range []string{"c1", "c2", "c3"} {
		v, err := b.Put(t.Context(), connection, sample())
		must(t, err)
		versions[connection] = v
	}
	before, err := b.store.SecretKeyIDs(t.Context())
	must(t, err)

	must(t, envelope.RotateKeyFile(b.keyFile)) // the open vault takes it up
	v4, err := b.Put(t.Context(), "c4", sample())
	must(t, err)
	versions["c4"] = v4
	n, err := b.Reencrypt(t.Context())
	must(t, err)
	if n != 3 {
		t.Errorf("sealed %d anew, want 3", n)
	}
	if n, err := b.Reencrypt(t.Context()); n != 0 || err != nil {
		t.Errorf("a second run sealed %d (error %v)", n, err)
	}
	after, err := b.store.SecretKeyIDs(t.Context())
	must(t, err)
	if len(after) != 1 || after[0] == before[0] {
		t.Errorf("keys in use: %v before, %v after", before, after)
	}
	for connection, version := range versions {
		got, err := b.Resolve(t.Context(), connection, version)
		must(t, err)
		same(t, reveal(got), reveal(sample()))
	}
}

func TestReencryptPassesOverWhatDoesNotOpen(t *testing.T) {
	b := newBench(t)
	for _, connection := range []string{"a", "c"} {
		_, err := b.Put(t.Context(), connection, sample())
		must(t, err)
	}
	must(t, b.store.PutSecret(t.Context(), store.Secret{Connection: "b", Version: "v_bad", KeyID: "local/1", Sealed: []byte("x")}))
	must(t, envelope.RotateKeyFile(b.keyFile))
	n, err := b.Reencrypt(t.Context())
	if n != 2 {
		t.Errorf("sealed %d anew, want 2", n)
	}
	wantFault(t, err, fault.Precondition, vault.ReasonUnreadable)
	row, err := b.store.Secret(t.Context(), "b", "v_bad")
	must(t, err)
	if string(row.Sealed) != "x" {
		t.Error("what did not open was changed")
	}
}

func TestCollectKnowsWhatIsInUse(t *testing.T) {
	b := newBench(t)
	var versions []string
	for range 4 { // a commits; the others are typed in vain, within a minute
		v, err := b.Put(t.Context(), "c1", sample())
		must(t, err)
		versions = append(versions, v)
		b.now = b.now.Add(20 * time.Second)
	}
	count := func(want int) {
		t.Helper()
		n, err := b.Collect(t.Context())
		must(t, err)
		if n != want {
			t.Errorf("collected %d at %v, want %d", n, b.now, want)
		}
	}
	b.now = b.now.Add(3 * time.Hour)
	count(0) // nothing tells which of the four was committed
	_, err := b.Resolve(t.Context(), "c1", versions[0])
	must(t, err)
	count(1) // versions[1]; the newest two stay
	for i, wantErr := range []bool{false, true, false, false} {
		if _, err := b.Resolve(t.Context(), "c1", versions[i]); (err != nil) != wantErr {
			t.Errorf("version %d: error %v", i, err)
		}
	}
}

// Run works at once and then again and again, and ends with its context.
func TestRunKeepsTheVaultInOrder(t *testing.T) {
	b := newBench(t)
	for range 3 {
		v, err := b.Put(t.Context(), "c1", sample())
		must(t, err)
		b.now = b.now.Add(2 * time.Hour)
		_, err = b.Resolve(t.Context(), "c1", v)
		must(t, err)
	}
	b.now = b.now.Add(2 * time.Hour)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- b.Run(ctx) }()
		synctest.Wait()
		if n, err := b.store.SecretsNotUnder(t.Context(), "", "", "", 10); err != nil || len(n) != 2 {
			t.Errorf("%d versions are left after the first round (error %v), want 2", len(n), err)
		}
		must(t, envelope.RotateKeyFile(b.keyFile))
		time.Sleep(15*time.Minute + time.Second)
		synctest.Wait()
		cancel()
		must(t, <-ended)
	})
	if !strings.Contains(b.log.String(), `"secrets sealed under the primary key","count":2`) {
		t.Errorf("nothing was sealed anew in the second round: %s", b.log)
	}
}

func TestNewNeedsItsParts(t *testing.T) {
	if _, err := vault.New(vault.Config{}); err == nil {
		t.Error("a vault without parts was made")
	}
}

func reveal(s vault.Secret) map[string]string {
	all := map[string]string{}
	for k, v := range s.Headers {
		all["header "+k] = v.Reveal()
	}
	for k, v := range s.Env {
		all["env "+k] = v.Reveal()
	}
	return all
}

func noCanary(t *testing.T, where, text string) {
	t.Helper()
	if strings.Contains(text, canary) {
		t.Errorf("the secret is in %s: %s", where, text)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t *testing.T, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("differs (-want +got):\n%s", diff)
	}
}

func wantFault(t *testing.T, err error, kind fault.Kind, reason string) {
	t.Helper()
	f := fault.From(err)
	if f == nil || f.Kind != kind || f.Reason != reason {
		t.Errorf("error is %v, want %v %s", err, kind, reason)
	}
}
