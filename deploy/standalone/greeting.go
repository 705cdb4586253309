// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Where the command line looks by itself; see the defaults of [Settings].
const (
	defaultAdmin   = "127.0.0.1:8081"
	defaultDataDir = ".penstock"
)

// Greeting says what was started and how to call the first tool. The commands in it can be pasted into a shell in any
// folder.
func (s *Standalone) Greeting() string {
	e := s.c.Endpoints()
	var b strings.Builder
	fmt.Fprintf(&b, "\nPenstock %s is running. Ctrl-C stops it.\n\n", s.c.Version)
	fmt.Fprintf(&b, "  gateways    %s<gateway>\n", e.MCP)
	fmt.Fprintf(&b, "  login       %s\n", e.Authserver)
	fmt.Fprintf(&b, "  admin API   %s   (token in %s)\n", e.Admin, s.c.path(adminTokenFile))
	if health := e.health(); health != "" {
		fmt.Fprintf(&b, "  health      %s\n", health)
	}
	if !s.c.Demo {
		return b.String() + "\n"
	}
	bearer := fmt.Sprintf("\"Authorization: Bearer $(cat %s)\"", quoted(s.c.path(demoTokenFile)))
	fmt.Fprintf(&b, "\nThe demo gateway is %s. Call a tool:\n\n", e.DemoGateway)
	fmt.Fprintf(&b, "  curl -s %s -H %s \\\n", e.DemoGateway, bearer)
	b.WriteString("    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \\\n")
	b.WriteString("    -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: demo__echo' \\\n")
	b.WriteString(`    -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"demo__echo","arguments":{"message":"hello"},` + "\n")
	b.WriteString(`         "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}'` + "\n")
	b.WriteString("\nConnect a client, Claude Code for example. It opens a browser, where you log in as\n")
	fmt.Fprintf(&b, "%s with the password in %s:\n\n", demoEmail, s.c.path(demoUserFile))
	fmt.Fprintf(&b, "  claude mcp add --transport http demo %s\n", e.DemoGateway)
	fmt.Fprintf(&b, "\nOther clients:\n\n  %sbin/penstock connect demo\n\n", s.cliSettings())
	return b.String()
}

// cliSettings is what the command line needs to be told, where it would not find this process by itself.
func (s *Standalone) cliSettings() string {
	settings := ""
	if s.c.Admin.Listen != defaultAdmin {
		settings += "PENSTOCK_ADDR=" + origin(s.c.Admin.Listen) + " "
	}
	if usual, err := filepath.Abs(defaultDataDir); err != nil || usual != s.c.DataDir {
		settings += fmt.Sprintf("PENSTOCK_TOKEN=\"$(cat %s)\" ", quoted(s.c.path(adminTokenFile)))
	}
	return settings
}

// health lists the readiness pages.
func (e Endpoints) health() string {
	var pages []string
	for _, origin := range []string{e.Ops.DataPlane, e.Ops.ControlPlane, e.Ops.Authserver} {
		if origin != "" {
			pages = append(pages, origin+"/readyz")
		}
	}
	return strings.Join(pages, "   ")
}

// quoted returns a shell word; one without anything special stays bare.
func quoted(word string) string {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:@%+=,", r)
	}
	if word != "" && strings.IndexFunc(word, special) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
