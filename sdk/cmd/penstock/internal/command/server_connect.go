// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// serverConnectCommand is penstock server connect.
type serverConnectCommand struct {
	Name string `arg:"" help:"Name of the server."`
}

// Run implements the command.
func (c *serverConnectCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Connections.CreateConnectLink(ctx, &adminv1.CreateConnectLinkRequest{Server: c.Name})
	if err != nil {
		return err
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, res)
	}
	r.note("open the link in a browser; it is yours alone, good once and until %s; then: penstock server discover %s",
		res.GetExpireTime().AsTime().Format("2006-01-02 15:04Z"), c.Name)
	return r.print("%s", res.GetUrl())
}
