// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/sdk/kit/envelope"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// grace is how long a version stays that nobody commits (architecture.md §3).
	grace = time.Hour
	// keepNewest versions of a connection always stay: the committed one, and one that is being committed.
	keepNewest = 2
	// mostVersions bounds what a connection may pile up when no use of it proves anything to be garbage.
	mostVersions = 50
	// touchEvery is how exactly the last use of a version is known; it keeps reads from becoming writes.
	touchEvery = 10 * time.Minute

	versionBytes = 16
)

// Secret is a fixed set of request headers and environment variables, name to value, the secret of an OAuth client, or a grant
// of an upstream authorization server.
type Secret struct {
	Headers, Env map[string]obs.Secret
	ClientSecret obs.Secret
	Grant        obs.Secret // as the room upstream encodes it; unlike the rest it is renewed in place, see [Vault.Replace]
}

// Config is what a Vault needs. Now may be nil, which means time.Now.
type Config struct {
	Secrets store.Secrets
	KMS     envelope.KMS
	Log     *slog.Logger
	Now     func() time.Time
}

// Vault seals and opens secrets. It is safe for concurrent use.
type Vault struct {
	secrets store.Secrets
	kms     envelope.KMS
	log     *slog.Logger
	now     func() time.Time
}

// New returns a vault on its parts. It reads nothing: see [Vault.Check].
func New(c Config) (*Vault, error) {
	if c.Secrets == nil || c.KMS == nil || c.Log == nil {
		return nil, errors.New("a vault needs a store, a KMS and a log")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Vault{secrets: c.Secrets, kms: c.KMS, log: c.Log, now: c.Now}, nil
}

// Check returns an error unless every key that stored secrets and private signing keys need is there: Precondition
// VAULT_KEY_MISSING, naming the missing ones. The authserver does not start without it (SE-3).
func (v *Vault) Check(ctx context.Context) error {
	if _, err := v.kms.Primary(ctx); err != nil {
		return fmt.Errorf("find the primary key: %w", err)
	}
	ids, err := v.secrets.SecretKeyIDs(ctx)
	if err != nil {
		return err
	}
	var missing []string
	for _, id := range ids {
		_, err := v.kms.Key(ctx, id)
		switch {
		case err == nil:
		case fault.From(err).Reason == envelope.ReasonKeyMissing:
			missing = append(missing, id)
		default:
			return fmt.Errorf("find key %s: %w", id, err)
		}
	}
	if len(missing) > 0 {
		return envelope.Missing(missing...)
	}
	return nil
}

// Put seals a secret as a new version of a connection's credential and returns its reference, "v_" and 32 hexadecimal
// digits. A secret that HTTP or a process could not carry is Invalid CREDENTIAL_INVALID, with the names (never the values)
// in Fields.
func (v *Vault) Put(ctx context.Context, connection string, s Secret) (version string, err error) {
	if err := s.Check(); err != nil {
		return "", err
	}
	id := make([]byte, versionBytes)
	_, _ = rand.Read(id) // it never fails: crypto/rand ends the process instead
	version = "v_" + hex.EncodeToString(id)
	return version, v.put(ctx, connection, version, s)
}

func (v *Vault) put(ctx context.Context, connection, version string, s Secret) error {
	plain, err := s.encode()
	if err != nil {
		return err
	}
	defer clear(plain)
	n := store.Secret{Connection: connection, Version: version, CreateTime: v.now()}
	if n.KeyID, n.Sealed, err = envelope.Seal(ctx, v.kms, cellOf(n), plain); err != nil {
		return err
	}
	return v.secrets.PutSecret(ctx, n)
}

// Resolve opens one version of a connection's credential. The faults are Precondition CREDENTIAL_MISSING, and Precondition
// CREDENTIAL_UNREADABLE for one that was changed, moved from another row, or whose key is gone.
func (v *Vault) Resolve(ctx context.Context, connection, version string) (Secret, error) {
	h, err := v.Hold(ctx, connection, version)
	return h.Secret, err
}

// read returns a version as it is stored.
func (v *Vault) read(ctx context.Context, connection, version string) (store.Secret, error) {
	n, err := v.secrets.Secret(ctx, connection, version)
	if err != nil && isMissing(err) {
		return store.Secret{}, fault.New(fault.Precondition, ReasonMissing,
			"The connection has no stored credential of this version: store its secret anew.").Because(err)
	}
	return n, err
}

func isMissing(err error) bool { return fault.From(err).Reason == store.ReasonSecretMissing }

func isTaken(err error) bool { return err != nil && fault.From(err).Reason == store.ReasonSecretExists }

// Delete removes every version of a connection's credential and returns how many there were. It is idempotent.
func (v *Vault) Delete(ctx context.Context, connection string) (int, error) {
	return v.secrets.DeleteSecrets(ctx, connection)
}

// Collect removes the versions that nobody can refer to any more: older than an hour, not among the newest two of their
// connection, and proven unused by the use of another version. It returns how many it removed.
func (v *Vault) Collect(ctx context.Context) (int, error) {
	return v.secrets.CollectSecrets(ctx, store.Collection{
		Before: v.now().Add(-grace), Keep: keepNewest, Settled: grace, Most: mostVersions,
	})
}

func (v *Vault) open(ctx context.Context, n store.Secret) (Secret, error) {
	plain, err := v.unseal(ctx, n)
	if err != nil {
		return Secret{}, err
	}
	defer clear(plain)
	s, err := decode(plain)
	if err != nil {
		return Secret{}, unreadable(err)
	}
	return s, nil
}

// unseal returns the plain form of a stored secret; the caller overwrites it after use.
func (v *Vault) unseal(ctx context.Context, n store.Secret) ([]byte, error) {
	plain, err := envelope.Open(ctx, v.kms, cellOf(n), n.KeyID, n.Sealed)
	if err == nil {
		return plain, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("open a secret: %w", errors.Join(ctx.Err(), err))
	}
	if fault.KindOf(err) == fault.Unavailable { // a KMS elsewhere that cannot be reached says nothing about the secret
		return nil, err
	}
	// SE-2: a row that does not open is a damaged or tampered database, or a lost key.
	v.log.ErrorContext(ctx, "stored secret does not open",
		obs.AttrConnection, n.Connection, obs.AttrVersion, n.Version, obs.AttrError, err.Error())
	return nil, unreadable(err)
}

// touch notes the use of a version, for Collect. Failing to is no reason to fail a call.
func (v *Vault) touch(ctx context.Context, n store.Secret) {
	now := v.now()
	if now.Sub(n.ResolveTime) < touchEvery {
		return
	}
	if err := v.secrets.TouchSecret(ctx, n.Connection, n.Version, now); err != nil {
		v.log.WarnContext(ctx, "use of a secret not noted", obs.AttrConnection, n.Connection, obs.AttrError, err.Error())
	}
}

func cellOf(n store.Secret) envelope.Cell {
	return envelope.Cell{Table: "secrets", Row: []string{n.Connection, n.Version}, Column: "sealed"}
}

func unreadable(cause error) error {
	return fault.New(fault.Precondition, ReasonUnreadable,
		"The connection's stored credential cannot be opened: store its secret anew.").Because(cause)
}

// stored is the plain form of a secret inside a ciphertext.
type stored struct {
	Headers      map[string]string `json:"headers,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
	ClientSecret string            `json:"client_secret,omitempty"`
	Grant        string            `json:"grant,omitempty"`
}

func (s Secret) encode() ([]byte, error) {
	b, err := json.Marshal(stored{reveal(s.Headers), reveal(s.Env), s.ClientSecret.Reveal(), s.Grant.Reveal()}) //nolint:gosec // it is sealed next
	if err != nil {
		return nil, errors.New("encode a secret") // the encoder's error could quote it
	}
	return b, nil
}

func decode(plain []byte) (Secret, error) {
	var s stored
	if err := json.Unmarshal(plain, &s); err != nil {
		return Secret{}, errors.New("decode a secret: its form is unknown") // the decoder's error could quote it
	}
	return Secret{Headers: hide(s.Headers), Env: hide(s.Env), ClientSecret: obs.Secret(s.ClientSecret), Grant: obs.Secret(s.Grant)}, nil
}

func reveal(m map[string]obs.Secret) map[string]string {
	r := make(map[string]string, len(m))
	for k, s := range m {
		r[k] = s.Reveal()
	}
	return r
}

func hide(m map[string]string) map[string]obs.Secret {
	r := make(map[string]obs.Secret, len(m))
	for k, s := range m {
		r[k] = obs.Secret(s)
	}
	return r
}

// names returns the names of m, sorted, so that errors come in one order.
func names(m map[string]obs.Secret) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}
