// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// authorization is the value of the Authorization header every client sends.
const authorization = "Bearer " + Placeholder

// overSSE begins the steps of a variant with HTTP+SSE.
const overSSE = "If something on the way does not let Streamable HTTP through, use HTTP+SSE at the same URL. "

const replaceToken = "Replace " + Placeholder + " with your bearer token."

// object is a JSON object; maps are written with sorted names, so the text is the same each time.
type object = map[string]any

// claudeDesktop starts mcp-remote, because Claude Desktop's own connectors take no pasted token.
func claudeDesktop(g Gateway) []Instruction {
	return []Instruction{{
		Steps: "In Claude Desktop open Settings, Developer, Edit Config, merge this in and restart it (Node.js is needed). " +
			replaceToken,
		Format: FormatJSON, File: "claude_desktop_config.json", Transport: Stdio,
		Content: remoteEntry(g),
	}}
}

// remoteEntry starts mcp-remote with a token. The header goes through an environment variable: a space inside an argument
// is lost on Windows.
func remoteEntry(g Gateway) string {
	return indented(object{"mcpServers": object{g.Name: object{
		"command": "npx", "args": append(remoteArgs(g), "--header", "Authorization:${AUTH_HEADER}"),
		"env": object{"AUTH_HEADER": authorization},
	}}})
}

func mcpRemote(g Gateway) []Instruction {
	return []Instruction{{
		Steps:  "For a client that only starts programs: merge this into its file (Node.js is needed). " + replaceToken,
		Format: FormatJSON, Transport: Stdio, Content: remoteEntry(g),
	}}
}

func goose(g Gateway) []Instruction {
	return []Instruction{{
		Steps:  "In Goose open Extensions, Add custom extension (or run goose configure, Add Extension), and fill in these fields. " + replaceToken,
		Format: FormatText, Transport: StreamableHTTP,
		Content: fields([][2]string{
			{"Type", "Streamable HTTP"}, {"Name", g.Name}, {"Endpoint", g.URL}, {"Request header Authorization", authorization},
		}),
	}}
}

func zed(g Gateway) []Instruction {
	return []Instruction{{
		Steps:  "Merge this into the settings file (the command zed: open settings file opens it). " + replaceToken,
		Format: FormatJSON, File: "~/.config/zed/settings.json", Transport: StreamableHTTP,
		Content: indented(object{"context_servers": object{g.Name: withHeaders(object{"url": g.URL})}}),
	}}
}

func claudeCode(g Gateway) []Instruction {
	return []Instruction{
		{
			Steps:  "Set PENSTOCK_TOKEN to your bearer token and run this in a terminal.",
			Format: FormatShell, Transport: StreamableHTTP,
			Content: fmt.Sprintf(`claude mcp add --transport http %s %s --header "Authorization: %s"`,
				quoted(g.Name), quoted(g.URL), authorization),
		},
		{
			Steps: "Or put this into the project: Claude Code reads the token from the environment variable " +
				"PENSTOCK_TOKEN, so the file can be shared.",
			Format: FormatJSON, File: ".mcp.json", Transport: StreamableHTTP,
			Content: indented(object{"mcpServers": object{g.Name: withHeaders(object{"type": "http", "url": g.URL})}}),
		},
		{
			Steps:  overSSE + "Set PENSTOCK_TOKEN to your bearer token and run this in a terminal.",
			Format: FormatShell, Transport: SSE,
			Content: fmt.Sprintf(`claude mcp add --transport sse %s %s --header "Authorization: %s"`,
				quoted(g.Name), quoted(g.URL), authorization),
		},
	}
}

func cursor(g Gateway) []Instruction {
	entry := withHeaders(object{"url": g.URL})
	return []Instruction{
		{
			Steps: "Open this link; Cursor asks before it installs. Then replace " + Placeholder +
				" with your bearer token in ~/.cursor/mcp.json (penstock connect --token-file puts it into the link).",
			Format: FormatURL, Content: cursorLink(g, entry), Transport: StreamableHTTP,
		},
		{
			Steps:  "Or merge this into the file. " + replaceToken,
			Format: FormatJSON, File: "~/.cursor/mcp.json", Transport: StreamableHTTP,
			Content: indented(object{"mcpServers": object{g.Name: entry}}),
		},
	}
}

