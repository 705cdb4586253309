// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"encoding/base64"
	"fmt"
	"net/url"
)

// What a client does at a gateway with OAuth. The variants of this file hold the URL and no token: the client finds the
// authserver by itself (MCP authorization, RFC 9728) and opens a browser.
const (
	opensBrowser = "It opens your browser to log in at the first use; no token is needed."
	publicURL    = "The service connects from the internet, so the gateway must be reachable there over https. "
)

// claudeConnector is for the connectors of Claude on the web, on the desktop and on phones, which take no pasted token.
func claudeConnector(g Gateway) []Instruction {
	return []Instruction{{
		Steps: "In Claude open Settings, Connectors, Add custom connector, and fill in these fields; then choose Connect. " +
			opensBrowser + " " + publicURL + "It works in Claude Desktop and on phones too.",
		Format: FormatText, Transport: StreamableHTTP,
		Content: fields([][2]string{{"Name", g.Title}, {"Remote MCP server URL", g.URL}}),
	}}
}

func chatGPT(g Gateway) []Instruction {
	return []Instruction{{
		Steps: "In ChatGPT open Settings, Apps & Connectors, turn developer mode on under Advanced settings, choose Create and fill in " +
			"these fields. " + opensBrowser + " " + publicURL,
		Format: FormatText, Transport: StreamableHTTP,
		Content: fields([][2]string{{"Name", g.Title}, {"MCP Server URL", g.URL}, {"Authentication", "OAuth"}}),
	}}
}

func claudeDesktopLogin(g Gateway) []Instruction {
	return []Instruction{
		{
			Steps: "In Claude Desktop open Settings, Connectors, Add custom connector, and fill in these fields; then choose Connect. " +
				opensBrowser + " " + publicURL,
			Format: FormatText, Transport: StreamableHTTP,
			Content: fields([][2]string{{"Name", g.Title}, {"Remote MCP server URL", g.URL}}),
		},
		{
			Steps: "For a gateway that is not reachable from the internet, open Settings, Developer, Edit Config, merge this in and " +
				"restart it (Node.js is needed). " + opensBrowser,
			Format: FormatJSON, File: "claude_desktop_config.json", Transport: Stdio,
			Content: indented(object{"mcpServers": object{g.Name: object{"command": "npx", "args": remoteArgs(g)}}}),
		},
	}
}

// remoteArgs are the arguments of npx that start mcp-remote without a token.
func remoteArgs(g Gateway) []string {
	args := []string{"-y", "mcp-remote@latest", g.URL, "--transport", "http-only"}
	if plainHTTP(g.URL) {
		args = append(args, "--allow-http")
	}
	return args
}

func claudeCodeLogin(g Gateway) []Instruction {
	add := func(transport string) string {
		return fmt.Sprintf("claude mcp add --transport %s %s %s", transport, quoted(g.Name), quoted(g.URL))
	}
	const login = "Then type /mcp in Claude Code and choose the gateway: it opens your browser to log in; no token is needed."
	return []Instruction{
		{Steps: "Run this in a terminal. " + login, Format: FormatShell, Transport: StreamableHTTP, Content: add("http")},
		{
			Steps:  "Or put this into the project; the file can be shared. " + login,
			Format: FormatJSON, File: ".mcp.json", Transport: StreamableHTTP,
			Content: indented(object{"mcpServers": object{g.Name: object{"type": "http", "url": g.URL}}}),
		},
		{Steps: overSSE + "Run this in a terminal. " + login, Format: FormatShell, Transport: SSE, Content: add("sse")},
	}
}

func cursorLogin(g Gateway) []Instruction {
	entry := object{"url": g.URL}
	return []Instruction{
		{
			Steps:  "Open this link; Cursor asks before it installs. " + opensBrowser,
			Format: FormatURL, Transport: StreamableHTTP, Content: cursorLink(g, entry),
		},
		{
			Steps:  "Or merge this into the file. " + opensBrowser,
			Format: FormatJSON, File: "~/.cursor/mcp.json", Transport: StreamableHTTP,
			Content: indented(object{"mcpServers": object{g.Name: entry}}),
		},
	}
}

// cursorLink installs an entry of ~/.cursor/mcp.json.
func cursorLink(g Gateway, entry object) string {
	return "cursor://anysphere.cursor-deeplink/mcp/install?" + url.Values{
		"name":   {g.Name},
		"config": {base64.StdEncoding.EncodeToString([]byte(compact(entry)))},
	}.Encode()
}

func vscodeLogin(g Gateway) []Instruction {
	file := func(kind string) string {
		return indented(object{"servers": object{g.Name: object{"type": kind, "url": g.URL}}})
	}
	return []Instruction{
		{
			Steps:  "Run this in a terminal. " + opensBrowser,
			Format: FormatShell, Transport: StreamableHTTP,
			Content: "code --add-mcp " + expanding(compact(object{"name": g.Name, "type": "http", "url": g.URL})),
		},
		{
			Steps:  "Or merge this into the file (or into the one that the command MCP: Open User Configuration opens). " + opensBrowser,
			Format: FormatJSON, File: ".vscode/mcp.json", Transport: StreamableHTTP, Content: file("http"),
		},
		{
			Steps:  overSSE + "Merge this into the file. " + opensBrowser,
			Format: FormatJSON, File: ".vscode/mcp.json", Transport: SSE, Content: file("sse"),
		},
	}
}

