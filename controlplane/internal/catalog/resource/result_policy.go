// SPDX-License-Identifier: Apache-2.0

package resource

import "slices"

// ResultPolicy is a rule on the results of tools (G-33).
type ResultPolicy struct {
	Meta
	DisplayName   string            `json:"display_name,omitempty"`
	Tools         []string          `json:"tools,omitempty"`
	Servers       []string          `json:"servers,omitempty"`
	Gateways      []string          `json:"gateways,omitempty"`
	GatewayLabels map[string]string `json:"gateway_labels,omitempty"`
	When          string            `json:"when,omitempty"`
	Mark          ResultMark        `json:"mark,omitempty"`
	Redact        []string          `json:"redact,omitempty"`
	Reason        string            `json:"reason,omitempty"`
	Mode          PolicyMode        `json:"mode,omitempty"`
	Disabled      bool              `json:"disabled,omitempty"`
}

// ResultMark is what a result that a policy matches counts as.
type ResultMark string

// The marks of G-33.
const (
	MarkTrusted   ResultMark = "RESULT_MARK_TRUSTED"
	MarkUntrusted ResultMark = "RESULT_MARK_UNTRUSTED"
	MarkRedact    ResultMark = "RESULT_MARK_REDACT"
	MarkBlock     ResultMark = "RESULT_MARK_BLOCK"
)

// Kind returns [KindResultPolicy].
func (*ResultPolicy) Kind() Kind { return KindResultPolicy }

func (o *ResultPolicy) normalize() {
	slices.Sort(o.Tools)
	slices.Sort(o.Servers)
	slices.Sort(o.Gateways)
	unspecified(&o.Mark, "RESULT_MARK_UNSPECIFIED")
	unspecified(&o.Mode, "POLICY_MODE_UNSPECIFIED")
}