// vscode asks for the token itself and keeps it in the system's secret storage, so the file holds none.
func vscode(g Gateway) []Instruction {
	input := "penstock-" + g.Name + "-token"
	file := func(kind string) string {
		return indented(object{
			"inputs": []any{object{
				"id": input, "type": "promptString", "password": true, "description": "Penstock bearer token for " + g.Title,
			}},
			"servers": object{g.Name: object{
				"type": kind, "url": g.URL, "headers": object{"Authorization": "Bearer ${input:" + input + "}"},
			}},
		})
	}
	named := withHeaders(object{"name": g.Name, "type": "http", "url": g.URL})
	return []Instruction{
		{
			Steps:  "Merge this into the file (or into the one that the command MCP: Open User Configuration opens). VS Code asks for your bearer token at the first start.",
			Format: FormatJSON, File: ".vscode/mcp.json", Transport: StreamableHTTP,
			Content: file("http"),
		},
		{
			Steps:  "Or set PENSTOCK_TOKEN to your bearer token and run this in a terminal.",
			Format: FormatShell, Transport: StreamableHTTP,
			Content: "code --add-mcp " + expanding(compact(named)),
		},
		{
			Steps:  overSSE + "Merge this into the file; VS Code asks for your bearer token.",
			Format: FormatJSON, File: ".vscode/mcp.json", Transport: SSE,
			Content: file("sse"),
		},
	}
}

func copilotCLI(g Gateway) []Instruction {
	file := func(kind string) string {
		return indented(object{"mcpServers": object{g.Name: withHeaders(object{
			"type": kind, "url": g.URL, "tools": []string{"*"},
		})}})
	}
	const merge = "Merge this into the file. Copilot CLI reads the token from the environment variable PENSTOCK_TOKEN when it starts."
	return []Instruction{
		{
			Steps: merge, Format: FormatJSON, File: "~/.copilot/mcp-config.json", Transport: StreamableHTTP,
			Content: file("http"),
		},
		{
			Steps: overSSE + merge, Format: FormatJSON, File: "~/.copilot/mcp-config.json", Transport: SSE,
			Content: file("sse"),
		},
	}
}

func codex(g Gateway) []Instruction {
	return []Instruction{
		{
			Steps:  "Add this to the file and set the environment variable PENSTOCK_TOKEN to your bearer token before you start Codex.",
			Format: FormatTOML, File: "~/.codex/config.toml", Transport: StreamableHTTP,
			Content: fmt.Sprintf("[mcp_servers.%s]\nurl = %s\nbearer_token_env_var = \"PENSTOCK_TOKEN\"\n", g.Name, compact(g.URL)),
		},
		{
			Steps:  "Or run this in a terminal; Codex reads the token from PENSTOCK_TOKEN each time it starts.",
			Format: FormatShell, Transport: StreamableHTTP,
			Content: fmt.Sprintf("codex mcp add %s --url %s --bearer-token-env-var PENSTOCK_TOKEN", quoted(g.Name), quoted(g.URL)),
		},
	}
}

func openWebUI(g Gateway) []Instruction {
	return []Instruction{{
		Steps:  "In Open WebUI open Admin Settings, External Tools, add a server and fill in these fields. " + replaceToken,
		Format: FormatText, Transport: StreamableHTTP,
		Content: fields([][2]string{
			{"Type", "MCP (Streamable HTTP)"},
			{"URL", g.URL},
			{"Auth", "Bearer"},
			{"Key", Placeholder},
			{"ID", g.Name},
			{"Name", g.Title},
		}),
	}}
}

