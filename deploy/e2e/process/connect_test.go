// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// entry is what an instruction tells its client; without a token it logs in.
type entry struct {
	url, token string
	command    []string // a local program in between, with its arguments
	env        map[string]string
}

// TestConnectInstructions is G-70: what `penstock connect` prints is what each client reads. What logs in stands first and
// holds the URL and nothing else; where a token stands, URL and token work.
func TestConnectInstructions(t *testing.T) {
	a := newAlone(t)
	p := a.start()
	want := a.demo()

	got := a.cli("connect", "demo")
	if got.code != 0 || strings.Contains(got.stdout, want.token) || !strings.Contains(got.stdout, "No token is needed") {
		t.Errorf("connect demo: exit code %d, want that no token is needed, and none:\n%s%s", got.code, got.stdout, got.stderr)
	}
	all := readInstructions(t, a.cli("connect", "demo", "-o", "json", "--token-file", filepath.Join(a.data, "demo.token")))
	if all.URL != want.url || all.TokenRequired {
		t.Errorf("got URL %s, token required %t", all.URL, all.TokenRequired)
	}
	checkClients(t, a, all, want.token)
	driven := map[string]bool{}
	for n, i := range all.Instructions {
		t.Run(fmt.Sprintf("%d %s %s", n, i.Client, i.Format), func(t *testing.T) {
			e := parseInstruction(t, i, want.token)
			if e.url != want.url || e.token != "" && e.token != want.token {
				t.Fatalf("it says URL %q and token %q in\n%s", e.url, e.token, i.Content)
			}
			switch {
			case e.token == "":
				checkLogin(t, a, i, e)
			case e.command != nil:
				driveCommand(t, e)
			case !driven[i.Client+i.Transport]: // the inspector takes seconds to start: once for each client and transport
				driveInspector(t, e, i.Transport)
				driven[i.Client+i.Transport] = true
			}
		})
	}
	if got := a.cli("connect", "demo", "--client", "netscape"); got.code == 0 || !strings.Contains(got.stderr, "claude-code") {
		t.Errorf("unknown client: exit code %d, want the known ones: %s", got.code, got.stderr)
	}
	if got := a.cli("connect", "nowhere"); got.code != 3 {
		t.Errorf("unknown gateway: exit code %d, want 3: %s", got.code, got.stderr)
	}
	p.stop()
}

// checkLogin wants an instruction that logs in to hold nothing that looks like a token or asks for one. A program that it
// starts goes as far as a browser.
func checkLogin(t *testing.T, a *alone, i instruction, e entry) {
	t.Helper()
	if found := regexp.MustCompile(`(?i)bearer|authorization\b|penstock_token|pst_`).FindString(i.Content); found != "" || len(e.env) > 0 {
		t.Errorf("it holds %q and variables %v:\n%s", found, e.env, i.Content)
	}
	if !strings.Contains(i.Steps, "browser") || !strings.Contains(i.Steps, "no token is needed") {
		t.Errorf("it does not say what happens: %s", i.Steps)
	}
	if e.command != nil {
		driveToBrowser(t, e, a.endpoints())
	}
}

// variants are how many instructions of a client log in with a browser, and how many take a token.
type variants struct{ login, pasted int }

// checkClients wants the instructions of all clients of G-70, and of each alone, those that log in first; without a file
// none holds the token.
func checkClients(t *testing.T, a *alone, all instructions, token string) {
	t.Helper()
	got := map[string]variants{}
	for _, i := range all.Instructions {
		v := got[i.Client]
		if parseInstruction(t, i, token).token == "" {
			v.login++
			if v.pasted > 0 {
				t.Errorf("%s: a token is asked for first", i.Client)
			}
		} else {
			v.pasted++
		}
		got[i.Client] = v
	}
	want := map[string]variants{
		"claude": {1, 0}, "claude-desktop": {2, 1}, "claude-code": {3, 3}, "chatgpt": {1, 0}, "cursor": {2, 2}, "vscode": {3, 3},
		"copilot-cli": {2, 2}, "codex": {2, 2}, "goose": {1, 1}, "zed": {1, 1}, "open-webui": {1, 1}, "n8n": {2, 2}, "mcp-remote": {2, 1},
		"any": {4, 5},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(variants{})); diff != "" {
		t.Errorf("instructions (-want +got):\n%s", diff)
	}
	for client, v := range want {
		one := readInstructions(t, a.cli("connect", "demo", "--client", client, "-o", "json"))
		for _, i := range one.Instructions {
			if i.Client != client || strings.Contains(i.Content, token) {
				t.Errorf("--client %s shows %s", client, i.Client)
			}
		}
		if len(one.Instructions) != v.login+v.pasted {
			t.Errorf("--client %s shows %d instructions", client, len(one.Instructions))
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
