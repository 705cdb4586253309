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

// ReasonUnknownClient is the reason of the fault for a client that is not in the list.
const ReasonUnknownClient = "CLIENT_UNKNOWN"

// Gateway is what the instructions are about.
type Gateway struct {
	Name  string // slug; the name the client lists the gateway under, for example "eng"
	Title string // for people, for example "Engineering tools"; empty means Name
	URL   string // absolute URL of the MCP endpoint, for example "https://mcp.example.com/v1/mcp/eng"
}

// Instruction is ready to paste into one client.
type Instruction struct {
	Client    string // slug, for example "claude-code"
	Title     string // for people, for example "Claude Code"
	Steps     string // what to do with the content, one or two sentences
	Format    string // FormatJSON and so on
	File      string // file the content belongs into, ~ for the home directory; empty if none
	Content   string
	Transport string // StreamableHTTP or Stdio
}

// client is one entry of the list.
type client struct {
	slug, title string
	write       func(Gateway) []Instruction
}

// clients is the list of G-70 in the order in which it is shown. A variant that only works with OAuth (connectors of
// Claude Desktop, for instance, take no pasted token) is absent until gateways serve OAuth, as is SSE until nodes serve it.
func clients() []client {
	return []client{
		{"claude-desktop", "Claude Desktop", claudeDesktop},
		{"claude-code", "Claude Code", claudeCode},
		{"cursor", "Cursor", cursor},
		{"vscode", "VS Code", vscode},
		{"copilot-cli", "GitHub Copilot CLI", copilotCLI},
		{"codex", "Codex", codex},
		{"open-webui", "Open WebUI", openWebUI},
		{"n8n", "n8n", n8n},
		{"any", "Any MCP client", anyClient},
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

// Instructions returns the instructions of one client, or of every client if slug is empty. A slug that is not in the list
// is a fault of kind Invalid with [ReasonUnknownClient] that names those that are.
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
		for _, i := range c.write(g) {
			i.Client, i.Title = c.slug, c.title
			all = append(all, i)
		}
	}
	return all, nil
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
