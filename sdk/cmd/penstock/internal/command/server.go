// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// serverCommands is penstock server.
type serverCommands struct {
	Discover serverDiscoverCommand `cmd:"" help:"Have a node list the tools of a server; gateways get none by that."`
	Diff     serverDiffCommand     `cmd:"" help:"Show how definitions of a server's tools changed and wait to be accepted."`
	Accept   serverAcceptCommand   `cmd:"" help:"Accept changed definitions of a server's tools."`
}

// serverDiscoverCommand is penstock server discover.
type serverDiscoverCommand struct {
	Name       string        `arg:"" help:"Name of the server."`
	Connection string        `help:"Connection whose credential to use."`
	Timeout    time.Duration `default:"30s" help:"Longest wait for the server."`
}

// Run implements the command.
func (c *serverDiscoverCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{
		Name: c.Name, Connection: c.Connection, Timeout: durationpb.New(c.Timeout),
	})
	if err != nil {
		return err
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, res)
	}
	var rows [][]string
	for _, t := range res.GetTools() {
		news := ""
		switch {
		case slices.Contains(res.GetAdded(), t.GetName()):
			news = "new"
		case slices.Contains(res.GetChanged(), t.GetName()):
			news = "changed: penstock server diff " + c.Name
		case slices.Contains(res.GetRemoved(), t.GetName()):
			news = "gone upstream"
		}
		rows = append(rows, append(show.Row(t)[:2:2], news))
	}
	if len(rows) == 0 {
		r.note("server %s has no tools", c.Name)
		return nil
	}
	return show.Table(r.Stdout, []string{"NAME", "STATE", "NEWS"}, rows)
}

// serverDiffCommand is penstock server diff.
type serverDiffCommand struct {
	Name string `arg:"" help:"Name of the server."`
}

// Run implements the command.
func (c *serverDiffCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	changed, err := changedTools(ctx, client, c.Name)
	if err != nil {
		return err
	}
	if len(changed) == 0 {
		r.note("no definition of server %s waits to be accepted", c.Name)
		return nil
	}
	for _, t := range changed {
		full, err := client.Tools.GetTool(ctx, &adminv1.GetToolRequest{Name: t.GetName()})
		if err != nil {
			return err
		}
		tool := full.GetTool()
		name := show.Safe(tool.GetName())
		text := diff.Diff(name+" accepted", []byte(show.Definition(tool.GetDefinition())),
			name+" waiting "+tool.GetPendingBodyHash(), []byte(show.Definition(tool.GetPendingDefinition())))
		if _, err := r.Stdout.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// serverAcceptCommand is penstock server accept.
type serverAcceptCommand struct {
	Name   string   `arg:"" help:"Name of the server."`
	Tool   []string `sep:"none" help:"Only this tool (everything/echo, or echo); repeatable."`
	Hash   string   `help:"Accept only the definition with this hash, as penstock server diff showed it; with one --tool."`
	DryRun bool     `help:"Check everything, accept nothing."`
}

// Run implements the command.
func (c *serverAcceptCommand) Run(ctx context.Context, r *run) error {
	if c.Hash != "" && len(c.Tool) != 1 {
		return usageError{fmt.Errorf("--hash goes with exactly one --tool")}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	changed, err := changedTools(ctx, client, c.Name)
	if err != nil {
		return err
	}
	chosen, err := c.choose(changed)
	if err != nil {
		return err
	}
	if len(chosen) == 0 {
		r.note("no definition of server %s waits to be accepted", c.Name)
		return nil
	}
	for _, t := range chosen {
		hash := t.GetPendingBodyHash()
		if c.Hash != "" {
			hash = c.Hash
		}
		res, err := client.Tools.AcceptTool(ctx, &adminv1.AcceptToolRequest{Name: t.GetName(), PendingBodyHash: hash, ValidateOnly: c.DryRun})
		if err != nil {
			return fmt.Errorf("accept %s: %w", t.GetName(), err)
		}
		done := fmt.Sprintf("accepted (revision %d)", res.GetRevision())
		if c.DryRun {
			done = "could be accepted (dry run)"
		}
		if err := r.print("%s %s", show.Safe(t.GetName()), done); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the tools that --tool names, or all.
func (c *serverAcceptCommand) choose(changed []*resourcev1.Tool) ([]*resourcev1.Tool, error) {
	if len(c.Tool) == 0 {
		return changed, nil
	}
	var chosen []*resourcev1.Tool
	for _, name := range c.Tool {
		full := name
		if !strings.HasPrefix(name, c.Name+"/") {
			full = c.Name + "/" + name
		}
		i := slices.IndexFunc(changed, func(t *resourcev1.Tool) bool { return t.GetName() == full })
		if i < 0 {
			return nil, fmt.Errorf("no changed definition of tool %s waits to be accepted", full)
		}
		chosen = append(chosen, changed[i])
	}
	return chosen, nil
}

// changedTools returns the tools of a server whose definitions wait to be accepted.
func changedTools(ctx context.Context, client *admin.Client, server string) ([]*resourcev1.Tool, error) {
	if _, err := client.Servers.GetServer(ctx, &adminv1.GetServerRequest{Name: server}); err != nil {
		return nil, err
	}
	tools, err := toolsOf(ctx, client, server)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(tools, func(t *resourcev1.Tool) bool { return t.GetState() != resourcev1.ToolState_TOOL_STATE_CHANGED }), nil
}