func n8n(g Gateway) []Instruction {
	const paste = "Paste this onto the canvas of a workflow and connect it to an AI Agent. In the node choose a Bearer Auth " +
		"credential whose token is your bearer token."
	return []Instruction{
		{Steps: paste, Format: FormatJSON, Transport: StreamableHTTP, Content: n8nCanvas(g, "httpStreamable", "bearerAuth")},
		{Steps: overSSE + paste, Format: FormatJSON, Transport: SSE, Content: n8nCanvas(g, "sse", "bearerAuth")},
	}
}

// n8nCanvas is a node to paste.
func n8nCanvas(g Gateway, transport, authentication string) string {
	node := object{
		"id": "penstock-" + g.Name, "name": g.Title, "type": "@n8n/n8n-nodes-langchain.mcpClientTool", "typeVersion": 1.1,
		"position":   []int{0, 0},
		"parameters": object{"endpointUrl": g.URL, "serverTransport": transport, "authentication": authentication, "options": object{}},
	}
	return indented(object{"nodes": []any{node}, "connections": object{}})
}

func anyClient(g Gateway) []Instruction {
	initialize := compact(object{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": object{
		"protocolVersion": "2025-11-25", "capabilities": object{}, "clientInfo": object{"name": "curl", "version": "1"},
	}})
	return []Instruction{
		{
			Steps:  "Any client that speaks Streamable HTTP and can send a header. " + replaceToken,
			Format: FormatText, Transport: StreamableHTTP,
			Content: fields([][2]string{{"URL", g.URL}, {"Transport", "Streamable HTTP"}, {"Authorization", authorization}}),
		},
		{
			Steps:  "Most clients that are configured by a file take this form. " + replaceToken,
			Format: FormatJSON, Transport: StreamableHTTP,
			Content: indented(object{"mcpServers": object{g.Name: withHeaders(object{"type": "http", "url": g.URL})}}),
		},
		{
			Steps:  "Any client that speaks HTTP+SSE (MCP 2024-11-05) and can send a header: the URL is the same. " + replaceToken,
			Format: FormatText, Transport: SSE,
			Content: fields([][2]string{{"URL", g.URL}, {"Transport", "SSE"}, {"Authorization", authorization}}),
		},
		{
			Steps:  "Most clients that are configured by a file take this form for HTTP+SSE. " + replaceToken,
			Format: FormatJSON, Transport: SSE,
			Content: indented(object{"mcpServers": object{g.Name: withHeaders(object{"type": "sse", "url": g.URL})}}),
		},
		{
			Steps:  "Without any client: set PENSTOCK_TOKEN to your bearer token and see whether the gateway answers.",
			Format: FormatShell, Transport: StreamableHTTP,
			Content: fmt.Sprintf(`curl -sS %s -H "Authorization: %s" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' -d %s`,
				quoted(g.URL), authorization, quoted(initialize)),
		},
	}
}

// withHeaders adds the Authorization header in the form that most clients share.
func withHeaders(entry object) object {
	entry["headers"] = object{"Authorization": authorization}
	return entry
}

// compact returns JSON on one line, without escapes that only HTML needs: people read it, and TOML strings share its quoting.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // maps, slices, strings and numbers cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

// indented returns JSON over several lines.
func indented(v any) string {
	var b bytes.Buffer
	_ = json.Indent(&b, []byte(compact(v)), "", "  ") // what compact wrote is valid
	return b.String()
}

// quoted returns a shell word; one without anything special stays bare.
func quoted(word string) string {
	safe := func(r rune) bool {
		return r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !safe(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// expanding returns a shell word in double quotes in which only the placeholder is expanded.
func expanding(word string) string {
	parts := strings.Split(word, Placeholder)
	for i, part := range parts {
		parts[i] = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(part)
	}
	return `"` + strings.Join(parts, Placeholder) + `"`
}

// fields returns lines of "name: value".
func fields(lines [][2]string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(l[0] + ": " + l[1] + "\n")
	}
	return b.String()
}
