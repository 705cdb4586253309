// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// getCommand is penstock get.
type getCommand struct {
	Kind        string `arg:"" enum:"${kinds}" help:"gateway, server, connection, tool, team, user, token, identity-provider, oauth-client or node."`
	Name        string `arg:"" optional:"" help:"Only this one."`
	Filter      string `help:"Conditions, for example: server = \"everything\" AND labels.env = \"prod\"."`
	ShowDeleted bool   `help:"Include what was deleted within the last 30 days."`
}

// Run implements the command.
func (c *getCommand) Run(ctx context.Context, r *run) error {
	k, err := kindCalled(c.Kind)
	if err != nil {
		return err
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	if c.Name != "" {
		return c.one(ctx, r, client, k)
	}
	var all []proto.Message
	for m, err := range k.all(ctx, client, listing{filter: c.Filter, deleted: c.ShowDeleted}) {
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if !r.forPeople() {
		return show.Many(r.Stdout, r.grammar.Output, all)
	}
	if len(all) == 0 {
		r.note("there are no %s that you may see", k.plural)
		return nil
	}
	return table(r, all...)
}

func (c *getCommand) one(ctx context.Context, r *run, client *admin.Client, k kind) error {
	m, err := k.get(ctx, client, c.Name)
	if err != nil {
		return err
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, m)
	}
	return table(r, m)
}

// table writes messages of one type as a table.
func table(r *run, all ...proto.Message) error {
	rows := make([][]string, len(all))
	for i, m := range all {
		rows[i] = show.Row(m)
	}
	return show.Table(r.Stdout, show.Header(all[0]), rows)
}

// describeCommand is penstock describe.
type describeCommand struct {
	Kind string `arg:"" enum:"${kinds}" help:"gateway, server, connection, tool, team, user, token, identity-provider, oauth-client or node."`
	Name string `arg:"" help:"Its name."`
}

// Run implements the command.
func (c *describeCommand) Run(ctx context.Context, r *run) error {
	k, err := kindCalled(c.Kind)
	if err != nil {
		return err
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	m, err := k.get(ctx, client, c.Name)
	if err != nil {
		return err
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, m)
	}
	var tools []*resourcev1.Tool
	if k.name == "server" {
		if tools, err = toolsOf(ctx, client, c.Name); err != nil {
			return err
		}
	}
	return show.Describe(r.Stdout, m, tools)
}

// toolsOf returns the tools of a server.
func toolsOf(ctx context.Context, client *admin.Client, server string) ([]*resourcev1.Tool, error) {
	var tools []*resourcev1.Tool
	for t, err := range client.Tools.All(ctx, &adminv1.ListToolsRequest{Filter: fmt.Sprintf("server = %q", server), PageSize: 1000}) {
		if err != nil {
			return nil, err
		}
		tools = append(tools, t)
	}
	return tools, nil
}

// deleteCommand is penstock delete.
type deleteCommand struct {
	Kind   string `arg:"" enum:"${kinds}" help:"gateway, server, connection, team, user, token, identity-provider or oauth-client."`
	Name   string `arg:"" help:"Its name."`
	Etag   string `help:"Delete only if its etag is still this one."`
	DryRun bool   `help:"Check everything, delete nothing."`
}

// Run implements the command.
func (c *deleteCommand) Run(ctx context.Context, r *run) error {
	k, err := kindCalled(c.Kind)
	if err != nil {
		return err
	}
	if k.remove == nil {
		return usageError{fmt.Errorf("a %s cannot be deleted", k.name)}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	rev, err := k.remove(ctx, client, removal{name: c.Name, etag: c.Etag, dryRun: c.DryRun})
	if err != nil {
		return err
	}
	if c.DryRun {
		return r.print("%s %s could be deleted (dry run)", k.name, c.Name)
	}
	return r.print("%s %s deleted (revision %d)", k.name, c.Name, rev)
}

// undeleteCommand is penstock undelete.
type undeleteCommand struct {
	Kind string `arg:"" enum:"gateway,server" help:"gateway or server."`
	Name string `arg:"" help:"Its name."`
}

// Run implements the command.
func (c *undeleteCommand) Run(ctx context.Context, r *run) error {
	k, err := kindCalled(c.Kind)
	if err != nil {
		return err
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	rev, err := k.undelete(ctx, client, c.Name)
	if err != nil {
		return err
	}
	return r.print("%s %s is back (revision %d)", k.name, c.Name, rev)
}
