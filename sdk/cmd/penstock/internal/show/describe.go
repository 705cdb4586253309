// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// section is a table below the fields of a description.
type section struct {
	title  string
	header []string
	rows   [][]string
	empty  string // what stands in place of a table without rows
	text   string // in place of a table
}

// Describe writes everything about one resource for a person. tools are those of a server, nil for other resources.
func Describe(w io.Writer, m proto.Message, tools []*resourcev1.Tool) error {
	fields, sections := parts(m)
	if _, ok := m.(*resourcev1.Server); ok {
		s := section{title: "Tools", header: Header(&resourcev1.Tool{}), empty: "none known; penstock server discover finds them"}
		for _, t := range tools {
			s.rows = append(s.rows, Row(t))
		}
		sections = append(sections, s)
	}
	width := 0
	fields = slices.DeleteFunc(fields, func(f [2]string) bool { return f[1] == "" })
	for _, f := range fields {
		width = max(width, len(f[0])+1)
	}
	for _, f := range fields {
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, f[0]+":", Safe(f[1])); err != nil {
			return err
		}
	}
	for _, s := range sections {
		if err := s.write(w); err != nil {
			return err
		}
	}
	return nil
}

func (s section) write(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "\n%s:\n", s.title); err != nil {
		return err
	}
	switch {
	case s.text != "":
		_, err := io.WriteString(w, s.text)
		return err
	case len(s.rows) == 0:
		_, err := fmt.Fprintln(w, s.empty)
		return err
	default:
		return Table(w, s.header, s.rows)
	}
}

// resource is what the resources with metadata have in common.
type resource interface {
	GetName() string
	GetUid() string
	GetEtag() string
}

func parts(m proto.Message) ([][2]string, []section) {
	var fields [][2]string
	if r, ok := m.(resource); ok {
		fields = [][2]string{{"Name", r.GetName()}, {"UID", r.GetUid()}, {"Etag", r.GetEtag()}}
	}
	var own [][2]string
	var sections []section
	switch m := m.(type) {
	case *resourcev1.Gateway:
		own, sections = gateway(m)
	case *resourcev1.Server:
		own, sections = server(m), serverFeatures(m.GetStatus())
	case *resourcev1.Connection:
		own = connection(m)
	case *resourcev1.Tool:
		own, sections = tool(m)
	case *resourcev1.Team:
		own, sections = team(m)
	case *resourcev1.User:
		own, sections = user(m)
	case *resourcev1.IdentityProvider:
		own, sections = identityProvider(m)
	case *resourcev1.OAuthClient:
		own = oauthClient(m)
	case *resourcev1.Policy:
		own = policy(m)
	case *resourcev1.ResultPolicy:
		own = resultPolicy(m)
	case *resourcev1.BearerToken:
		own = [][2]string{
			{"Display name", m.GetDisplayName()},
			{"Owner", owner(m.GetOwner())},
			{"Audience", audience(m)},
			{"Scopes", strings.Join(m.GetScopes(), " ")},
			{"Expires", moment(m.GetExpireTime())},
			{"Old secret until", rotated(m)},
			{"Last used", moment(m.GetLastUseTime())},
			{"Creator", m.GetCreator()},
			{"Labels", labels(m.GetLabels())},
			{"Created", moment(m.GetCreateTime())},
		}
	case *adminv1.Approval:
		return approval(m)
	case *adminv1.Node:
		return node(m)
	}
	return append(fields, own...), sections
}

// rotated is until when the secret before the last rotation is accepted; empty if it is not.
func rotated(t *resourcev1.BearerToken) string {
	if t.GetPreviousExpireTime() == nil {
		return ""
	}
	return moment(t.GetPreviousExpireTime())
}

