// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Description describes a system by how a user starts it. In every text, these are replaced:
//
//	{root}       the repository
//	{dir}        the folder of the description
//	{data}       a fresh folder that is removed afterwards
//	{upstream}   URL of the echo server
//	{offset}     a number that, added to every {port:N} here, gives a free port
//	{port:N}     N plus that offset
//	{file:PATH}  what the file holds, without white space around it; read when it is needed, so it may be written by the command
type Description struct {
	Name      string            `json:"name"`
	Command   []string          `json:"command"`   // stays in the foreground
	Env       map[string]string `json:"env"`       // of the command, besides our own
	Templates map[string]string `json:"templates"` // file to fill in → where to write it
	Ready     string            `json:"ready"`     // URL that answers 200 when setup may begin
	Setup     [][]string        `json:"setup"`     // commands to run one after the other then
	SetupEnv  map[string]string `json:"setup_env"` // of those and of token
	Token     []string          `json:"token"`     // command that prints the bearer token; none: no token is sent
	URL       string            `json:"url"`       // MCP endpoint
	Tool      string            `json:"tool"`      // name of the echo tool there
	Workloads []string          `json:"workloads"` // those it can do; none: all
	Ports     []int             `json:"ports"`     // further ports that must be free with the offset

	values map[string]string
	data   string
}

// ReadDescription reads a description from a file. root is the repository, upstream the URL of the echo server.
func ReadDescription(file, root, upstream string) (*Description, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read system: %w", err)
	}
	c := &Description{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("read system %s: %w", file, err)
	}
	if c.Name == "" || len(c.Command) == 0 || c.URL == "" || c.Tool == "" {
		return nil, fmt.Errorf("read system %s: name, command, url and tool are required", file)
	}
	offset, err := freeOffset(string(text), c.Ports)
	if err != nil {
		return nil, fmt.Errorf("read system %s: %w", file, err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("read system %s: %w", file, err)
	}
	c.values = map[string]string{"root": root, "dir": dir, "upstream": upstream, "offset": strconv.Itoa(offset)}
	return c, nil
}

var (
	portPattern  = regexp.MustCompile(`\{port:(\d+)\}`)
	valuePattern = regexp.MustCompile(`\{(root|dir|data|upstream|offset)\}`)
	filePattern  = regexp.MustCompile(`\{file:([^}]+)\}`)
)

// freeOffset returns an offset with which the ports, and all in the text, are free now.
func freeOffset(text string, ports []int) (int, error) {
	for _, match := range portPattern.FindAllStringSubmatch(text, -1) {
		port, err := strconv.Atoi(match[1])
		if err != nil {
			return 0, fmt.Errorf("port %s: %w", match[1], err)
		}
		ports = append(ports, port)
	}
	for offset := 11000; offset < 40000; offset += 137 {
		if !slices.ContainsFunc(ports, func(port int) bool { return !portIsFree(port + offset) }) {
			return offset, nil
		}
	}
	return 0, fmt.Errorf("no offset with which the ports %v are free", ports)
}

