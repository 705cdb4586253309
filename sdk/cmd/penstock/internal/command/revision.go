// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

const (
	rolloutEvery = 300 * time.Millisecond
	rolloutLimit = 5 * time.Minute
	mostShown    = 3 // resources of a revision in the table
)

// revisionsCommand is penstock revisions.
type revisionsCommand struct {
	Before uint64 `help:"Show revisions before this one."`
	Limit  int32  `default:"20" help:"Most revisions to show, 1 to 1000."`
}

// Run implements the command.
func (c *revisionsCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Configuration.ListRevisions(ctx, &adminv1.ListRevisionsRequest{Before: c.Before, PageSize: c.Limit})
	if err != nil {
		return err
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, res)
	}
	rows := make([][]string, 0, len(res.GetRevisions()))
	for _, v := range res.GetRevisions() {
		staged := ""
		if v.GetStaged() {
			staged = "staged"
		}
		rows = append(rows, []string{
			strconv.FormatUint(v.GetRevision(), 10), v.GetCommitTime().AsTime().UTC().Format(time.RFC3339), v.GetActor(),
			some("", v.GetChanged()), some("", v.GetDeleted()), staged,
		})
	}
	return show.Table(r.Stdout, []string{"REVISION", "TIME", "ACTOR", "CHANGED", "DELETED", ""}, rows)
}

// some lists a few names and counts the rest.
func some(none string, names []string) string {
	switch {
	case len(names) == 0:
		return none
	case len(names) > mostShown:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostShown], ", "), len(names)-mostShown)
	default:
		return strings.Join(names, ", ")
	}
}

// rollbackCommand is penstock rollback.
type rollbackCommand struct {
	Revision uint64 `arg:"" help:"Revision to go back to; see: penstock revisions."`
	DryRun   bool   `help:"Check everything and show the difference; store nothing."`
	Wait     bool   `help:"Wait until every node enforces the new revision."`
}

// Help says what does not come back.
func (c *rollbackCommand) Help() string {
	return "Makes one new revision whose resources are those of an older one. Users, teams, memberships and tokens stay as they are: what was " +
		"taken away from somebody does not come back. Secrets stay too: a connection that comes back needs a new one, and one whose owner is gone does not come back."
}

// Run implements the command.
func (c *rollbackCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Configuration.Rollback(ctx, &adminv1.RollbackRequest{Revision: c.Revision, ValidateOnly: c.DryRun})
	if err != nil {
		return err
	}
	done := &applyCommand{DryRun: c.DryRun}
	if err := done.report(r, &adminv1.ApplyResponse{Resources: res.GetResources(), Revision: res.GetRevision()}); err != nil {
		return err
	}
	if c.Wait && !c.DryRun {
		return waitFor(ctx, r, client, res.GetRevision(), 30*time.Second)
	}
	return nil
}

// rolloutCommands are penstock rollout and what is below it.
type rolloutCommands struct {
	Show    rolloutShowCommand    `cmd:"" default:"1" help:"Show how far the staged rollout has come."`
	Promote rolloutPromoteCommand `cmd:"" help:"Let the staged rollout go to all nodes now."`
}

// rolloutShowCommand is penstock rollout show.
type rolloutShowCommand struct{}

// Run implements the command.
func (c *rolloutShowCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Configuration.GetRollout(ctx, &adminv1.GetRolloutRequest{})
	if err != nil {
		return err
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, res)
	}
	return r.print("%s", show.Safe(progress(res)))
}

// progress says in a line where a rollout is.
func progress(res *adminv1.GetRolloutResponse) string {
	where := fmt.Sprintf("revision %d: ", res.GetRevision())
	on := "waits for a node"
	if len(res.GetNodes()) > 0 {
		on = "on " + some("", res.GetNodes())
	}
	switch res.GetStage() {
	case adminv1.RolloutStage_ROLLOUT_STAGE_ONE:
		return where + "one node, " + on
	case adminv1.RolloutStage_ROLLOUT_STAGE_TENTH:
		return where + "a tenth of the nodes, " + on
	case adminv1.RolloutStage_ROLLOUT_STAGE_STOPPED:
		return where + "stopped " + on + ": " + res.GetReason()
	case adminv1.RolloutStage_ROLLOUT_STAGE_ALL:
		if res.GetReason() != "" {
			return where + res.GetReason()
		}
		return where + "goes to all nodes"
	case adminv1.RolloutStage_ROLLOUT_STAGE_UNSPECIFIED:
	}
	return "nothing was rolled out in stages"
}

// rolloutPromoteCommand is penstock rollout promote.
type rolloutPromoteCommand struct {
	Revision uint64 `arg:"" help:"Revision of the rollout."`
}

// Run implements the command.
func (c *rolloutPromoteCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	if _, err := client.Configuration.PromoteRollout(ctx, &adminv1.PromoteRolloutRequest{Revision: c.Revision}); err != nil {
		return err
	}
	r.note("revision %d goes to all nodes", c.Revision)
	return nil
}

// followRollout tells of the stages of a rollout until it is over, and fails if it stops.
func followRollout(ctx context.Context, r *run, client *admin.Client, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, rolloutLimit)
	defer cancel()
	tick := time.NewTicker(rolloutEvery)
	defer tick.Stop()
	for last := ""; ; {
		res, err := client.Configuration.GetRollout(ctx, &adminv1.GetRolloutRequest{})
		if err != nil {
			return err
		}
		if res.GetRevision() != revision {
			r.note("nothing is to be rolled out")
			return nil
		}
		if line := progress(res); line != last {
			last = line
			r.note("%s", show.Safe(line))
		}
		switch {
		case res.GetStage() == adminv1.RolloutStage_ROLLOUT_STAGE_ALL:
			return nil
		case res.GetStage() == adminv1.RolloutStage_ROLLOUT_STAGE_STOPPED:
			return fmt.Errorf("the rollout of revision %d has stopped; go back with: penstock rollback %d, or go on in spite of it with: penstock rollout promote %d",
				revision, revision-1, revision)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the rollout of revision %d is not over after %v; see: penstock rollout", revision, rolloutLimit)
		}
	}
}