func gateway(g *resourcev1.Gateway) ([][2]string, []section) {
	var methods []string
	if g.GetAuthentication().GetOauth() != nil {
		methods = append(methods, "oauth")
	}
	if j := g.GetAuthentication().GetIdJag(); j != nil {
		method := "id_jag"
		if len(j.GetIdentityProviders()) > 0 {
			method += " of " + strings.Join(j.GetIdentityProviders(), " ")
		}
		methods = append(methods, method)
	}
	if g.GetAuthentication().GetBearerToken() != nil {
		methods = append(methods, "bearer_token")
	}
	accepted := section{title: "Tokens of identity providers", header: []string{"PROVIDER", "AUDIENCES", "SUBJECT", "SCOPES", "SETTINGS"}}
	for _, i := range g.GetAuthentication().GetJwks().GetIssuers() {
		accepted.rows = append(accepted.rows, issuer(i))
	}
	if len(accepted.rows) > 0 {
		methods = append(methods, "jwks")
	}
	naming := short(g.GetNaming().GetPrefix().String(), "NAMING_PREFIX_", "ALWAYS")
	tools := assigned(g.GetTools())
	conditions := section{title: "Conditions", header: []string{"CONDITION", "HOLDS", "REASON", "MESSAGE"}, empty: "none reported"}
	for _, c := range g.GetStatus().GetConditions() {
		conditions.rows = append(conditions.rows, []string{c.GetType(), yes(c.GetStatus()), orDash(c.GetReason()), c.GetMessage()})
	}
	sections := []section{conditions, tools}
	if len(accepted.rows) > 0 {
		sections = append(sections, accepted)
	}
	return [][2]string{
		{"Display name", g.GetDisplayName()},
		{"Description", g.GetDescription()},
		{"URL", g.GetStatus().GetUrl()},
		{"Visibility", visibility(g.GetVisibility())},
		{"Authentication", orDash(strings.Join(methods, ", "))},
		{"Scopes", strings.Join(g.GetScopesSupported(), " ")},
		{"Naming prefix", naming},
		{"Default action", short(g.GetDefaultAction().String(), "DEFAULT_ACTION_", "ALLOW")},
		{"Contexts", short(g.GetUntrustedContext().String(), "UNTRUSTED_CONTEXT_", "TRACK")},
		{"Resource URIs", short(g.GetResourceUris().String(), "RESOURCE_URIS_", "")},
		{"Extensions", extensions(g.GetExtensions())},
		{"Pass-through headers", strings.Join(g.GetPassthroughHeaders(), ", ")},
		{"Disabled", yes(g.GetDisabled())},
		{"Regions", strings.Join(g.GetRegions(), ", ")},
		{"Max stale", span(g.GetMaxStale())},
		{"List TTL", span(g.GetListTtl())},
		{"Instructions", g.GetInstructions()},
		{"Labels", labels(g.GetLabels())},
		{"Created", moment(g.GetCreateTime())},
		{"Updated", moment(g.GetUpdateTime())},
	}, append(sections, gatewayFeatures(g)...)
}

// assigned is the table of a gateway's tools; it has a column for scopes where a tool requires some, and one for fixed arguments where
// a tool has some.
func assigned(tools []*resourcev1.ToolAssignment) section {
	s := section{title: "Tools", header: []string{"NAME", "TOOL", "CONNECTION"}, empty: "none assigned"}
	scoped := slices.ContainsFunc(tools, func(a *resourcev1.ToolAssignment) bool { return len(a.GetRequiredScopes()) > 0 })
	if scoped {
		s.header = append(s.header, "SCOPES")
	}
	fixed := slices.ContainsFunc(tools, func(a *resourcev1.ToolAssignment) bool { return len(a.GetFixedArguments().GetFields()) > 0 })
	if fixed {
		s.header = append(s.header, "FIXED ARGUMENTS")
	}
	for _, a := range tools {
		row := []string{orDash(a.GetResolvedName()), a.GetTool(), assignmentMode(a)}
		if scoped {
			row = append(row, orDash(strings.Join(a.GetRequiredScopes(), " ")))
		}
		if fixed {
			row = append(row, orDash(fixedArguments(a)))
		}
		s.rows = append(s.rows, row)
	}
	return s
}