func portIsFree(port int) bool {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

// fill replaces what Description lists.
func (c *Description) fill(text string) (string, error) {
	text = valuePattern.ReplaceAllStringFunc(text, func(match string) string { return c.values[match[1:len(match)-1]] })
	offset, err := strconv.Atoi(c.values["offset"])
	if err != nil {
		return "", fmt.Errorf("offset: %w", err)
	}
	var failed error
	text = portPattern.ReplaceAllStringFunc(text, func(match string) string {
		port, err := strconv.Atoi(portPattern.FindStringSubmatch(match)[1])
		failed = errors.Join(failed, err)
		return strconv.Itoa(port + offset)
	})
	text = filePattern.ReplaceAllStringFunc(text, func(match string) string {
		content, err := os.ReadFile(filePattern.FindStringSubmatch(match)[1])
		failed = errors.Join(failed, err)
		return strings.TrimSpace(string(content))
	})
	return text, failed
}

// command makes a command with everything filled in.
func (c *Description) command(ctx context.Context, args []string, env map[string]string) (*exec.Cmd, error) {
	filled := make([]string, len(args))
	for i, arg := range args {
		var err error
		if filled[i], err = c.fill(arg); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	cmd := exec.CommandContext(ctx, filled[0], filled[1:]...)
	cmd.Dir = c.data
	cmd.Env = os.Environ()
	for name, value := range env {
		value, err := c.fill(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd, nil
}

// Start starts the system and sets it up. On an error nothing is left behind, and the error has the end of the system's log.
func (c *Description) Start(ctx context.Context) (_ *System, err error) {
	if c.data, err = os.MkdirTemp("", "bench-"+c.Name+"-"); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	c.values["data"] = c.data
	cmd, err := c.command(ctx, c.Command, c.Env)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.data))
	}
	// A file and no pipe: the system's log must not wait for us, nor cost us time.
	logFile, err := os.Create(filepath.Join(c.data, "bench.log"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.data))
	}
	cmd.Stdout, cmd.Stderr = logFile, logFile
	started, err := startChild(c.Name, cmd, folder{c.data, logFile})
	if err != nil {
		return nil, errors.Join(err, logFile.Close(), os.RemoveAll(c.data))
	}
	s, err := c.setUp(ctx, started)
	if err != nil {
		log, _ := os.ReadFile(logFile.Name())
		started.stop()
		return nil, fmt.Errorf("%w\nend of its log:\n%s", err, log[max(0, len(log)-4096):])
	}
	return s, nil
}

// setUp waits until the system is ready, runs its set-up and gets the token.
func (c *Description) setUp(ctx context.Context, started *child) (*System, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.waitReady(ctx, started); err != nil {
		return nil, err
	}
	for source, target := range c.Templates {
		if err := c.writeTemplate(source, target); err != nil {
			return nil, err
		}
	}
	for _, args := range c.Setup {
		if _, err := c.output(ctx, args); err != nil {
			return nil, err
		}
	}
	token := ""
	if len(c.Token) > 0 {
		var err error
		if token, err = c.output(ctx, c.Token); err != nil {
			return nil, err
		}
	}
	address, err := c.fill(c.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	e, err := NewEndpoint(address, token, c.Tool)
	if err != nil {
		return nil, err
	}
	s := &System{Name: c.Name, Endpoint: e, child: started}
	for _, name := range c.Workloads {
		if s.Workloads == nil {
			s.Workloads = map[string]bool{}
		}
		s.Workloads[name] = true
	}
	return s, nil
}

// waitReady polls the ready URL.
func (c *Description) waitReady(ctx context.Context, started *child) error {
	if c.Ready == "" {
		return nil
	}
	address, err := c.fill(c.Ready)
	if err != nil {
		return fmt.Errorf("ready: %w", err)
	}
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return fmt.Errorf("%s did not answer 200: %w", address, ctx.Err())
		case <-started.done:
			tick.Stop()
			return fmt.Errorf("it ended before it was ready: %w", started.err)
		case <-tick.C:
		}
		if answers(ctx, address) {
			tick.Stop()
			return nil
		}
	}
}

// answers reports whether a GET is answered with 200.
func answers(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return false
	}
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// writeTemplate fills a file in.
func (c *Description) writeTemplate(source, target string) error {
	source, err1 := c.fill(source)
	target, err2 := c.fill(target)
	text, err3 := os.ReadFile(source)
	if err := errors.Join(err1, err2, err3); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	filled, err := c.fill(string(text))
	if err != nil {
		return fmt.Errorf("template %s: %w", source, err)
	}
	if err := os.WriteFile(target, []byte(filled), 0o600); err != nil {
		return fmt.Errorf("template: %w", err)
	}
	return nil
}

// output runs a command to its end and returns what it printed, without white space around it.
func (c *Description) output(ctx context.Context, args []string) (string, error) {
	cmd, err := c.command(ctx, args, c.SetupEnv)
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

// folder is what has to be closed and removed when a system is stopped.
type folder struct {
	path string
	log  io.Closer
}

// Close closes the log and removes the folder.
func (f folder) Close() error { return errors.Join(f.log.Close(), os.RemoveAll(f.path)) }
