// SPDX-License-Identifier: Apache-2.0

package command

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// TestPolicyTest: the cases of a file are sent as they stand there, and what is not as expected ends in 1.
func TestPolicyTest(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Policy{Name: "no-drop", Tools: []string{"db/drop"}, Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK})
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "a.policytest.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := file(`cases:
- name: drop
  gateway: eng
  tool: db/drop
  args: {table: users, n: 9007199254740993, list: [1, {a: b}]}
  caller: {user: u1, email: ada@example.com, teams: [eng], roles: [EDITOR], auth_method: oauth, client_id: cli, token_id: t}
  context: {untrusted: true, sources: [web]}
  request: {headers: {x-ticket: T}, time: 2026-11-30T12:00:00Z}
  expect: {action: block, policy: no-drop}
- {gateway: eng, tool: db/query, expect: {action: ALLOW}}
`)
	w.run(t, "policy", "test", good).want(t, exitOK, "2 cases are as expected\n", "")
	want := []*adminv1.PolicyCase{
		{
			Name: "drop", Gateway: "eng", Tool: "db/drop", Args: `{"list":[1,{"a":"b"}],"n":9007199254740993,"table":"users"}`,
			Caller: &adminv1.PolicyCaller{
				User: "u1", Email: ada, Teams: []string{"eng"}, Roles: []string{"EDITOR"}, AuthMethod: "oauth", ClientId: "cli", TokenId: "t",
			},
			Untrusted: true, Sources: []string{"web"}, Headers: map[string]string{"x-ticket": "T"},
			Time:         timestamppb.New(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)),
			ExpectAction: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, ExpectPolicy: "no-drop",
		},
		{Name: "case 2", Gateway: "eng", Tool: "db/query", Caller: &adminv1.PolicyCaller{}, ExpectAction: resourcev1.PolicyAction_POLICY_ACTION_ALLOW},
	}
	if d := cmp.Diff(want, w.api.Tried, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	bad := file("cases:\n- {name: a, gateway: eng, tool: db/drop, expect: {action: ALLOW}}\n- {name: b, gateway: eng, tool: db/query, expect: {policy: no-drop}}\n")
	w.run(t, "policy", "test", good, bad).want(t, exitFailure,
		"FAIL a: BLOCK by no-drop; expected ALLOW\nFAIL b: ALLOW; expected any action by no-drop\n", "2 of 4 cases are not as expected")
	for text, problem := range map[string]string{
		"":                                  "there are no cases",
		"cases: []":                         "there are no cases",
		"cases: [{tol: a}]":                 "line 1: field tol not found",
		"cases: [{tool: a}]":                "case 1 expects nothing; set expect.action or expect.policy",
		"cases: [{expect: {action: STOP}}]": `case 1, expect.action: "STOP" is not ALLOW, BLOCK or REQUIRE_APPROVAL`,
		"cases: [{expect: {action: unspecified}}]": `case 1, expect.action: "unspecified" is not`,
		"cases: {": "read cases",
	} {
		w.run(t, "policy", "test", file(text)).want(t, exitFailure, "", problem)
	}
	w.run(t, "policy", "test", "none.yaml").want(t, exitFailure, "", "none.yaml")
}
