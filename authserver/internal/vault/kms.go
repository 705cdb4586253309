// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"context"

	"github.com/tink-crypto/tink-go/v2/tink"
)

// Reasons of the faults of this room.
const (
	// ReasonMissing: the connection has no such secret (Precondition).
	ReasonMissing = "CREDENTIAL_MISSING"
	// ReasonUnreadable: the stored secret does not open; somebody must act (Precondition).
	ReasonUnreadable = "CREDENTIAL_UNREADABLE"
	// ReasonInvalid: the secret cannot be one (Invalid).
	ReasonInvalid = "CREDENTIAL_INVALID"
	// ReasonKeyMissing: a key that stored secrets need is not there (Precondition).
	ReasonKeyMissing = "VAULT_KEY_MISSING"
	// ReasonKeyFile: the key file cannot be used as it is (Precondition).
	ReasonKeyFile = "VAULT_KEY_FILE_INVALID"
)

// KMS holds the keys that seal data keys: a key file here, or a service of a cloud or a Vault. Ids are stable and say
// where the key is ("local/1234567890"); they are stored beside what the key sealed. It is safe for concurrent use.
type KMS interface {
	// Primary returns the id of the key that seals from now on.
	Primary(ctx context.Context) (string, error)
	// Key returns the key with an id, Precondition VAULT_KEY_MISSING if there is none. It may be one that only opens.
	Key(ctx context.Context, id string) (tink.AEADWithContext, error)
}
