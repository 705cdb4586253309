// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// parseInstruction reads an instruction the way its client does. token is what a person has in PENSTOCK_TOKEN, or gives
// where a client asks for it.
func parseInstruction(t *testing.T, i instruction, token string) entry {
	t.Helper()
	switch i.Format {
	case "json":
		return parseJSON(t, i, token)
	case "toml":
		return parseTOML(t, i, token)
	case "shell":
		return parseShell(t, i, token)
	case "url":
		u, err := url.Parse(i.Content)
		if err != nil || u.Scheme != "cursor" || u.Query().Get("name") != "demo" {
			t.Fatalf("link %s: %v", i.Content, err)
		}
		config, err := base64.StdEncoding.DecodeString(u.Query().Get("config"))
		if err != nil {
			t.Fatalf("link %s: %v", i.Content, err)
		}
		return readServer(t, config, token)
	case "text":
		return parseFields(t, i)
	default:
		t.Fatalf("unknown format %q", i.Format)
		return entry{}
	}
}

// mcpServer is an entry of the files that most clients share.
type mcpServer struct {
	Type, URL, Command string
	Name               string
	Args               []string
	Env, Headers       map[string]string
	Tools              []string
}

// parseJSON reads mcpServers (most clients), servers (VS Code), context_servers (Zed) or the nodes of n8n.
func parseJSON(t *testing.T, i instruction, token string) entry {
	t.Helper()
	var file struct {
		MCPServers, Servers map[string]json.RawMessage
		ContextServers      map[string]json.RawMessage `json:"context_servers"`
		Inputs              []struct{ ID, Type, Description string }
		Nodes               []struct {
			Parameters struct{ EndpointURL, ServerTransport, Authentication string }
		}
	}
	if err := json.Unmarshal([]byte(i.Content), &file); err != nil {
		t.Fatalf("%v in %s", err, i.Content)
	}
	switch {
	case file.MCPServers["demo"] != nil && i.Client != "vscode" && i.Client != "zed":
		return readServer(t, file.MCPServers["demo"], token)
	case file.ContextServers["demo"] != nil && i.Client == "zed":
		return readServer(t, file.ContextServers["demo"], token)
	case file.Servers["demo"] != nil && file.Inputs == nil:
		return readServer(t, file.Servers["demo"], "no token is asked for")
	case file.Servers["demo"] != nil && len(file.Inputs) == 1 && file.Inputs[0].Type == "promptString":
		entered := strings.ReplaceAll(string(file.Servers["demo"]), "${input:"+file.Inputs[0].ID+"}", token)
		return readServer(t, []byte(entered), token)
	case len(file.Nodes) == 1 && file.Nodes[0].Parameters.ServerTransport == map[string]string{"sse": "sse", "streamable-http": "httpStreamable"}[i.Transport]:
		credential, known := map[string]string{"bearerAuth": token, "mcpOAuth2Api": ""}[file.Nodes[0].Parameters.Authentication]
		if known {
			return entry{url: file.Nodes[0].Parameters.EndpointURL, token: credential} // it is entered in n8n
		}
	}
	t.Fatalf("no server demo in %s", i.Content)
	return entry{}
}

// readServer reads one entry. What stands in ${…} is taken from the environment by the clients that allow it.
func readServer(t *testing.T, text []byte, token string) entry {
	t.Helper()
	var s mcpServer
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if s.Command != "" {
		return readCommand(append([]string{s.Command}, s.Args...), s.Env)
	}
	return entry{url: s.URL, token: bearer(strings.ReplaceAll(s.Headers["Authorization"], "${PENSTOCK_TOKEN}", token))}
}

// readCommand reads a local program, which is mcp-remote.
func readCommand(words []string, env map[string]string) entry {
	e := entry{command: words, env: env}
	for _, word := range words {
		if strings.HasPrefix(word, "http://") {
			e.url = word
		}
		if name, value, ok := strings.Cut(word, ":"); ok && name == "Authorization" {
			e.token = bearer(os.Expand(value, func(name string) string { return env[name] }))
		}
	}
	return e
}

// bearer takes the token out of an Authorization header; there is none without a header.
func bearer(value string) string {
	if value == "" {
		return ""
	}
	token, ok := strings.CutPrefix(value, "Bearer ")
	if !ok {
		return "no bearer token: " + value
	}
	return token
}

// parseTOML reads what Codex does: one table of strings.
func parseTOML(t *testing.T, i instruction, token string) entry {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(i.Content), "\n")
	if lines[0] != "[mcp_servers.demo]" {
		t.Fatalf("no table of the server in %s", i.Content)
	}
	values := map[string]string{}
	for _, line := range lines[1:] {
		m := regexp.MustCompile(`^([a-z_]+) = (".*")$`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line %q is no string", line)
		}
		value, err := strconv.Unquote(m[2])
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		values[m[1]] = value
	}
	e := entry{url: values["url"]}
	if values["bearer_token_env_var"] == "PENSTOCK_TOKEN" {
		e.token = token
	}
	return e
}

// parseShell lets a real shell split the command and shows what the program would get.
func parseShell(t *testing.T, i instruction, token string) entry {
	t.Helper()
	program, _, _ := strings.Cut(i.Content, " ")
	got := run(t, options{env: []string{"PENSTOCK_TOKEN=" + token}}, "/bin/bash", "-c", program+`() { printf '%s\0' "$@"; }; `+i.Content)
	if got.code != 0 {
		t.Fatalf("%s in %s", got.stderr, i.Content)
	}
	words := strings.Split(strings.TrimSuffix(got.stdout, "\x00"), "\x00")
	if program == "npx" {
		return readCommand(append([]string{program}, words...), nil)
	}
	e := entry{}
	for n, word := range words {
		if text, ok := strings.CutPrefix(word, "Authorization: "); ok {
			e.token = bearer(text)
		}
		if strings.HasPrefix(word, "http://") {
			e.url = word
		}
		if word == "--bearer-token-env-var" && words[n+1] == "PENSTOCK_TOKEN" {
			e.token = token
		}
		if word == "--add-mcp" {
			return readServer(t, []byte(words[n+1]), token)
		}
	}
	return e
}

// parseFields reads what a person types into a form.
func parseFields(t *testing.T, i instruction) entry {
	t.Helper()
	values := map[string]string{}
	for line := range strings.Lines(i.Content) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("line %q is no field", line)
		}
		values[name] = value
	}
	e := entry{url: values[urlField(i.Client)]}
	switch {
	case i.Client == "open-webui" && values["Auth"] == "Bearer":
		e.token = values["Key"]
	case i.Client == "open-webui" && values["Auth"] != "OAuth 2.1", i.Client == "chatgpt" && values["Authentication"] != "OAuth":
		t.Fatalf("the form does not know this authentication: %s", i.Content)
	case i.Client == "goose":
		e.token = bearer(values["Request header Authorization"])
	default:
		e.token = bearer(values["Authorization"])
	}
	return e
}

// urlField is what a client calls the URL in its form.
func urlField(client string) string {
	switch client {
	case "claude", "claude-desktop":
		return "Remote MCP server URL"
	case "chatgpt":
		return "MCP Server URL"
	case "goose":
		return "Endpoint"
	default:
		return "URL"
	}
}
