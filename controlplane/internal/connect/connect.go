// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Placeholder stands in an instruction where the bearer token belongs. In a shell command it is what the shell expands.
const Placeholder = "${PENSTOCK_TOKEN}"

// Transports of an [Instruction].
const (
	StreamableHTTP = "streamable-http"
	SSE            = "sse"   // HTTP+SSE of 2024-11-05, at the same URL
	Stdio          = "stdio" // a local program that speaks Streamable HTTP to the gateway
)

// Formats of an [Instruction]'s content.
const (
	FormatJSON  = "json"
	FormatTOML  = "toml"
	FormatShell = "shell"
	FormatURL   = "url"
	FormatText  = "text"
)

// Reasons of the faults of this package.
const (
	// ReasonUnknownClient (Invalid): the client is not in the list.
	ReasonUnknownClient = "CLIENT_UNKNOWN"
	// ReasonClientNeedsOAuth (Precondition): the client takes no bearer token, and the gateway takes nothing else.
	ReasonClientNeedsOAuth = "CLIENT_NEEDS_OAUTH"
)

// Gateway is what the instructions are about.
type Gateway struct {
	Name  string // slug; the name the client lists the gateway under, for example "eng"
	Title string // for people, for example "Engineering tools"; empty means Name
	URL   string // absolute URL of the MCP endpoint, for example "https://mcp.example.com/v1/mcp/eng"

	OAuth, BearerToken bool // how clients may authenticate
}

// Instruction is ready to paste into one client.
type Instruction struct {
	Client    string // slug, for example "claude-code"
	Title     string // for people, for example "Claude Code"
	Steps     string // what to do with the content, one or two sentences
	Format    string // FormatJSON and so on
	File      string // file the content belongs into, ~ for the home directory; empty if none
	Content   string
	Transport string // StreamableHTTP, SSE or Stdio
}

// client is one entry of the list. login writes the variants in which the client opens a browser, pasted those with a
// bearer token; nil is a client that cannot do it.
type client struct {
	slug, title   string
	login, pasted func(Gateway) []Instruction
}

// clients is the list of G-70 in the order in which it is shown. Streamable HTTP stands first; HTTP+SSE follows for the
// clients that can be told to use it: Cursor finds it out itself, Codex, Goose, Zed and Open WebUI have none.
func clients() []client {
	return []client{
		{"claude", "Claude", claudeConnector, nil},
		{"claude-desktop", "Claude Desktop", claudeDesktopLogin, claudeDesktop},
		{"claude-code", "Claude Code", claudeCodeLogin, claudeCode},
		{"chatgpt", "ChatGPT", chatGPT, nil},
		{"cursor", "Cursor", cursorLogin, cursor},
		{"vscode", "VS Code", vscodeLogin, vscode},
		{"copilot-cli", "GitHub Copilot CLI", copilotCLILogin, copilotCLI},
		{"codex", "Codex", codexLogin, codex},
		{"goose", "Goose", gooseLogin, goose},
		{"zed", "Zed", zedLogin, zed},
		{"open-webui", "Open WebUI", openWebUILogin, openWebUI},
		{"n8n", "n8n", n8nLogin, n8n},
		{"mcp-remote", "mcp-remote", mcpRemoteLogin, mcpRemote},
		{"any", "Any MCP client", anyClientLogin, anyClient},
	}
}

// Clients returns the slugs of all clients, in the order of [Instructions].
func Clients() []string {
	var slugs []string
	for _, c := range clients() {
		slugs = append(slugs, c.slug)
	}
	return slugs
}

// Instructions returns the instructions of one client, or of every client if slug is empty: for each client those that log
// in with a browser first, then those with a bearer token, as the gateway takes them. A slug that is not in the list is a
// fault of kind Invalid with [ReasonUnknownClient] that names those that are; a client that cannot use the gateway is one
// of kind Precondition with [ReasonClientNeedsOAuth].
func Instructions(g Gateway, slug string) ([]Instruction, error) {
	if g.Title == "" {
		g.Title = g.Name
	}
	if slug != "" && !slices.Contains(Clients(), slug) {
		return nil, fault.Newf(fault.Invalid, ReasonUnknownClient, "There are no instructions for client %q. Known clients: %s.",
			slug, strings.Join(Clients(), ", ")).At("client", "is not a known client")
	}
	var all []Instruction
	for _, c := range clients() {
		if slug != "" && c.slug != slug {
			continue
		}
		for _, i := range c.instructions(g) {
			i.Client, i.Title, i.Steps = c.slug, c.title, strings.TrimSpace(i.Steps)
			all = append(all, i)
		}
	}
	if slug != "" && len(all) == 0 {
		return nil, fault.Newf(fault.Precondition, ReasonClientNeedsOAuth,
			"This client takes no bearer token, and the gateway %s nothing else; set authentication: {oauth: {}} on it.", g.Name)
	}
	return all, nil
}

// instructions returns what a client can do at a gateway.
func (c client) instructions(g Gateway) (all []Instruction) {
	if g.OAuth && c.login != nil {
		all = c.login(g)
	}
	if g.BearerToken && c.pasted != nil {
		all = append(all, c.pasted(g)...)
	}
	return all
}

// plainHTTP reports whether mcp-remote has to be told to accept the URL: it takes http only for the names of this machine.
func plainHTTP(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}
