// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func resultMark(p *resourcev1.ResultPolicy) string {
	return short(p.GetMark().String(), "RESULT_MARK_", "")
}

func resultMode(p *resourcev1.ResultPolicy) string {
	return short(p.GetMode().String(), "POLICY_MODE_", "ENFORCE")
}

func resultPolicy(p *resourcev1.ResultPolicy) [][2]string {
	when := p.GetWhen()
	if when == "" {
		when = "always"
	}
	return [][2]string{
		{"Display name", p.GetDisplayName()},
		{"Mark", resultMark(p)},
		{"Takes out", strings.Join(p.GetRedact(), ", ")},
		{"Mode", resultMode(p)},
		{"Tools", all(p.GetTools())},
		{"Servers", all(p.GetServers())},
		{"Gateways", all(p.GetGateways())},
		{"Gateway labels", labels(p.GetGatewayLabels())},
		{"When", when},
		{"Reason", p.GetReason()},
		{"Disabled", yes(p.GetDisabled())},
		{"Labels", labels(p.GetLabels())},
		{"Created", moment(p.GetCreateTime())},
		{"Updated", moment(p.GetUpdateTime())},
	}
}
