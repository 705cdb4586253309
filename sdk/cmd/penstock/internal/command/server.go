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
	Connect  serverConnectCommand  `cmd:"" help:"Print a link under which you give Penstock a credential for a server, alone on standard output."`
	Discover serverDiscoverCommand `cmd:"" help:"Have a node list what a server has; gateways get no tools by that."`
	Diff     serverDiffCommand     `cmd:"" help:"Show which definitions of a server's tools, and instructions, changed and wait to be accepted."`
	Accept   serverAcceptCommand   `cmd:"" help:"Accept changed definitions of a server's tools, and changed instructions."`
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
	r.noteFeatures(res.GetServer())
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

// noteFeatures says what a discovery found besides tools.
func (r *run) noteFeatures(s *resourcev1.Server) {
	status := s.GetStatus()
	if prompts, templates := len(status.GetPrompts()), len(status.GetTemplates()); prompts+templates > 0 {
		r.note("prompts: %d, resource templates: %d; see: penstock describe server %s", prompts, templates, s.GetName())
	}
	if status.GetPendingInstructionsHash() != "" {
		r.note("its instructions changed: penstock server diff %s", s.GetName())
	}
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
	server, changed, err := changes(ctx, client, c.Name)
	if err != nil {
		return err
	}
	waiting := server.GetStatus().GetPendingInstructionsHash()
	if len(changed) == 0 && waiting == "" {
		r.note("no definition of server %s waits to be accepted", c.Name)
		return nil
	}
	if waiting != "" {
		text := diff.Diff("instructions accepted", []byte(show.Lines(server.GetStatus().GetInstructions())),
			"instructions waiting "+waiting, []byte(show.Lines(server.GetStatus().GetPendingInstructions())))
		if _, err := r.Stdout.Write(text); err != nil {
			return err
		}
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
	Name         string   `arg:"" help:"Name of the server."`
	Tool         []string `sep:"none" help:"Only this tool (everything/echo, or echo); repeatable."`
	Instructions bool     `help:"Only the instructions."`
	Hash         string   `help:"Accept only what has this hash, as penstock server diff showed it; with one --tool or with --instructions."`
	DryRun       bool     `help:"Check everything, accept nothing."`
}

// Run implements the command.
func (c *serverAcceptCommand) Run(ctx context.Context, r *run) error {
	if c.Instructions && len(c.Tool) > 0 {
		return usageError{fmt.Errorf("--instructions and --tool exclude each other")}
	}
	if c.Hash != "" && !c.Instructions && len(c.Tool) != 1 {
		return usageError{fmt.Errorf("--hash goes with exactly one --tool, or with --instructions")}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	server, changed, err := changes(ctx, client, c.Name)
	if err != nil {
		return err
	}
	chosen, err := c.choose(changed)
	if err != nil {
		return err
	}
	waiting := server.GetStatus().GetPendingInstructionsHash()
	if len(c.Tool) > 0 {
		waiting = ""
	}
	if len(chosen) == 0 && waiting == "" {
		r.note("no definition of server %s waits to be accepted", c.Name)
		return nil
	}
	if waiting != "" {
		if err := c.acceptInstructions(ctx, r, client, waiting); err != nil {
			return err
		}
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
		if err := r.print("%s %s", show.Safe(t.GetName()), c.done(res.GetRevision())); err != nil {
			return err
		}
	}
	return nil
}

func (c *serverAcceptCommand) acceptInstructions(ctx context.Context, r *run, client *admin.Client, hash string) error {
	if c.Hash != "" {
		hash = c.Hash
	}
	res, err := client.Servers.AcceptServerInstructions(ctx, &adminv1.AcceptServerInstructionsRequest{
		Name: c.Name, PendingInstructionsHash: hash, ValidateOnly: c.DryRun,
	})
	if err != nil {
		return fmt.Errorf("accept the instructions: %w", err)
	}
	return r.print("instructions %s", c.done(res.GetRevision()))
}

func (c *serverAcceptCommand) done(revision uint64) string {
	if c.DryRun {
		return "could be accepted (dry run)"
	}
	return fmt.Sprintf("accepted (revision %d)", revision)
}

// choose returns the tools that --tool names, or all; none with --instructions.
func (c *serverAcceptCommand) choose(changed []*resourcev1.Tool) ([]*resourcev1.Tool, error) {
	if c.Instructions {
		return nil, nil
	}
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

// changes returns a server and those of its tools whose definitions wait to be accepted.
func changes(ctx context.Context, client *admin.Client, name string) (*resourcev1.Server, []*resourcev1.Tool, error) {
	server, err := client.Servers.GetServer(ctx, &adminv1.GetServerRequest{Name: name})
	if err != nil {
		return nil, nil, err
	}
	tools, err := toolsOf(ctx, client, name)
	if err != nil {
		return nil, nil, err
	}
	return server.GetServer(), slices.DeleteFunc(tools, func(t *resourcev1.Tool) bool {
		return t.GetState() != resourcev1.ToolState_TOOL_STATE_CHANGED
	}), nil
}
