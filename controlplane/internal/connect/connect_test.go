// SPDX-License-Identifier: Apache-2.0

package connect

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/url"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const token = "pst_u_0123456789"

// gateways are what makes quoting hard: a query, a title with quotes, a plain remote host.
func gateways() map[string]Gateway {
	return map[string]Gateway{
		"local":  {Name: "demo", URL: "http://127.0.0.1:8080/v1/mcp/demo", BearerToken: true},
		"public": {Name: "eng-tools", Title: `Ada's "tools" $HOME`, URL: "https://mcp.example.com/v1/mcp/eng-tools?a=1&b=$x", BearerToken: true},
		"plain":  {Name: "lab", URL: "http://10.0.0.7:8080/v1/mcp/lab", BearerToken: true},
	}
}

// withLogin is the gateways with OAuth and without bearer tokens.
func withLogin() map[string]Gateway {
	all := make(map[string]Gateway)
	for name, g := range gateways() {
		g.OAuth, g.BearerToken = true, false
		all[name+", login"] = g
	}
	return all
}

// TestEveryInstructionParses is G-70: what is pasted must be what the client reads, with the gateway's URL in it, and a
// place for the token exactly where the client sends one.
func TestEveryInstructionParses(t *testing.T) {
	all := gateways()
	maps.Copy(all, withLogin())
	for name, g := range all {
		all, err := Instructions(g, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			t.Run(name+"/"+i.Client+"/"+i.Format, func(t *testing.T) {
				if i.Title == "" || i.Steps == "" || !slices.Contains([]string{StreamableHTTP, SSE, Stdio}, i.Transport) {
					t.Errorf("incomplete: %+v", i)
				}
				urls, tokens := read(t, i)
				if !slices.Contains(urls, g.URL) {
					t.Errorf("URL %s is not among the values %q", g.URL, urls)
				}
				if tokens != g.BearerToken {
					t.Errorf("a place for the token: %t, want %t, in %s", tokens, g.BearerToken, i.Content)
				}
				if strings.Contains(i.Steps, "browser to log in") == g.BearerToken && i.Client != "open-webui" {
					t.Errorf("the steps do not say how to log in: %s", i.Steps)
				}
			})
		}
	}
}

// read parses the content and returns its string values, and whether the token has a place.
func read(t *testing.T, i Instruction) (values []string, token bool) {
	t.Helper()
	switch i.Format {
	case FormatJSON:
		values = jsonStrings(t, i.Content)
	case FormatTOML:
		for line := range strings.Lines(i.Content) {
			key, value, ok := strings.Cut(strings.TrimSpace(line), " = ")
			if !ok {
				if !strings.HasPrefix(line, "[mcp_servers.") {
					t.Errorf("line %q is no key and no table", line)
				}
				continue
			}
			s, err := strconv.Unquote(value)
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
			values = append(values, s)
		}
	case FormatShell:
		values = shellWords(t, i.Content)
		for _, v := range values {
			if strings.HasPrefix(v, "{") {
				values = append(values, jsonStrings(t, v)...)
			}
		}
	case FormatURL:
		u, err := url.Parse(i.Content)
		if err != nil {
			t.Fatal(err)
		}
		config, err := base64.StdEncoding.DecodeString(u.Query().Get("config"))
		if err != nil {
			t.Fatal(err)
		}
		values = jsonStrings(t, string(config))
	case FormatText:
		for line := range strings.Lines(i.Content) {
			_, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
			if !ok {
				t.Errorf("line %q is no field", line)
			}
			values = append(values, value)
		}
	default:
		t.Fatalf("unknown format %q", i.Format)
	}
	return values, slices.ContainsFunc(values, holdsToken)
}

// holdsToken reports whether a value takes the token: the placeholder, what the shell made of it, the name of the variable
// that Codex reads, the prompt of VS Code, or the credential of n8n.
func holdsToken(v string) bool {
	return strings.Contains(v, Placeholder) || strings.Contains(v, token) || v == "PENSTOCK_TOKEN" || v == "promptString" || v == "bearerAuth"
}

func jsonStrings(t *testing.T, text string) []string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	var found []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			found = append(found, v)
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
	return found
}