// fixedArguments writes what every call of an assignment gets as one line of JSON, in the order of the names.
func fixedArguments(a *resourcev1.ToolAssignment) string {
	if len(a.GetFixedArguments().GetFields()) == 0 {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(a.GetFixedArguments().AsMap()) != nil {
		return "not readable"
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func server(s *resourcev1.Server) [][2]string {
	kind, target := transport(s)
	optional := func(n uint32) string {
		if n == 0 {
			return ""
		}
		return number(n)
	}
	own := ""
	if s.GetOwnConnectionsOnly() {
		own = "yes"
	}
	fields := [][2]string{
		{"Display name", s.GetDisplayName()},
		{"Description", s.GetDescription()},
		{"Transport", kind},
		{"Target", target},
		{"Credential", credential(s.GetCredential())},
	}
	return append(append(fields, authorization(s.GetCredential())...), [][2]string{
		{"Visibility", visibility(s.GetVisibility())},
		{"Call timeout", span(s.GetCallTimeout())},
		{"Max concurrency", optional(s.GetMaxConcurrency())},
		{"Max response bytes", optional(s.GetMaxResponseBytes())},
		{"Protocol", s.GetProtocol()},
		{"Stateless", yes(s.GetStateless())},
		{"Affinity", short(s.GetAffinity().String(), "AFFINITY_", "")},
		{"Tool changes", short(s.GetToolChanges().String(), "TOOL_CHANGES_", "REVIEW")},
		{"May ask clients", questions(s.GetQuestions())},
		{"Own connections only", own},
		{"Extra headers", strings.Join(slices.Sorted(maps.Keys(s.GetExtraHeaders())), ", ")},
		{"Reported", s.GetStatus().GetServerInfo()},
		{"Negotiated", s.GetStatus().GetProtocolVersion()},
		{"Capabilities", capabilities(s.GetStatus().GetCapabilities())},
		{"Resources at", strings.Join(s.GetStatus().GetResourceAuthorities(), ", ")},
		{"Changed instructions", pendingInstructions(s)},
		{"Discovered", moment(s.GetStatus().GetDiscoverTime())},
		{"Last error", s.GetStatus().GetLastError()},
		{"Labels", labels(s.GetLabels())},
		{"Created", moment(s.GetCreateTime())},
		{"Updated", moment(s.GetUpdateTime())},
	}...)
}

func connection(c *resourcev1.Connection) [][2]string {
	return [][2]string{
		{"Server", c.GetServer()},
		{"Owner", owner(c.GetOwner())},
		{"Secrets", orDash(strings.Join(c.GetSecretNames(), ", "))},
		{"State", connectionState(c.GetStatus().GetState())},
		{"Checked", moment(c.GetStatus().GetCheckTime())},
		{"Last error", c.GetStatus().GetLastError()},
		{"Labels", labels(c.GetLabels())},
		{"Created", moment(c.GetCreateTime())},
		{"Updated", moment(c.GetUpdateTime())},
	}
}

func tool(t *resourcev1.Tool) ([][2]string, []section) {
	sections := []section{{title: "Definition", text: Definition(t.GetDefinition())}}
	if len(t.GetPendingDefinition()) > 0 {
		sections = append(sections, section{title: "Definition that waits to be accepted", text: Definition(t.GetPendingDefinition())})
	}
	return [][2]string{
		{"Server", t.GetServer()},
		{"Upstream name", t.GetUpstreamName()},
		{"State", toolState(t.GetState())},
		{"Held", yes(t.GetHeld())},
		{"Retryable", yes(t.GetRetryable())},
		{"Definition hash", t.GetDefinitionHash()},
		{"Discovered", moment(t.GetCreateTime())},
		{"Updated", moment(t.GetUpdateTime())},
	}, sections
}

// Definition returns a raw tool definition over several lines, made safe for a terminal.
func Definition(raw []byte) string {
	if len(raw) == 0 {
		return "none\n"
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return Safe(string(raw)) + "\n"
	}
	return Lines(b.String())
}

// Lines makes a text safe for a terminal, line by line; each ends.
func Lines(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(Safe(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return out.String()
}

func team(t *resourcev1.Team) ([][2]string, []section) {
	members := section{title: "Members", header: []string{"USER", "ROLE"}, empty: "none"}
	for _, m := range t.GetMembers() {
		members.rows = append(members.rows, []string{m.GetUser(), role(m.GetRole())})
	}
	return [][2]string{
		{"Display name", t.GetDisplayName()},
		{"Labels", labels(t.GetLabels())},
		{"Created", moment(t.GetCreateTime())},
		{"Updated", moment(t.GetUpdateTime())},
	}, []section{members}
}

func node(n *adminv1.Node) ([][2]string, []section) {
	rejects := section{title: "Rejected resources", header: []string{"KIND", "NAME", "REVISION", "REASON", "DETAIL"}, empty: "none"}
	for _, r := range n.GetRejects() {
		rejects.rows = append(rejects.rows, []string{r.GetKind(), r.GetName(), fmt.Sprint(r.GetRevision()), r.GetReason(), r.GetDetail()})
	}
	return [][2]string{
		{"Name", n.GetName()},
		{"Region", n.GetRegion()},
		{"Connected", yes(n.GetConnected())},
		{"Control plane", n.GetReplica()},
		{"Banned", yes(n.GetBanned())},
		{"Build", n.GetBuild()},
		{"Epoch", n.GetEpoch()},
		{"Revision", fmt.Sprint(n.GetEnforcedRevision())},
		{"Denials", fmt.Sprint(n.GetDenyRevision())},
		{"Lag", fmt.Sprintf("%.1fs", n.GetLagSeconds())},
		{"Last message", moment(n.GetSeenTime())},
	}, []section{rejects}
}

func labels(l map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(l)) {
		pairs = append(pairs, k+"="+l[k])
	}
	return strings.Join(pairs, ", ")
}
