// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// longestWait is what one call of WaitEnforced may last.
const longestWait = 5 * time.Minute

// nodesCommand is penstock nodes.
type nodesCommand struct{}

// Run implements the command.
func (c *nodesCommand) Run(ctx context.Context, r *run) error {
	return (&getCommand{Kind: "nodes"}).Run(ctx, r)
}

// waitCommand is penstock wait.
type waitCommand struct {
	Revision uint64        `help:"Revision to wait for; the latest if not given."`
	Timeout  time.Duration `default:"30s" help:"Longest wait."`
}

// Run implements the command.
func (c *waitCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	return waitFor(ctx, r, client, c.Revision, c.Timeout)
}

// waitFor waits until every connected node enforces a revision (0: the head now), and fails with those that do not.
func waitFor(ctx context.Context, r *run, client *admin.Client, revision uint64, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		left := min(max(time.Until(deadline), 0), longestWait)
		res, err := client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Revision: revision, Timeout: durationpb.New(left)})
		if err != nil {
			return err
		}
		revision = res.GetRevision()
		if res.GetEnforced() || time.Now().After(deadline) || left == 0 {
			return reportWait(r, res, timeout)
		}
	}
}

func reportWait(r *run, res *adminv1.WaitEnforcedResponse, timeout time.Duration) error {
	if !r.forPeople() {
		if err := show.One(r.Stdout, r.grammar.Output, res); err != nil {
			return err
		}
	}
	away := ""
	if len(res.GetDisconnectedNodes()) > 0 {
		away = "; not connected: " + strings.Join(res.GetDisconnectedNodes(), ", ")
	}
	none := len(res.GetEnforcingNodes())+len(res.GetLaggingNodes()) == 0
	switch {
	case res.GetEnforced() && none:
		r.note("no node is connected%s; one that connects gets revision %d or a later one", away, res.GetRevision())
		return nil
	case res.GetEnforced() && r.forPeople():
		return r.print("revision %d is enforced by %s%s", res.GetRevision(), strings.Join(res.GetEnforcingNodes(), ", "), away)
	case res.GetEnforced():
		return nil
	case none:
		return fmt.Errorf("no node enforces revision %d: none is connected%s; start a data plane", res.GetRevision(), away)
	default:
		return fmt.Errorf("revision %d is not enforced everywhere after %s; lagging: %s%s",
			res.GetRevision(), timeout, strings.Join(res.GetLaggingNodes(), ", "), away)
	}
}
