// SPDX-License-Identifier: Apache-2.0

package show

import (
	"strings"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// visibility is "organization", "team eng, ops" or "personal ada@example.com".
func visibility(v *resourcev1.Visibility) string {
	switch k := v.GetKind().(type) {
	case *resourcev1.Visibility_Personal:
		return "personal " + k.Personal.GetOwner()
	case *resourcev1.Visibility_Team:
		return "team " + strings.Join(k.Team.GetTeams(), ", ")
	case *resourcev1.Visibility_Organization:
		return "organization"
	default:
		return "-"
	}
}

// owner is "organization", "team eng", "user ada@example.com" or "service account ci".
func owner(o *resourcev1.Owner) string {
	switch k := o.GetKind().(type) {
	case *resourcev1.Owner_User:
		return "user " + k.User
	case *resourcev1.Owner_Team:
		return "team " + k.Team
	case *resourcev1.Owner_ServiceAccount:
		return "service account " + k.ServiceAccount
	case *resourcev1.Owner_Organization:
		return "organization"
	default:
		return "-"
	}
}

// transport is the kind of transport and where it leads.
func transport(s *resourcev1.Server) (kind, target string) {
	switch t := s.GetTransport().(type) {
	case *resourcev1.Server_StreamableHttp:
		return "streamable_http", t.StreamableHttp.GetUrl()
	case *resourcev1.Server_Sse:
		return "sse", t.Sse.GetUrl()
	case *resourcev1.Server_Stdio:
		return "stdio", strings.Join(append([]string{t.Stdio.GetCommand()}, t.Stdio.GetArgs()...), " ")
	default:
		return "-", ""
	}
}

func assignmentMode(a *resourcev1.ToolAssignment) string {
	if a.GetResolveAtCallTime() != nil {
		return "resolve at call time"
	}
	return orDash(a.GetPinned().GetConnection())
}

// short takes the prefix off an enum value: ADMIN for ROLE_ADMIN; fallback for UNSPECIFIED.
func short(value, prefix, fallback string) string {
	s := strings.TrimPrefix(value, prefix)
	if s == "UNSPECIFIED" {
		return fallback
	}
	return s
}

func role(r resourcev1.Role) string { return short(r.String(), "ROLE_", "MEMBER") }

func toolState(s resourcev1.ToolState) string { return short(s.String(), "TOOL_STATE_", "-") }

func connectionState(s resourcev1.ConnectionState) string {
	return short(s.String(), "CONNECTION_STATE_", "not checked")
}

// gatewayReady is "yes", or the first condition that does not hold.
func gatewayReady(g *resourcev1.Gateway) string {
	reason := ""
	for _, c := range g.GetStatus().GetConditions() {
		switch {
		case c.GetType() == "Ready" && c.GetStatus():
			return "yes"
		case c.GetType() != "Ready" && !c.GetStatus() && reason == "":
			reason = c.GetReason()
		}
	}
	if reason == "" {
		return "no"
	}
	return "no: " + reason
}
