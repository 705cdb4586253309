// SPDX-License-Identifier: Apache-2.0

package ident

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"
)

// Kind says what sort of principal it is.
type Kind string

// The kinds of principals.
const (
	// KindUser is a person.
	KindUser Kind = "user"
	// KindTeam is the holder of a team token: the team, no person.
	KindTeam Kind = "team"
	// KindOrganization is the holder of an organisation token.
	KindOrganization Kind = "organization"
	// KindServiceAccount is a machine account.
	KindServiceAccount Kind = "service_account"
)

// OrganizationUID is the UID of the one principal of [KindOrganization].
const OrganizationUID = "organization"

// hashBytes is the length of [Principal.Hash] before hexadecimal: 64 bits
// keep a billion principals apart in a log, and are short enough to read.
const hashBytes = 8

// Principal is the authenticated caller of a request. It is a value: copies
// are independent but for Scopes and Claims, which nobody writes to.
//
// UID is never empty; for an organisation token it is [OrganizationUID]. Name
// is an e-mail address, a team's or a service account's name; it is personal
// data and is never logged. Method says how the caller proved itself, for
// example "bearer_token". TokenID and ClientID are empty where the method has
// none. Expires is the end of the token; zero means never. Claims are those of
// the token, a raw JSON object that nobody writes to, where it has some and a
// policy reads them; nil otherwise. They are personal data and never logged.
type Principal struct {
	Kind              Kind
	UID               string
	Name              string
	Method            string
	TokenID, ClientID string
	Scopes            []string
	Expires           time.Time
	Claims            []byte
}

// Key returns "<kind>:<uid>", for example "user:01J9Z3…". It is stable, so it
// is good for maps, session ownership and cache keys.
func (p Principal) Key() string { return string(p.Kind) + ":" + p.UID }

// Hash returns the first 64 bits of the SHA-256 of [Principal.Key] as 16
// lower-case hexadecimal digits. Logs and audit name a principal by it.
func (p Principal) Hash() string {
	sum := sha256.Sum256([]byte(p.Key()))
	return hex.EncodeToString(sum[:hashBytes])
}

// String returns "<kind>#<hash>", which is safe to print: formatting a
// Principal never shows its name or token.
func (p Principal) String() string { return string(p.Kind) + "#" + p.Hash() }

// GoString is [Principal.String], so that %#v is safe too.
func (p Principal) GoString() string { return p.String() }

// LogValue is [Principal.String], so that a Principal in a log attribute is
// safe too.
func (p Principal) LogValue() slog.Value { return slog.StringValue(p.String()) }
