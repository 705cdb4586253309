// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

func (p *Problems) server(s *Server) {
	p.text("display_name", s.DisplayName, 128)
	p.text("description", s.Description, 4096)
	p.transport(s)
	p.credential(s)
	p.visibility("visibility", s.Visibility)
	p.between("call_timeout", s.CallTimeout, minTimeout, maxTimeout)
	if s.MaxConcurrency > 10_000 {
		p.field("max_concurrency", "it is more than 10,000")
	}
	if s.MaxResponseBytes > 1<<30 {
		p.field("max_response_bytes", "it is more than 1 GiB")
	}
	p.oneOf("protocol", s.Protocol, "AUTO", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
	p.oneOf("tool_changes", string(s.ToolChanges), string(ToolChangesReview), string(ToolChangesHold), string(ToolChangesAccept))
	p.oneOf("affinity", string(s.Affinity), string(AffinityPrincipal), string(AffinityNone))
}

func (p *Problems) transport(s *Server) {
	n := 0
	if s.StreamableHTTP != nil {
		n++
		p.url("streamable_http.url", s.StreamableHTTP.URL)
	}
	if s.SSE != nil {
		n++
		p.url("sse.url", s.SSE.URL)
		if s.Protocol == modern {
			p.field("protocol", "%s has no HTTP+SSE; use streamable_http, or leave the protocol out", modern)
		}
	}
	if s.Stdio != nil {
		n++
		p.stdio(s.Stdio)
		if len(s.ExtraHeaders) > 0 {
			p.field("extra_headers", "a stdio server has no headers")
		}
	}
	if n != 1 {
		p.field("transport", "set exactly one of streamable_http, sse and stdio")
	}
	p.headers("extra_headers", s.ExtraHeaders, false, 4096)
}

func (p *Problems) stdio(s *Stdio) {
	switch {
	case s.Command == "" || len(s.Command) > 4096 || !printable(s.Command):
		p.field("stdio.command", "it is not 1 to 4,096 printable characters")
	case strings.Contains(s.Command, "/") && !path.IsAbs(s.Command):
		p.field("stdio.command", "%q is a relative path; give an absolute one, or a name that is looked up in the node's PATH", clip(s.Command))
	}
	p.count("stdio.args", len(s.Args), 128)
	for i, a := range s.Args {
		if len(a) > 8192 || strings.Contains(a, "\x00") {
			p.field(fmt.Sprintf("stdio.args[%d]", i), "it has more than 8,192 bytes or a NUL")
		}
	}
	p.env("stdio.env", s.Env, 128, 8192)
}

func (p *Problems) env(at string, env map[string]string, most, maxValue int) {
	p.count(at, len(env), most)
	for name, value := range sorted(env) {
		switch {
		case len(name) > 128 || !envRE.MatchString(name):
			p.field(at+"."+clip(name), "it is not the name of an environment variable")
		case len(value) > maxValue || strings.Contains(value, "\x00"):
			p.field(at+"."+name, "its value has more than %d bytes or a NUL", maxValue)
		}
	}
}

func (p *Problems) connection(c *Connection) {
	p.slug("server", c.Server)
	p.owner("owner", c.Owner, false)
	p.headers("secret_headers", c.SecretHeaders, true, 16384)
	p.env("secret_env", c.SecretEnv, 64, 16384)
}

func (p *Problems) gateway(g *Gateway) {
	p.text("display_name", g.DisplayName, 128)
	p.text("description", g.Description, 4096)
	if len(g.Instructions) > 16384 {
		p.field("instructions", "they have more than 16 KiB")
	}
	p.visibility("visibility", g.Visibility)
	if g.Naming != nil {
		p.oneOf("naming.prefix", string(g.Naming.Prefix), string(NamingAlways), string(NamingOnConflict), string(NamingNever))
	}
	p.count("regions", len(g.Regions), 64)
	p.unique("regions", g.Regions)
	for i, r := range g.Regions {
		p.slug(fmt.Sprintf("regions[%d]", i), r)
	}
	p.between("max_stale", g.MaxStale, minMaxStale, 1<<62)
	p.between("list_ttl", g.ListTTL, 0, maxListTTL)
	p.passthroughHeaders(g.PassthroughHeaders)
	p.oneOf("resource_uris", string(g.ResourceURIs), string(ResourceURIsOnConflict), string(ResourceURIsAlways))
	p.issuers(g)
	p.features(g)
	p.extensions(g)
	p.rateLimits(g.RateLimits)
	p.gatewayPolicy(g)
	p.gatewayIDJAG(g.Authentication)
	p.count("tools", len(g.Tools), maxTools)
	seen := make(map[string]bool, len(g.Tools))
	for _, a := range g.Tools {
		at := "tools[" + clip(a.Tool) + "]" // by name: they are sorted by now
		p.assignment(at, a)
		if seen[a.Tool] {
			p.field(at+".tool", "%q is assigned twice", clip(a.Tool))
		}
		seen[a.Tool] = true
	}
}

func (p *Problems) assignment(at string, a ToolAssignment) {
	server, tool, ok := strings.Cut(a.Tool, "/")
	if !ok || tool == "" || len(server) > maxSlug || !slugRE.MatchString(server) || len(a.Tool) > 320 || !printable(a.Tool) {
		p.field(at+".tool", "%q is not \"<server>/<upstream name>\"", clip(a.Tool))
	}
	switch {
	case a.ResolveAtCallTime != nil && a.Pinned != nil:
		p.field(at+".resolve_at_call_time", "set exactly one of pinned and resolve_at_call_time")
	case a.ResolveAtCallTime != nil:
	case a.Pinned == nil:
		p.field(at+".pinned", "it is not set; say whose credential a call runs with: pinned: {connection: NAME}, or resolve_at_call_time: {}")
	default:
		p.slug(at+".pinned.connection", a.Pinned.Connection)
	}
	if a.ExposedName != "" && !exposedRE.MatchString(a.ExposedName) {
		p.field(at+".exposed_name", "%q is not 1 to 64 of A-Z, a-z, 0-9, _ and -", clip(a.ExposedName))
	}
	p.text(at+".description", a.Description, 16384)
	p.fixedArguments(at+".fixed_arguments", a.FixedArguments)
	p.gatewayScopes(at+".required_scopes", a.RequiredScopes)
}

// features checks what the gateway shows of servers besides tools.
func (p *Problems) features(g *Gateway) {
	p.count("server_features", len(g.ServerFeatures), maxFeatures)
	seen := make(map[string]bool, len(g.ServerFeatures))
	for _, f := range g.ServerFeatures {
		at := "server_features[" + clip(f.Server) + "]" // by name: they are sorted by now
		p.slug(at+".server", f.Server)
		if seen[f.Server] {
			p.field(at+".server", "%q has an entry already; turn all of it on in one", clip(f.Server))
		}
		seen[f.Server] = true
		switch {
		case f.ResolveAtCallTime != nil && f.Pinned != nil:
			p.field(at+".resolve_at_call_time", "set at most one of pinned and resolve_at_call_time")
		case f.ResolveAtCallTime != nil:
		case f.Pinned != nil:
			p.slug(at+".pinned.connection", f.Pinned.Connection)
		case f.Prompts || f.Resources:
			p.field(at+".pinned", "it is not set; say whose credential prompts and resources are read with: pinned: {connection: NAME}, or resolve_at_call_time: {}")
		}
		if !f.Prompts && !f.Resources && !f.Instructions {
			p.field(at, "it turns nothing on; set prompts, resources or instructions to true, or leave the entry out")
		}
	}
}

// extensions checks which extensions of MCP may be used over the gateway.
func (p *Problems) extensions(g *Gateway) {
	if g.Extensions == nil {
		return
	}
	p.count("extensions.allowed", len(g.Extensions.Allowed), 32)
	p.unique("extensions.allowed", g.Extensions.Allowed)
	for i, name := range g.Extensions.Allowed {
		if len(name) > 128 || !extensionRE.MatchString(name) {
			p.field(fmt.Sprintf("extensions.allowed[%d]", i), "%q is not the name of an extension, such as io.modelcontextprotocol/ui", clip(name))
		}
	}
	servers := make(map[string]bool)
	for _, a := range g.Tools {
		name, _, _ := strings.Cut(a.Tool, "/")
		servers[name] = true
	}
	for _, f := range g.ServerFeatures {
		servers[f.Server] = true
	}
	if g.Extensions.Passthrough && len(servers) > 1 {
		p.field("extensions.passthrough", "the gateway has %d servers, and a method that Penstock does not know would not tell which of them it is for; use it with one server", len(servers))
	}
}

// rateLimits checks how much may be asked of a gateway (G-50).
func (p *Problems) rateLimits(limits []RateLimit) {
	p.count("rate_limits", len(limits), maxRateLimits)
	seen := make(map[string]bool, len(limits))
	for i, l := range limits {
		at := fmt.Sprintf("rate_limits[%d]", i)
		if l.Per == "" {
			p.field(at+".per", "it is not set; say what counts together: GATEWAY, CALLER, TEAM, TOKEN, SERVER or TOOL")
		}
		p.oneOf(at+".per", string(l.Per), string(RateLimitPerGateway), string(RateLimitPerCaller), string(RateLimitPerTeam),
			string(RateLimitPerToken), string(RateLimitPerServer), string(RateLimitPerTool))
		p.oneOf(at+".when_unavailable", string(l.WhenUnavailable), string(RateLimitOpen), string(RateLimitClosed))
		switch perTarget := l.Per == RateLimitPerServer || l.Per == RateLimitPerTool; {
		case (l.Requests == 0) == (l.ToolCalls == 0):
			p.field(at, "set exactly one of requests and tool_calls to the number that each period has")
		case l.Requests > 0 && (perTarget || len(l.Tools) > 0):
			p.field(at+".requests", "a request of any method belongs to no tool; use tool_calls with per: SERVER, per: TOOL and tools")
		}
		if max(l.Requests, l.ToolCalls, l.Burst) > maxRate {
			p.field(at, "a number is more than 1,000,000,000")
		}
		if l.Period == nil {
			p.field(at+".period", "it is not set; say how long a period is, for example 60s")
		}
		p.between(at+".period", l.Period, minPeriod, maxPeriod)
		p.count(at+".tools", len(l.Tools), 32)
		p.unique(at+".tools", l.Tools)
		for j, pattern := range l.Tools {
			if !globRE.MatchString(pattern) {
				p.field(fmt.Sprintf("%s.tools[%d]", at, j), "%q is no pattern on <server>__<upstream name> of 1 to 256 printable characters, such as github__*", clip(pattern))
			}
		}
		same := fmt.Sprint(l.Per, l.Requests > 0, l.Period, l.Tools)
		if seen[same] {
			p.field(at, "another limit counts the same in the same period; keep the lower one")
		}
		seen[same] = true
	}
}

func (p *Problems) team(t *Team) {
	p.text("display_name", t.DisplayName, 128)
	p.count("members", len(t.Members), maxMembers)
	seen := make(map[string]bool, len(t.Members))
	for _, m := range t.Members {
		at := "members[" + clip(m.User) + "]"
		p.email(at+".user", m.User)
		p.oneOf(at+".role", string(m.Role), string(RoleMember), string(RoleEditor), string(RoleAdmin))
		if seen[m.User] {
			p.field(at+".user", "%q is a member already", clip(m.User))
		}
		seen[m.User] = true
	}
}

func (p *Problems) token(t *BearerToken) {
	p.text("display_name", t.DisplayName, 128)
	p.owner("owner", t.Owner, true)
	p.count("gateways", len(t.Gateways), 100)
	p.unique("gateways", t.Gateways)
	p.count("scopes", len(t.Scopes), 16)
	p.unique("scopes", t.Scopes)
	p.scopeTokens("scopes", t.Scopes, maxScope)
	switch {
	case t.AdminAPI && len(t.Gateways) > 0:
		p.field("gateways", "a token for the admin API is for nothing else; leave gateways empty, or make two tokens")
	case t.AdminAPI && len(t.Scopes) > 0:
		p.field("scopes", "a token for the admin API has its owner's role and no scopes")
	case t.AdminAPI && (t.Owner == nil || t.Owner.User == ""):
		p.field("owner", "the owner of a token for the admin API is a user, whose role it has")
	case !t.AdminAPI && len(t.Gateways) == 0:
		p.field("gateways", "name at least one gateway: they are the token's audience")
	}
	if t.TTL != nil && *t.TTL <= 0 {
		p.field("ttl", "it is not more than 0")
	}
	if t.TTL != nil && *t.TTL > Duration(MaxTTL) {
		p.field("ttl", "a token lives at most 365 days")
	}
}

// IsLoaderVariable reports whether an environment variable changes which code a program loads or runs, so that setting
// it is as good as choosing the command, which only an ADMIN may (G-7).
func IsLoaderVariable(name string) bool {
	name = strings.ToUpper(name)
	for _, prefix := range []string{"LD_", "DYLD_", "PYTHON", "PERL", "RUBY", "GEM_", "BUNDLE_", "NODE_", "NPM_CONFIG_", "GIT_", "LUA_", "PHP", "DOTNET_", "COMPLUS_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "PATH", "IFS", "ENV", "BASH_ENV", "SHELLOPTS", "BASHOPTS", "PROMPT_COMMAND", "PS4", "SHELL", "HOME", "TMPDIR", "GCONV_PATH", "LOCPATH", "HOSTALIASES",
		"JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH", "ZDOTDIR", "EDITOR", "VISUAL", "PAGER", "BROWSER", "GLIBC_TUNABLES", "MALLOC_PERTURB_":
		return true
	default:
		return false
	}
}

// printable reports whether s is valid UTF-8 without control characters and white space other than the space.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// clip shortens what is shown of an input.
func clip(s string) string { return Clip(s, 80) }

func sorted(m map[string]string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
