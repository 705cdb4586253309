// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func policyAction(p *resourcev1.Policy) string {
	return short(p.GetAction().String(), "POLICY_ACTION_", "")
}

func policyMode(p *resourcev1.Policy) string {
	return short(p.GetMode().String(), "POLICY_MODE_", "ENFORCE")
}

// all joins what a policy is limited to; nothing means no limit.
func all(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return strings.Join(list, ", ")
}

// brief is a condition on one line, or its beginning.
func brief(when string) string {
	const most = 60
	line := strings.Join(strings.Fields(when), " ")
	if runes := []rune(line); len(runes) > most {
		line = string(runes[:most-1]) + "…"
	}
	if line == "" {
		return "always"
	}
	return line
}

func policy(p *resourcev1.Policy) [][2]string {
	when := p.GetWhen()
	if when == "" {
		when = "always"
	}
	return [][2]string{
		{"Display name", p.GetDisplayName()},
		{"Action", policyAction(p)},
		{"Mode", policyMode(p)},
		{"Tools", all(p.GetTools())},
		{"Servers", all(p.GetServers())},
		{"Gateways", all(p.GetGateways())},
		{"Gateway labels", labels(p.GetGatewayLabels())},
		{"When", when},
		{"Approvers", approvers(p)},
		{"Calls wait for", span(p.GetApprovalTtl())},
		{"Reason", p.GetReason()},
		{"Disabled", yes(p.GetDisabled())},
		{"Labels", labels(p.GetLabels())},
		{"Created", moment(p.GetCreateTime())},
		{"Updated", moment(p.GetUpdateTime())},
	}
}
