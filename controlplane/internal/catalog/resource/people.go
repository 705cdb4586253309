// SPDX-License-Identifier: Apache-2.0

package resource

import "time"

// Role is what a user may administer; empty means MEMBER.
type Role string

// The roles.
const (
	RoleMember Role = "ROLE_MEMBER"
	RoleEditor Role = "ROLE_EDITOR"
	RoleAdmin  Role = "ROLE_ADMIN"
)

// User is a person. Name is the e-mail address in lower case.
type User struct {
	Meta
	DisplayName string     `json:"display_name,omitempty"`
	Role        Role       `json:"role,omitempty"`
	Deactivated bool       `json:"deactivated,omitempty"`
	Identities  []Identity `json:"identities,omitempty" field:"kept"`
	// Provisioning is what an identity provider says of the user over SCIM; nil if none does.
	Provisioning *Provisioning `json:"provisioning,omitempty" field:"output"`
	// EndTime is when the user was last deactivated: authservers end what the user had before, whenever they hear of it.
	EndTime time.Time `json:"end_time,omitzero" field:"output"`
}

// Deactivate shuts the user out at a time. EndTime never goes back, whatever the clock does.
func (u *User) Deactivate(now time.Time) {
	if next := u.EndTime.Add(time.Microsecond); now.Before(next) {
		now = next
	}
	u.Deactivated, u.EndTime = true, now.UTC().Truncate(time.Microsecond)
}

// Provisioning is what an identity provider says of a user or a team over SCIM. Name is the userName of a user and the
// displayName of a group. A user of whom it says Inactive is deactivated until it says something else.
type Provisioning struct {
	IdentityProvider string `json:"identity_provider,omitempty"`
	ExternalID       string `json:"external_id,omitempty"`
	Name             string `json:"name,omitempty"`
	Inactive         bool   `json:"inactive,omitempty"`
	Deleted          bool   `json:"deleted,omitempty"`
}

// Of reports whether it is an identity provider, by name, that says it. Nil is nobody's.
func (p *Provisioning) Of(provider string) bool { return p != nil && p.IdentityProvider == provider }

// Team is a group of users.
type Team struct {
	Meta
	DisplayName string       `json:"display_name,omitempty"`
	Members     []TeamMember `json:"members,omitempty"`
	// Provisioning is the group of an identity provider that the team is over SCIM; nil if it is none.
	Provisioning *Provisioning `json:"provisioning,omitempty" field:"output"`
}

// TeamMember is a user's place in a team. RoleAdmin manages the team; anything else is a plain member.
type TeamMember struct {
	User string `json:"user,omitempty"`
	Role Role   `json:"role,omitempty"`
}

// BearerToken is a static bearer token, without the token. TTL is input only and becomes ExpireTime. SHA256 is never
// filled in by the catalog: the stored form has the hash as its Lookup. PreviousSHA256 and PreviousExpireTime are of the token
// as it was before its last rotation (ST-6), without a time if it ended then; both are stored, and the hash is never shown.
type BearerToken struct {
	Meta
	DisplayName string    `json:"display_name,omitempty" field:"immutable"`
	Owner       *Owner    `json:"owner,omitempty" field:"immutable"`
	Gateways    []string  `json:"gateways,omitempty" field:"immutable"`
	AdminAPI    bool      `json:"admin_api,omitempty" field:"immutable"`
	Scopes      []string  `json:"scopes,omitempty" field:"immutable"`
	ExpireTime  time.Time `json:"expire_time,omitzero" field:"output"`
	Creator     string    `json:"creator,omitempty" field:"output"`
	LastUseTime time.Time `json:"last_use_time,omitzero" field:"output"`
	SHA256      []byte    `json:"sha256,omitempty" field:"output"`
	TTL         *Duration `json:"ttl,omitempty" field:"immutable"`

	PreviousSHA256     []byte    `json:"previous_sha256,omitempty" field:"output"`
	PreviousExpireTime time.Time `json:"previous_expire_time,omitzero" field:"output"`
}

// Visibility says who may see and use a resource. Exactly one is set.
type Visibility struct {
	Personal     *PersonalVisibility `json:"personal,omitempty" oneof:"kind"`
	Team         *TeamVisibility     `json:"team,omitempty" oneof:"kind"`
	Organization *struct{}           `json:"organization,omitempty" oneof:"kind"`
}

// PersonalVisibility restricts a resource to its owner, named by e-mail address.
type PersonalVisibility struct {
	Owner string `json:"owner,omitempty"`
}

// TeamVisibility restricts a resource to the members of teams, named.
type TeamVisibility struct {
	Teams []string `json:"teams,omitempty"`
}

// Owner names who owns a connection or a bearer token. Exactly one is set.
type Owner struct {
	User           string    `json:"user,omitempty" oneof:"kind"`
	Team           string    `json:"team,omitempty" oneof:"kind"`
	Organization   *struct{} `json:"organization,omitempty" oneof:"kind"`
	ServiceAccount string    `json:"service_account,omitempty" oneof:"kind"`
}
