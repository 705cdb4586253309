// SPDX-License-Identifier: Apache-2.0

package command

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

func TestRevisions(t *testing.T) {
	w := newWorld(t)
	w.api.Revisions = []*adminv1.RevisionInfo{
		{
			Revision: 7, Actor: "user:1", CommitTime: &timestamppb.Timestamp{Seconds: 1767225600}, Staged: true,
			Changed: []string{"gateway/eng", "gateway/ops", "server/a", "server/b"}, Deleted: []string{"server/c"},
		},
		{Revision: 6, Actor: "system", CommitTime: &timestamppb.Timestamp{Seconds: 1767225600}},
	}
	got := w.run(t, "revisions")
	got.want(t, exitOK, "7         2026-01-01T00:00:00Z  user:1  gateway/eng, gateway/ops, server/a and 1 more  server/c  staged", "")
	if got := w.run(t, "revisions", "--before", "7", "--limit", "5"); strings.Contains(got.out, "user:1") || !strings.Contains(got.out, "system") {
		t.Errorf("revisions before 7:\n%s", got.out)
	}
	w.run(t, "revisions", "-o", "json").want(t, exitOK, `"revision"`, "")
}

func TestRollback(t *testing.T) {
	w := newWorld(t)
	w.run(t, "rollback", "0").want(t, exitOK, "Gateway eng updated: tools\n1 updated; revision 1", "")
	w.run(t, "rollback", "0", "--dry-run").want(t, exitOK, "1 updated (dry run, nothing stored)", "")
	w.run(t, "rollback", "9").want(t, exitFailure, "", "There is no such revision yet.")
	w.run(t, "rollback", "--help").want(t, exitOK, "what was taken away", "")
}

func TestRollout(t *testing.T) {
	w := newWorld(t)
	w.run(t, "rollout").want(t, exitOK, "nothing was rolled out in stages", "")
	w.run(t, "rollout", "promote", "3").want(t, exitFailure, "", "No staged rollout of that revision is running.")
	path := w.file(t, "team.yaml", "kind: Team\nname: eng\n")
	stages := func(last *adminv1.GetRolloutResponse, revision uint64) []*adminv1.GetRolloutResponse {
		last.Revision = revision
		return []*adminv1.GetRolloutResponse{
			{Revision: revision, Stage: adminv1.RolloutStage_ROLLOUT_STAGE_ONE},
			{Revision: revision, Stage: adminv1.RolloutStage_ROLLOUT_STAGE_ONE, Nodes: []string{"eu/n1"}},
			{Revision: revision, Stage: adminv1.RolloutStage_ROLLOUT_STAGE_TENTH, Nodes: []string{"eu/n1", "eu/n2"}},
			last,
		}
	}
	w.api.Rollouts = stages(&adminv1.GetRolloutResponse{Stage: adminv1.RolloutStage_ROLLOUT_STAGE_ALL}, 1)
	w.run(t, "apply", "--staged", "-f", path).want(t, exitOK, "Team eng created\n", "penstock: revision 1: one node, waits for a node\n"+
		"penstock: revision 1: one node, on eu/n1\npenstock: revision 1: a tenth of the nodes, on eu/n1, eu/n2\npenstock: revision 1: goes to all nodes\n")
	w.api.Rollouts = stages(&adminv1.GetRolloutResponse{Stage: adminv1.RolloutStage_ROLLOUT_STAGE_STOPPED, Nodes: []string{"eu/n1"}, Reason: "bad"}, 1)
	w.run(t, "apply", "--staged", "-f", path).want(t, exitFailure, "", "penstock: revision 1: stopped on eu/n1: bad\npenstock: the rollout of revision 1 has stopped; "+
		"go back with: penstock rollback 0, or go on in spite of it with: penstock rollout promote 1")
	w.run(t, "rollout").want(t, exitOK, "revision 1: stopped on eu/n1: bad", "")
	w.run(t, "rollout", "promote", "1").want(t, exitOK, "", "revision 1 goes to all nodes")
}