// shellWords lets a real shell split the command, with PENSTOCK_TOKEN set, in place of running the program.
func shellWords(t *testing.T, command string) []string {
	t.Helper()
	program, _, _ := strings.Cut(command, " ")
	script := program + `() { printf '%s\0' "$@"; }; ` + command
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Env = []string{"PENSTOCK_TOKEN=" + token, "PATH=/nowhere"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v in %s", err, command)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestOneClient(t *testing.T) {
	for _, slug := range Clients() {
		got, err := Instructions(withLogin()["local, login"], slug)
		if err != nil || len(got) == 0 {
			t.Errorf("%s: got %d instructions, error %v", slug, len(got), err)
		}
		for _, i := range got {
			if i.Client != slug {
				t.Errorf("%s: got an instruction of %s", slug, i.Client)
			}
		}
	}
}

func TestUnknownClient(t *testing.T) {
	_, err := Instructions(gateways()["local"], "netscape")
	f := fault.From(err)
	if f.Kind != fault.Invalid || f.Reason != ReasonUnknownClient || !strings.Contains(f.Public, "claude-code") {
		t.Errorf("got %v, want an Invalid fault that names the known clients", err)
	}
}

// TestOrder: what logs in with a browser comes first, and a gateway's instructions are for the ways it takes.
func TestOrder(t *testing.T) {
	g := gateways()["local"]
	pasted, err := Instructions(g, "claude-code")
	if err != nil {
		t.Fatal(err)
	}
	g.OAuth, g.BearerToken = true, false
	login, err := Instructions(g, "claude-code")
	if err != nil {
		t.Fatal(err)
	}
	g.BearerToken = true
	both, err := Instructions(g, "claude-code")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(slices.Concat(login, pasted), both); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, slug := range []string{"claude", "chatgpt"} {
		_, err = Instructions(gateways()["local"], slug)
		if f := fault.From(err); f.Kind != fault.Precondition || f.Reason != ReasonClientNeedsOAuth {
			t.Errorf("%s without OAuth: got %v", slug, err)
		}
	}
}

// TestLoginContents pins the commands that people know by heart.
func TestLoginContents(t *testing.T) {
	for slug, want := range map[string]string{
		"claude-code": "claude mcp add --transport http demo http://127.0.0.1:8080/v1/mcp/demo",
		"codex":       "codex mcp add demo --url http://127.0.0.1:8080/v1/mcp/demo",
		"mcp-remote":  "npx -y mcp-remote@latest http://127.0.0.1:8080/v1/mcp/demo --transport http-only",
		"vscode":      `code --add-mcp "{\"name\":\"demo\",\"type\":\"http\",\"url\":\"http://127.0.0.1:8080/v1/mcp/demo\"}"`,
	} {
		got, err := Instructions(withLogin()["local, login"], slug)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(got, func(i Instruction) bool { return i.Content == want }) {
			t.Errorf("%s: %q is not among %+v", slug, want, got)
		}
	}
}

// TestContents pins one content of each format to the byte, so that a change is seen in review.
func TestContents(t *testing.T) {
	want := map[string]string{
		"claude-code": `claude mcp add --transport http demo http://127.0.0.1:8080/v1/mcp/demo --header "Authorization: Bearer ${PENSTOCK_TOKEN}"`,
		"vscode":      `code --add-mcp "{\"headers\":{\"Authorization\":\"Bearer ${PENSTOCK_TOKEN}\"},\"name\":\"demo\",\"type\":\"http\",\"url\":\"http://127.0.0.1:8080/v1/mcp/demo\"}"`,
		"codex":       `codex mcp add demo --url http://127.0.0.1:8080/v1/mcp/demo --bearer-token-env-var PENSTOCK_TOKEN`,
	}
	for slug, content := range want {
		got, err := Instructions(gateways()["local"], slug)
		if err != nil {
			t.Fatal(err)
		}
		n := slices.IndexFunc(got, func(i Instruction) bool { return i.Format == FormatShell })
		if n < 0 {
			t.Fatalf("%s: no shell variant", slug)
		}
		if diff := cmp.Diff(content, got[n].Content); diff != "" {
			t.Errorf("%s (-want +got):\n%s", slug, diff)
		}
	}
}

// TestTransports: Streamable HTTP comes first, and HTTP+SSE is there for the clients that can be told to use it (G-70).
func TestTransports(t *testing.T) {
	for _, slug := range Clients() {
		got, err := Instructions(withLogin()["local, login"], slug)
		if err != nil {
			t.Fatal(err)
		}
		if pasted, err := Instructions(gateways()["local"], slug); err == nil {
			got = append(got, pasted...)
		}
		if got[0].Transport == SSE {
			t.Errorf("%s: HTTP+SSE comes first", slug)
		}
		takes := slices.Contains([]string{"claude-code", "vscode", "copilot-cli", "n8n", "any"}, slug)
		if offered := slices.ContainsFunc(got, func(i Instruction) bool { return i.Transport == SSE }); offered != takes {
			t.Errorf("%s: HTTP+SSE offered %t, want %t", slug, offered, takes)
		}
		for _, i := range got {
			if marked := strings.Contains(strings.ToLower(i.Content), "sse"); marked != (i.Transport == SSE) {
				t.Errorf("%s: transport %s with %s", slug, i.Transport, i.Content)
			}
		}
	}
}

// TestPlainHTTP: mcp-remote refuses http to other machines unless told.
func TestPlainHTTP(t *testing.T) {
	for name, want := range map[string]bool{"local": false, "public": false, "plain": true} {
		got, err := Instructions(gateways()[name], "claude-desktop")
		if err != nil {
			t.Fatal(err)
		}
		if allowed := strings.Contains(got[0].Content, "--allow-http"); allowed != want {
			t.Errorf("%s: --allow-http %t, want %t", name, allowed, want)
		}
	}
}
