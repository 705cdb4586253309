// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
)

const (
	packagesMax = 40 // packages in one file: a corpus, not a crawl
	pagesMax    = 50 // pages of one server's list
	outputMax   = 400
)

// pkg is one npm package that has an MCP server: {"server": "slack", "package": "@modelcontextprotocol/server-slack",
// "version": "2025.4.25"}. {home} in arguments and in the environment stands for the server's empty home folder.
type pkg struct {
	Server  string            `json:"server"`
	Package string            `json:"package"`
	Version string            `json:"version"`
	Bin     string            `json:"bin,omitempty"` // command of the package; default: its only or first one
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	Files   map[string]string `json:"files,omitempty"` // in the home folder
}

// list is what a server answered.
type list struct {
	Server  string            `json:"server"`
	Package string            `json:"package"`
	Version string            `json:"version"`
	Tools   []json.RawMessage `json:"tools"`
}

func readPackages(file string) ([]pkg, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var packages []pkg
	if err := json.Unmarshal(text, &packages); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	seen := map[string]bool{}
	for _, p := range packages {
		if p.Server == "" || p.Package == "" || p.Version == "" || strings.ContainsAny(p.Server, `/\.`) || seen[p.Server] {
			return nil, fmt.Errorf("read %s: %q: want server (once, without / and .), package and version", file, p.Server)
		}
		seen[p.Server] = true
	}
	if len(packages) > packagesMax {
		return nil, fmt.Errorf("read %s: %d packages, at most %d", file, len(packages), packagesMax)
	}
	return packages, nil
}

// recorded counts the tools of a list that is there already in the wanted version; 0 if it is not.
func recorded(folder string, p pkg) (int, error) {
	text, err := os.ReadFile(filepath.Join(folder, p.Server+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var l list
	if err := json.Unmarshal(text, &l); err != nil || l.Package != p.Package || l.Version != p.Version {
		return 0, nil //nolint:nilerr // an unreadable or old list is recorded anew
	}
	return len(l.Tools), nil
}

// record installs and asks one server, and returns how many tools it has. What npm installs lies below a name that the go command
// skips, and is removed afterwards: forty servers are some gigabytes.
func record(ctx context.Context, s settings, p pkg) (int, error) {
	root, err := filepath.Abs(filepath.Join(s.Out, "_packages", p.Server))
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(root) }() // what is left over is replaced or ignored
	home := filepath.Join(root, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return 0, err
	}
	for name, text := range p.Files {
		if err := os.WriteFile(filepath.Join(home, filepath.Base(name)), []byte(text), 0o600); err != nil {
			return 0, err
		}
	}
	if err := install(ctx, s.Install, root, p); err != nil {
		return 0, err
	}
	command, err := entry(root, p)
	if err != nil {
		return 0, err
	}
	tools, err := ask(ctx, s.Wait, command, home, p)
	if err != nil {
		return 0, err
	}
	text, err := json.MarshalIndent(list{Server: p.Server, Package: p.Package, Version: p.Version, Tools: tools}, "", " ")
	if err != nil {
		return 0, err
	}
	return len(tools), os.WriteFile(filepath.Join(s.Out, p.Server+".json"), append(text, '\n'), 0o600)
}

// install puts the package into a folder of its own, so that no two packages have to agree on what they depend on.
func install(ctx context.Context, within time.Duration, root string, p pkg) error {
	if _, err := os.Stat(filepath.Join(root, "node_modules", p.Package)); err == nil {
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	npm := exec.CommandContext(ctx, "npm", "install", "--prefix", root, "--ignore-scripts", "--no-audit", "--no-fund",
		"--loglevel=error", p.Package+"@"+p.Version)
	npm.Dir = root
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("install: %w: %s", err, tail(out))
	}
	return nil
}

// entry finds the script behind the package's command.
func entry(root string, p pkg) (string, error) {
	folder := filepath.Join(root, "node_modules", p.Package)
	text, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		return "", err
	}
	var manifest struct {
		Bin json.RawMessage `json:"bin"`
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		return "", fmt.Errorf("read package.json: %w", err)
	}
	var one string
	if json.Unmarshal(manifest.Bin, &one) == nil {
		return filepath.Join(folder, one), nil
	}
	bins := map[string]string{}
	if err := json.Unmarshal(manifest.Bin, &bins); err != nil || len(bins) == 0 {
		return "", errors.New("the package has no command")
	}
	name := p.Bin
	for n := range bins {
		if p.Bin == "" && (name == "" || n < name) {
			name = n
		}
	}
	if bins[name] == "" {
		return "", fmt.Errorf("the package has no command %q", name)
	}
	return filepath.Join(folder, bins[name]), nil
}

// ask starts the server, reads its whole list of tools, and ends it with everything that it started.
func ask(ctx context.Context, within time.Duration, script, home string, p pkg) ([]json.RawMessage, error) {
	ctx, stop := context.WithTimeout(ctx, within)
	defer stop()
	fill := strings.NewReplacer("{home}", home)
	args := []string{script}
	for _, a := range p.Args {
		args = append(args, fill.Replace(a))
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "NO_COLOR=1", "CI=true", "DO_NOT_TRACK=1"}
	for name, value := range p.Env {
		env = append(env, name+"="+fill.Replace(value))
	}
	var server *exec.Cmd
	pipe := transport.NewStdioWithOptions("node", env, args, transport.WithCommandFunc(
		func(ctx context.Context, command string, env, args []string) (*exec.Cmd, error) {
			server = exec.CommandContext(ctx, command, args...)
			server.Env, server.Dir = env, home
			server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			return server, nil
		}))
	c := client.NewClient(pipe)
	defer func() {
		if server != nil && server.Process != nil {
			_ = syscall.Kill(-server.Process.Pid, syscall.SIGKILL) // the group: what it started ends with it
		}
		_ = c.Close() // it was killed
	}()
	if err := c.Start(ctx); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	hello := mcp.InitializeRequest{}
	hello.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	hello.Params.ClientInfo = mcp.Implementation{Name: "penstock-bench", Version: "1"}
	if _, err := c.Initialize(ctx, hello); err != nil {
		return nil, fmt.Errorf("initialize: %w", err)
	}
	return pages(ctx, c)
}

func pages(ctx context.Context, c *client.Client) ([]json.RawMessage, error) {
	var tools []json.RawMessage
	ask := mcp.ListToolsRequest{}
	for range pagesMax {
		answer, err := c.ListToolsByPage(ctx, ask)
		if err != nil {
			return nil, fmt.Errorf("list tools: %w", err)
		}
		for _, t := range answer.Tools {
			text, err := json.Marshal(t)
			if err != nil {
				return nil, err
			}
			tools = append(tools, text)
		}
		if answer.NextCursor == "" {
			if len(tools) == 0 {
				return nil, errors.New("the server has no tools")
			}
			return tools, nil
		}
		ask.Params.Cursor = answer.NextCursor
	}
	return nil, fmt.Errorf("more than %d pages of tools", pagesMax)
}

// tail is the end of what a command printed, on one line.
func tail(out []byte) string {
	out = bytes.TrimSpace(out)
	return strings.ReplaceAll(string(out[max(0, len(out)-outputMax):]), "\n", " ")
}
