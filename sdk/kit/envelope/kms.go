// SPDX-License-Identifier: Apache-2.0

package envelope

import (
	"context"
	"strings"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of the faults of this package.
const (
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

// Missing is Precondition VAULT_KEY_MISSING about keys that something stored needs.
func Missing(ids ...string) *fault.Fault {
	return fault.Newf(fault.Precondition, ReasonKeyMissing,
		"Stored secrets need keys that are not there: %s. Put the right key file back; without it they cannot be read.", strings.Join(ids, ", "))
}
