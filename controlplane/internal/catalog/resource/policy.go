// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"slices"
	"time"
)

// Policy is a rule on tool calls (G-30).
type Policy struct {
	Meta
	DisplayName   string            `json:"display_name,omitempty"`
	Tools         []string          `json:"tools,omitempty"`
	Servers       []string          `json:"servers,omitempty"`
	Gateways      []string          `json:"gateways,omitempty"`
	GatewayLabels map[string]string `json:"gateway_labels,omitempty"`
	When          string            `json:"when,omitempty"`
	Action        PolicyAction      `json:"action,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	Mode          PolicyMode        `json:"mode,omitempty"`
	Disabled      bool              `json:"disabled,omitempty"`
	Approvers     *Approvers        `json:"approvers,omitempty"`
	ApprovalTTL   *Duration         `json:"approval_ttl,omitempty"`
}

// Approvers are who approves a call (G-34). Exactly one is set. Caller is the person who calls; Users are e-mail addresses.
type Approvers struct {
	Caller     *struct{}   `json:"caller,omitempty"`
	TeamAdmins *TeamAdmins `json:"team_admins,omitempty"`
	Users      []string    `json:"users,omitempty"`
}

// TeamAdmins are the admins of teams, by name; of none, of those of the caller.
type TeamAdmins struct {
	Teams []string `json:"teams,omitempty"`
}

// TTL is how long a call waits for its approvers.
func (o *Policy) TTL() time.Duration {
	if o.ApprovalTTL == nil {
		return defaultApprovalTTL
	}
	return time.Duration(*o.ApprovalTTL)
}

// PolicyAction is what happens to a call that a policy matches.
type PolicyAction string

// The actions of G-30.
const (
	PolicyAllow            PolicyAction = "POLICY_ACTION_ALLOW"
	PolicyBlock            PolicyAction = "POLICY_ACTION_BLOCK"
	PolicyBlockIfUntrusted PolicyAction = "POLICY_ACTION_BLOCK_IF_UNTRUSTED"
	PolicyRequireApproval  PolicyAction = "POLICY_ACTION_REQUIRE_APPROVAL"
)

// PolicyMode is whether a policy decides; empty means ENFORCE.
type PolicyMode string

// The modes of policies.
const (
	PolicyEnforce PolicyMode = "POLICY_MODE_ENFORCE"
	PolicyShadow  PolicyMode = "POLICY_MODE_SHADOW"
)

// DefaultAction is what happens to calls of a gateway that no policy matches; empty means ALLOW.
type DefaultAction string

// The default actions.
const (
	DefaultAllow DefaultAction = "DEFAULT_ACTION_ALLOW"
	DefaultBlock DefaultAction = "DEFAULT_ACTION_BLOCK"
)

// UntrustedContext is when the context of a gateway's calls is untrusted (G-33); empty is
// [ContextTrack].
type UntrustedContext string

// The modes of contexts.
const (
	ContextTrack           UntrustedContext = "UNTRUSTED_CONTEXT_TRACK"
	ContextAlwaysUntrusted UntrustedContext = "UNTRUSTED_CONTEXT_ALWAYS_UNTRUSTED"
	ContextNever           UntrustedContext = "UNTRUSTED_CONTEXT_NEVER"
)

// Kind returns [KindPolicy].
func (*Policy) Kind() Kind { return KindPolicy }

func (o *Policy) normalize() {
	slices.Sort(o.Tools)
	slices.Sort(o.Servers)
	slices.Sort(o.Gateways)
	unspecified(&o.Action, "POLICY_ACTION_UNSPECIFIED")
	unspecified(&o.Mode, "POLICY_MODE_UNSPECIFIED")
	if a := o.Approvers; a != nil {
		for i, u := range a.Users {
			a.Users[i] = lower(u)
		}
		slices.Sort(a.Users)
		if a.TeamAdmins != nil {
			slices.Sort(a.TeamAdmins.Teams)
		}
	}
}
