// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// approvers says who approves the calls that a policy holds; empty if it holds none.
func approvers(p *resourcev1.Policy) string {
	a := p.GetApprovers()
	switch {
	case a.GetCaller() != nil:
		return "the caller"
	case a.GetTeamAdmins() != nil && len(a.GetTeamAdmins().GetTeams()) == 0:
		return "admins of the caller's teams"
	case a.GetTeamAdmins() != nil:
		return "admins of " + strings.Join(a.GetTeamAdmins().GetTeams(), ", ")
	default:
		return strings.Join(a.GetUsers(), ", ")
	}
}

// approval describes a held call. Its identifier is no name and has no etag.
func approval(a *adminv1.Approval) ([][2]string, []section) {
	events := section{title: "History", header: []string{"TIME", "EVENT", "BY", "THROUGH"}, empty: "nothing"}
	for _, e := range a.GetEvents() {
		events.rows = append(events.rows, []string{moment(e.GetTime()), e.GetKind(), orDash(e.GetActor()), orDash(e.GetHow())})
	}
	fields := [][2]string{
		{"ID", a.GetId()},
		{"State", a.GetState()},
		{"Gateway", a.GetGateway()},
		{"Tool", a.GetTool()},
		{"Policy", a.GetPolicy()},
		{"Caller", a.GetCaller()},
		{"Client", a.GetClientId()},
		{"Arguments", a.GetArguments()},
		{"Arguments SHA-256", a.GetArgumentsSha256()},
		{"Approvers", strings.Join(a.GetApprovers(), ", ")},
		{"Created", moment(a.GetCreateTime())},
		{"Expires", moment(a.GetExpireTime())},
		{"Decided by", a.GetDecidedBy()},
		{"Decided", when(a.GetDecideTime() != nil, moment(a.GetDecideTime()))},
		{"Reason", a.GetReason()},
		{"Node", a.GetNode()},
		{"Run", when(a.GetRunTime() != nil, moment(a.GetRunTime()))},
	}
	return fields, []section{events}
}

// when is a text that stands there if something holds.
func when(holds bool, text string) string {
	if holds {
		return text
	}
	return ""
}
