// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// nodeCommands is penstock node.
type nodeCommands struct {
	JoinToken joinTokenCommand `cmd:"" name:"join-token" help:"Make a token with which one node or authserver can join, once, and print it alone on standard output."`
	Ban       banCommand       `cmd:"" help:"Shut a node or another workload out for ever: its streams end at once, its certificate is refused everywhere."`
}

// workload names what joins or is banned.
type workload struct {
	Name   string `arg:"" help:"Name, unique in its role and region."`
	Role   string `enum:"node,authserver,controlplane" default:"node" help:"What it is: node, authserver or controlplane."`
	Region string `placeholder:"NAME" help:"Region of a node; without one it serves every gateway."`
}

func (w workload) role() adminv1.WorkloadRole {
	switch w.Role {
	case "authserver":
		return adminv1.WorkloadRole_WORKLOAD_ROLE_AUTHSERVER
	case "controlplane":
		return adminv1.WorkloadRole_WORKLOAD_ROLE_CONTROL_PLANE
	default:
		return adminv1.WorkloadRole_WORKLOAD_ROLE_NODE
	}
}

// joinTokenCommand is penstock node join-token.
type joinTokenCommand struct {
	workload

	Expires string `default:"1h" help:"How long the token can be used, for example 15m or 2d; at most 7d."`
}

// Run implements the command.
func (c *joinTokenCommand) Run(ctx context.Context, r *run) error {
	life, err := manifest.Duration(c.Expires)
	if err != nil {
		return usageError{err}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Nodes.CreateJoinToken(ctx, &adminv1.CreateJoinTokenRequest{
		Role: c.role(), Name: c.Name, Region: c.Region, Lifetime: durationpb.New(life),
	})
	if err != nil {
		return err
	}
	r.note("join token for %s, good once until %s; it is shown this once: set it as enrollment.join_token",
		res.GetSpiffeId(), res.GetExpireTime().AsTime().Format("2006-01-02 15:04Z"))
	return r.print("%s", res.GetJoinToken())
}

// banCommand is penstock node ban.
type banCommand struct {
	workload

	Reason string `placeholder:"TEXT" help:"Why, for the record."`
}

// Run implements the command.
func (c *banCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Nodes.BanWorkload(ctx, &adminv1.BanWorkloadRequest{Role: c.role(), Name: c.Name, Region: c.Region, Reason: c.Reason})
	if err != nil {
		return err
	}
	return r.print("%s is banned; to let the machine back in, give it another name", res.GetSpiffeId())
}
