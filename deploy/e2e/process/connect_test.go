// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// instruction is one of GetConnectInstructions, as `penstock connect -o json` shows it.
type instruction struct {
	Client, Title, Steps, Format, File, Content, Transport string
}

type instructions struct {
	URL           string        `json:"url"`
	TokenRequired bool          `json:"token_required"`
	Instructions  []instruction `json:"instructions"`
}

// entry is what an instruction tells its client.
type entry struct {
	url, token string
	command    []string // a local program in between, with its arguments
	env        map[string]string
}

// TestConnectInstructions is G-70: what `penstock connect` prints is what each client reads, and its URL and token work.
func TestConnectInstructions(t *testing.T) {
	a := newAlone(t)
	p := a.start()
	want := a.demo()

	got := a.cli("connect", "demo")
	if got.code != 0 || strings.Contains(got.stdout, want.token) || !strings.Contains(got.stdout, "penstock token create") {
		t.Errorf("connect demo: exit code %d, want the way to a token and none itself:\n%s%s", got.code, got.stdout, got.stderr)
	}
	all := readInstructions(t, a.cli("connect", "demo", "-o", "json", "--token-file", filepath.Join(a.data, "demo.token")))
	if all.URL != want.url || !all.TokenRequired {
		t.Errorf("got URL %s, token required %t", all.URL, all.TokenRequired)
	}
	checkClients(t, a, all, want.token)
	driven := map[string]bool{}
	for n, i := range all.Instructions {
		t.Run(fmt.Sprintf("%d %s %s", n, i.Client, i.Format), func(t *testing.T) {
			e := parseInstruction(t, i, want.token)
			if e.url != want.url || e.token != want.token {
				t.Fatalf("it says URL %q and token right: %t in\n%s", e.url, e.token == want.token, i.Content)
			}
			switch {
			case e.command != nil:
				driveCommand(t, e)
			case !driven[i.Client]: // the inspector takes seconds to start: once for each client
				driveInspector(t, e)
			}
			driven[i.Client] = true
		})
	}
	t.Run("mcp-remote", func(t *testing.T) {
		driveCommand(t, entry{
			command: []string{"npx", "-y", "mcp-remote@latest", want.url, "--transport", "http-only", "--header", "Authorization:${AUTH_HEADER}"},
			env:     map[string]string{"AUTH_HEADER": "Bearer " + want.token},
		})
	})
	if got := a.cli("connect", "demo", "--client", "netscape"); got.code == 0 || !strings.Contains(got.stderr, "claude-code") {
		t.Errorf("unknown client: exit code %d, want the known ones: %s", got.code, got.stderr)
	}
	if got := a.cli("connect", "nowhere"); got.code != 3 {
		t.Errorf("unknown gateway: exit code %d, want 3: %s", got.code, got.stderr)
	}
	p.stop()
}

// checkClients wants instructions of all clients of G-70, and of each alone; without a file none holds the token.
func checkClients(t *testing.T, a *alone, all instructions, token string) {
	t.Helper()
	var clients []string
	for _, i := range all.Instructions {
		if !slices.Contains(clients, i.Client) {
			clients = append(clients, i.Client)
		}
	}
	for _, client := range []string{"claude-desktop", "claude-code", "cursor", "vscode", "copilot-cli", "codex", "open-webui", "n8n", "any"} {
		if !slices.Contains(clients, client) {
			t.Errorf("no instructions for %s", client)
		}
		one := readInstructions(t, a.cli("connect", "demo", "--client", client, "-o", "json"))
		for _, i := range one.Instructions {
			if i.Client != client || strings.Contains(i.Content, token) {
				t.Errorf("--client %s shows %s", client, i.Client)
			}
		}
		if len(one.Instructions) == 0 {
			t.Errorf("--client %s shows nothing", client)
		}
	}
}

func readInstructions(t *testing.T, got finished) instructions {
	t.Helper()
	var all instructions
	d := json.NewDecoder(strings.NewReader(got.stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); got.code != 0 || err != nil {
		t.Fatalf("connect -o json: exit code %d, %v: %s", got.code, err, got.stderr)
	}
	return all
}

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

// parseJSON reads mcpServers (most clients), servers (VS Code) or the nodes of n8n.
func parseJSON(t *testing.T, i instruction, token string) entry {
	t.Helper()
	var file struct {
		MCPServers, Servers map[string]json.RawMessage
		Inputs              []struct{ ID, Type, Description string }
		Nodes               []struct {
			Parameters struct{ EndpointURL, ServerTransport, Authentication string }
		}
	}
	if err := json.Unmarshal([]byte(i.Content), &file); err != nil {
		t.Fatalf("%v in %s", err, i.Content)
	}
	switch {
	case file.MCPServers["demo"] != nil && i.Client != "vscode":
		return readServer(t, file.MCPServers["demo"], token)
	case file.Servers["demo"] != nil && len(file.Inputs) == 1 && file.Inputs[0].Type == "promptString":
		entered := strings.ReplaceAll(string(file.Servers["demo"]), "${input:"+file.Inputs[0].ID+"}", token)
		return readServer(t, []byte(entered), token)
	case len(file.Nodes) == 1 && file.Nodes[0].Parameters.Authentication == "bearerAuth" && file.Nodes[0].Parameters.ServerTransport == "httpStreamable":
		return entry{url: file.Nodes[0].Parameters.EndpointURL, token: token} // the credential is entered in n8n
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
		e := entry{command: append([]string{s.Command}, s.Args...), env: s.Env}
		for _, arg := range s.Args {
			if strings.HasPrefix(arg, "http://") {
				e.url = arg
			}
			if name, value, ok := strings.Cut(arg, ":"); ok && name == "Authorization" {
				e.token = bearer(os.Expand(value, func(name string) string { return s.Env[name] }))
			}
		}
		return e
	}
	return entry{url: s.URL, token: bearer(strings.ReplaceAll(s.Headers["Authorization"], "${PENSTOCK_TOKEN}", token))}
}

// bearer takes the token out of an Authorization header.
func bearer(value string) string {
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
	e := entry{}
	words := strings.Split(strings.TrimSuffix(got.stdout, "\x00"), "\x00")
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
	if key, ok := values["Key"]; ok && values["Auth"] == "Bearer" {
		return entry{url: values["URL"], token: key}
	}
	return entry{url: values["URL"], token: bearer(values["Authorization"])}
}