func copilotCLILogin(g Gateway) []Instruction {
	file := func(kind string) string {
		return indented(object{"mcpServers": object{g.Name: object{"type": kind, "url": g.URL, "tools": []string{"*"}}}})
	}
	const merge = "Merge this into the file and start Copilot CLI. " + opensBrowser
	return []Instruction{
		{Steps: merge, Format: FormatJSON, File: "~/.copilot/mcp-config.json", Transport: StreamableHTTP, Content: file("http")},
		{Steps: overSSE + merge, Format: FormatJSON, File: "~/.copilot/mcp-config.json", Transport: SSE, Content: file("sse")},
	}
}

func codexLogin(g Gateway) []Instruction {
	return []Instruction{
		{
			Steps:  "Run this in a terminal; it opens your browser to log in, and no token is needed. To log in again later: codex mcp login " + g.Name + ".",
			Format: FormatShell, Transport: StreamableHTTP,
			Content: fmt.Sprintf("codex mcp add %s --url %s", quoted(g.Name), quoted(g.URL)),
		},
		{
			Steps:  "Or add this to the file and run: codex mcp login " + g.Name + ". It opens your browser to log in; no token is needed.",
			Format: FormatTOML, File: "~/.codex/config.toml", Transport: StreamableHTTP,
			Content: fmt.Sprintf("[mcp_servers.%s]\nurl = %s\n", g.Name, compact(g.URL)),
		},
	}
}

func gooseLogin(g Gateway) []Instruction {
	return []Instruction{{
		Steps:  "In Goose open Extensions, Add custom extension (or run goose configure, Add Extension), and fill in these fields. " + opensBrowser,
		Format: FormatText, Transport: StreamableHTTP,
		Content: fields([][2]string{{"Type", "Streamable HTTP"}, {"Name", g.Name}, {"Endpoint", g.URL}}),
	}}
}

func zedLogin(g Gateway) []Instruction {
	return []Instruction{{
		Steps:  "Merge this into the settings file (the command zed: open settings file opens it). " + opensBrowser,
		Format: FormatJSON, File: "~/.config/zed/settings.json", Transport: StreamableHTTP,
		Content: indented(object{"context_servers": object{g.Name: object{"url": g.URL}}}),
	}}
}

func openWebUILogin(g Gateway) []Instruction {
	return []Instruction{{
		Steps: "In Open WebUI open Admin Settings, External Tools, add a server, fill in these fields and choose Register Client. " +
			"Each person then logs in with the browser where the tool is turned on; no token is needed.",
		Format: FormatText, Transport: StreamableHTTP,
		Content: fields([][2]string{
			{"Type", "MCP (Streamable HTTP)"}, {"URL", g.URL}, {"Auth", "OAuth 2.1"}, {"ID", g.Name}, {"Name", g.Title},
		}),
	}}
}

func n8nLogin(g Gateway) []Instruction {
	const paste = "Paste this onto the canvas of a workflow and connect it to an AI Agent. In the node make an MCP OAuth2 credential: " +
		"it opens your browser to log in, and no token is needed."
	return []Instruction{
		{Steps: paste, Format: FormatJSON, Transport: StreamableHTTP, Content: n8nCanvas(g, "httpStreamable", "mcpOAuth2Api")},
		{Steps: overSSE + paste, Format: FormatJSON, Transport: SSE, Content: n8nCanvas(g, "sse", "mcpOAuth2Api")},
	}
}

// mcpRemoteLogin is for clients that only start programs.
func mcpRemoteLogin(g Gateway) []Instruction {
	args := remoteArgs(g)
	command := "npx"
	for _, a := range args {
		command += " " + quoted(a)
	}
	return []Instruction{
		{
			Steps:  "For a client that only starts programs: merge this into its file (Node.js is needed). " + opensBrowser,
			Format: FormatJSON, Transport: Stdio,
			Content: indented(object{"mcpServers": object{g.Name: object{"command": "npx", "args": args}}}),
		},
		{Steps: "Or give the client this command. " + opensBrowser, Format: FormatShell, Transport: Stdio, Content: command},
	}
}

func anyClientLogin(g Gateway) []Instruction {
	file := func(kind string) string {
		return indented(object{"mcpServers": object{g.Name: object{"type": kind, "url": g.URL}}})
	}
	return []Instruction{
		{
			Steps:  "Any client that speaks Streamable HTTP and OAuth: the URL is all it needs. " + opensBrowser,
			Format: FormatText, Transport: StreamableHTTP,
			Content: fields([][2]string{{"URL", g.URL}, {"Transport", "Streamable HTTP"}}),
		},
		{
			Steps:  "Most clients that are configured by a file take this form. " + opensBrowser,
			Format: FormatJSON, Transport: StreamableHTTP, Content: file("http"),
		},
		{
			Steps:  "Any client that speaks HTTP+SSE (MCP 2024-11-05) and OAuth: the URL is the same. " + opensBrowser,
			Format: FormatText, Transport: SSE,
			Content: fields([][2]string{{"URL", g.URL}, {"Transport", "SSE"}}),
		},
		{
			Steps:  "Most clients that are configured by a file take this form for HTTP+SSE. " + opensBrowser,
			Format: FormatJSON, Transport: SSE, Content: file("sse"),
		},
	}
}
