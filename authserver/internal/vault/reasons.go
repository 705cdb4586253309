// SPDX-License-Identifier: Apache-2.0

package vault

// Reasons of the faults of this room.
const (
	// ReasonMissing: the connection has no such secret (Precondition).
	ReasonMissing = "CREDENTIAL_MISSING"
	// ReasonUnreadable: the stored secret does not open; somebody must act (Precondition).
	ReasonUnreadable = "CREDENTIAL_UNREADABLE"
	// ReasonInvalid: the secret cannot be one (Invalid).
	ReasonInvalid = "CREDENTIAL_INVALID"
)
