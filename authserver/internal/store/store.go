// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of a Store.
const (
	// ReasonSecretMissing: there is no such version of a connection's secret (NotFound).
	ReasonSecretMissing = "SECRET_VERSION_MISSING"
	// ReasonSecretExists: the version is taken (AlreadyExists).
	ReasonSecretExists = "SECRET_VERSION_EXISTS"
	// ReasonUnavailable: the database cannot be reached or is too busy (Unavailable).
	ReasonUnavailable = "STORE_UNAVAILABLE"
	// ReasonForeign: the database is not the authserver's, or was written by a newer release (Precondition).
	ReasonForeign = "STORE_NOT_USABLE"
)

// Secret is one version of a connection's credential as it lies in the database.
type Secret struct {
	Connection string    // uid of the connection
	Version    string    // reference, unique within the connection
	KeyID      string    // of the key that sealed it
	Sealed     []byte    // ciphertext, bound to Connection and Version
	CreateTime time.Time // to the microsecond, UTC
	// ResolveTime is when a node last asked for this version, zero if none did; see [Secrets.TouchSecret].
	ResolveTime time.Time
}

// The place that the ciphertext of private signing keys is bound to; its row is the key's identifier.
const (
	SigningKeyTable  = "signing_keys"
	SigningKeyColumn = "sealed"
)

// SealedRow is a value that a room keeps in a table of its own, sealed by the vault, with the place it is bound to.
type SealedRow struct {
	Table, Row, Column string
	KeyID              string // of the key that sealed it
	Sealed             []byte
}

// Collection says which versions are garbage: those that nobody can refer to any more.
type Collection struct {
	// Before is the end of grace: only versions created and last resolved before it may go.
	Before time.Time
	// Keep is how many of the newest versions of a connection always stay.
	Keep int
	// Settled is how much later than a version's creation another version must have been resolved to prove that the
	// first one is not, or no longer, the committed one.
	Settled time.Duration
	// Most is how many versions a connection may have even if nothing proves the older ones to be garbage.
	Most int
}

// Secrets keeps sealed secrets. It is safe for concurrent use by several processes.
type Secrets interface {
	// PutSecret stores a new version. A taken one is AlreadyExists, SECRET_VERSION_EXISTS.
	PutSecret(ctx context.Context, s Secret) error
	// Secret returns one version, NotFound SECRET_VERSION_MISSING if there is none.
	Secret(ctx context.Context, connection, version string) (Secret, error)
	// TouchSecret notes that a version was resolved at a time; a version that is gone is no error.
	TouchSecret(ctx context.Context, connection, version string, at time.Time) error
	// DeleteSecrets removes every version of a connection and returns how many there were.
	DeleteSecrets(ctx context.Context, connection string) (int, error)
	// SecretConnections returns up to limit of what secrets are stored for whose name begins with a text, in order, after the given
	// one; "" starts.
	SecretConnections(ctx context.Context, prefix, after string, limit int) ([]string, error)
	// CollectSecrets removes garbage and returns how many versions it removed.
	CollectSecrets(ctx context.Context, c Collection) (int, error)
	// SecretsNotUnder returns up to limit secrets that another key than keyID sealed, in (connection, version) order,
	// after the given one; ("", "") starts.
	SecretsNotUnder(ctx context.Context, keyID, afterConnection, afterVersion string, limit int) ([]Secret, error)
	// ReplaceSecret replaces the ciphertext of a version if it is still old, and tells whether it was.
	ReplaceSecret(ctx context.Context, s Secret, old []byte) (bool, error)
	// LeaseSecret gives a version to one process until a time, if nobody has it at now, and tells whether it did. It changes
	// nothing else: whoever renews what is in it asks first (UP-5).
	LeaseSecret(ctx context.Context, connection, version string, now, until time.Time) (bool, error)
	// EndLease gives a version back.
	EndLease(ctx context.Context, connection, version string) error
	// SecretsOf returns every version of a connection, the oldest first. In a transaction nobody changes them until its end.
	SecretsOf(ctx context.Context, connection string) ([]Secret, error)
	// DueSecrets returns up to limit versions of connections whose names begin with prefix and that nobody has leased at now,
	// the oldest first.
	DueSecrets(ctx context.Context, prefix string, now time.Time, limit int) ([]Secret, error)
	// SealedRows returns the sealed values of other tables, which are the private signing keys, that another key than
	// keyID sealed.
	SealedRows(ctx context.Context, keyID string) ([]SealedRow, error)
	// ResealRow replaces the ciphertext of n if it is still the one sealed under oldKeyID, and tells whether it was.
	ResealRow(ctx context.Context, n SealedRow, oldKeyID string) (bool, error)
	// SecretKeyIDs returns the ids of all keys that sealed something stored, secrets and private signing keys, sorted.
	SecretKeyIDs(ctx context.Context) ([]string, error)
}

// Store is everything the authserver keeps. Errors are faults: Unavailable STORE_UNAVAILABLE when the database cannot be
// reached, and those of each method.
type Store interface {
	Secrets
	OAuth
	// Check returns an error while the database cannot be used; it is meant for readiness.
	Check(ctx context.Context) error
	// Close lets go of the database.
	Close() error
}

// SecretMissing returns the fault of a version that is not stored.
func SecretMissing() *fault.Fault {
	return fault.New(fault.NotFound, ReasonSecretMissing, "There is no such version of the connection's secret.")
}

// SecretExists returns the fault of a version that is already stored.
func SecretExists() *fault.Fault {
	return fault.New(fault.AlreadyExists, ReasonSecretExists, "This version of the connection's secret is already stored.")
}
