// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// Header returns the columns of [Row] for messages of the type of m.
func Header(m proto.Message) []string {
	switch m.(type) {
	case *resourcev1.Server:
		return []string{"NAME", "TRANSPORT", "TARGET", "CREDENTIAL", "VISIBILITY", "TOOLS", "LAST ERROR"}
	case *resourcev1.Connection:
		return []string{"NAME", "SERVER", "OWNER", "STATE", "SECRETS", "LAST ERROR"}
	case *resourcev1.Tool:
		return []string{"NAME", "STATE", "HELD", "DEFINITION"}
	case *resourcev1.Gateway:
		return []string{"NAME", "VISIBILITY", "TOOLS", "READY", "URL"}
	case *resourcev1.Team:
		return []string{"NAME", "DISPLAY NAME", "MEMBERS"}
	case *resourcev1.User:
		return []string{"NAME", "DISPLAY NAME", "ROLE", "ACTIVE"}
	case *resourcev1.BearerToken:
		return []string{"NAME", "OWNER", "AUDIENCE", "EXPIRES", "LAST USED"}
	case *resourcev1.IdentityProvider:
		return []string{"NAME", "ISSUER", "CLIENT ID", "SECRET", "NEW USERS", "ENABLED"}
	case *resourcev1.OAuthClient:
		return []string{"NAME", "AUTHENTICATION", "REDIRECTS TO", "GATEWAYS", "TRUSTED", "ENABLED"}
	case *resourcev1.Policy:
		return []string{"NAME", "ACTION", "MODE", "TOOLS", "GATEWAYS", "WHEN", "ENABLED"}
	case *resourcev1.ResultPolicy:
		return []string{"NAME", "MARK", "MODE", "TOOLS", "SERVERS", "GATEWAYS", "WHEN", "ENABLED"}
	case *adminv1.Node:
		return []string{"NAME", "REGION", "CONNECTED", "CONTROL PLANE", "REVISION", "LAG", "REJECTS", "BUILD", "SEEN"}
	default:
		return []string{"NAME"}
	}
}

// Row returns the cells of one message.
func Row(m proto.Message) []string {
	switch m := m.(type) {
	case *resourcev1.Server:
		kind, target := transport(m)
		return []string{
			m.GetName(), kind, target, credential(m.GetCredential()), visibility(m.GetVisibility()),
			number(m.GetStatus().GetTools()), orDash(m.GetStatus().GetLastError()),
		}
	case *resourcev1.Connection:
		return []string{
			m.GetName(), m.GetServer(), owner(m.GetOwner()), connectionState(m.GetStatus().GetState()),
			orDash(strings.Join(m.GetSecretNames(), ", ")), orDash(m.GetStatus().GetLastError()),
		}
	case *resourcev1.Tool:
		return []string{m.GetName(), toolState(m.GetState()), yes(m.GetHeld()), hash(m.GetDefinitionHash())}
	case *resourcev1.Gateway:
		ready := gatewayReady(m)
		if m.GetDisabled() {
			ready = "disabled"
		}
		return []string{m.GetName(), visibility(m.GetVisibility()), number(len(m.GetTools())), ready, orDash(m.GetStatus().GetUrl())}
	case *resourcev1.Team:
		return []string{m.GetName(), orDash(m.GetDisplayName()), number(len(m.GetMembers()))}
	case *resourcev1.User:
		return []string{m.GetName(), orDash(m.GetDisplayName()), role(m.GetRole()), yes(!m.GetDeactivated())}
	case *resourcev1.BearerToken:
		return []string{m.GetName(), owner(m.GetOwner()), audience(m), moment(m.GetExpireTime()), moment(m.GetLastUseTime())}
	case *resourcev1.IdentityProvider:
		return []string{
			m.GetName(), m.GetIssuer(), m.GetClientId(), yes(m.GetSecretVersion() != ""), yes(m.GetJustInTimeUsers()), yes(!m.GetDisabled()),
		}
	case *resourcev1.OAuthClient:
		return []string{
			m.GetName(), clientAuthentication(m), orDash(strings.Join(m.GetRedirectUris(), ", ")),
			orDash(strings.Join(m.GetClientCredentials().GetGateways(), ", ")), yes(m.GetTrusted()), yes(!m.GetDisabled()),
		}
	case *resourcev1.Policy:
		return []string{
			m.GetName(), policyAction(m), policyMode(m), all(m.GetTools()), all(m.GetGateways()), brief(m.GetWhen()), yes(!m.GetDisabled()),
		}
	case *resourcev1.ResultPolicy:
		return []string{
			m.GetName(), resultMark(m), resultMode(m), all(m.GetTools()), all(m.GetServers()), all(m.GetGateways()), brief(m.GetWhen()),
			yes(!m.GetDisabled()),
		}
	case *adminv1.Node:
		return []string{
			m.GetName(), orDash(m.GetRegion()), connected(m), orDash(m.GetReplica()), fmt.Sprint(m.GetEnforcedRevision()),
			fmt.Sprintf("%.1fs", m.GetLagSeconds()), number(len(m.GetRejects())), orDash(m.GetBuild()), moment(m.GetSeenTime()),
		}
	default:
		return []string{string(m.ProtoReflect().Descriptor().Name())}
	}
}

// connected says whether a node is, or that it will not be again.
func connected(n *adminv1.Node) string {
	if n.GetBanned() {
		return "banned"
	}
	return yes(n.GetConnected())
}

// audience is where a token may be used.
func audience(t *resourcev1.BearerToken) string {
	if t.GetAdminApi() {
		return "admin API"
	}
	return orDash(strings.Join(t.GetGateways(), ", "))
}

// hash shortens a hash to what tells two apart at a glance.
func hash(h string) string { return orDash(h[:min(len(h), 12)]) }
