// SPDX-License-Identifier: Apache-2.0

package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// explanation is one with something of everything.
func explanation() *resourcev1.Explanation {
	const (
		fine    = resourcev1.StepOutcome_STEP_OUTCOME_OK
		refused = resourcev1.StepOutcome_STEP_OUTCOME_REFUSED
		unknown = resourcev1.StepOutcome_STEP_OUTCOME_UNKNOWN
	)
	return &resourcev1.Explanation{
		Verdict: resourcev1.Verdict_VERDICT_REFUSED, Reason: "POLICY_BLOCKED", Sentence: `The policy "prod" refuses this call.`, DecidedBy: "policies",
		Revision: 17, Node: "n1", Region: "eu", Tool: "db/query", ExposedName: "db__query", Abridged: true, CloseMatches: []string{"db__query", "db__run"},
		Caller: &resourcev1.ExplainedCaller{
			Kind: "user", Name: ada, Teams: []string{"eng", "sre"}, AuthMethod: "oauth", ClientId: "cli", Scopes: []string{"mcp"},
		},
		Steps: []*resourcev1.ExplainedStep{
			{Step: "authentication", Outcome: fine},
			{Step: "policies", Outcome: refused, Reason: "POLICY_BLOCKED", Sentence: "No.\x1b[2J", Rules: []*resourcev1.RuleTrace{
				{Policy: "prod", Covers: true, Evaluated: true, Matched: true, Action: "BLOCK", Decided: true, Error: "it is no number"},
				{Policy: "other", Action: "BLOCK"},
				{Policy: "open", Covers: true, Matched: true, Action: "ALLOW"},
				{Policy: "tried", Covers: true, Evaluated: true, Action: "BLOCK", Shadow: true},
				{Covers: true, Matched: true, Action: "BLOCK"},
			}},
			{Step: "limits", Outcome: unknown, Limits: []*resourcev1.LimitTrace{
				{Per: "CALLER", Limit: 60, Period: durationpb.New(time.Minute), Burst: 10, Outcome: fine, Left: proto.Uint32(9)},
				{Per: "TEAM", Team: "eng", Limit: 5, Period: durationpb.New(time.Hour), Burst: 1, Outcome: unknown},
			}},
			{Step: "credential", Outcome: unknown, Sentence: "Ask.", Credential: &resourcev1.ExplainedCredential{
				Server: "db", Connection: "shared", Owner: "team:eng", Pinned: true, State: "unresolved", AsCaller: true,
			}},
		},
	}
}

// TestExplain: what is asked, what people read, and how the command ends.
func TestExplain(t *testing.T) {
	w := newWorld(t)
	w.api.Explanation = explanation()
	file := filepath.Join(t.TempDir(), "args.json")
	if err := os.WriteFile(file, []byte(`{"n":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run(t, "explain", "--gateway", "eng", "--tool", "db__query", "--as", ada, "--args", "@"+file, "--scope", "mcp", "--header", "x-ticket=T",
		"--untrusted", "--source", "web", "--client-id", "cli", "--auth-method", "oauth", "--time", "2026-11-30T12:00:00Z", "--node", "n1", "--timeout", "3s").
		want(t, exitFailure, `REFUSED POLICY_BLOCKED (policies): The policy "prod" refuses this call.
Caller: user ada@example.com, teams eng sre, oauth with cli, scopes mcp
Tool: db/query, at the gateway db__query
Did you mean: db__query, db__run
Revision: 17, node n1 in eu
This is what the call itself would tell you; administrators see more.

STEP              OUTCOME  DETAIL
authentication    ok
policies          REFUSED  POLICY_BLOCKED: No.`+"\uFFFD"+`[2J
  prod            BLOCK    decides; could not be evaluated: it is no number
  other           -        BLOCK of other tools
  open            matches  ALLOW of no more weight: a stricter policy decides
  tried           -        BLOCK; only counted (SHADOW)
  default_action  matches  BLOCK of no more weight: a stricter policy decides
limits            unknown
  per caller      ok       60 in 1m0s, 10 at once; 9 left
  per team eng    unknown  5 in 1h0m0s, 1 at once
credential        unknown  Ask. Server db, connection shared of team:eng, pinned, as the caller; credential: unresolved.
`, "the call would be refused")
	want := []*adminv1.ExplainRequest{{
		Question: &resourcev1.ExplainQuestion{
			Gateway: "eng", Tool: "db__query", Args: `{"n":1}`, Principal: &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_User{User: ada}},
			ClientId: "cli", AuthMethod: "oauth", Scopes: []string{"mcp"}, Headers: map[string]string{"x-ticket": "T"}, Untrusted: proto.Bool(true),
			Sources: []string{"web"}, Time: timestamppb.New(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)),
		},
		Node: "n1", Timeout: durationpb.New(3 * time.Second),
	}}
	if d := cmp.Diff(want, w.api.Asked, protocmp.Transform()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestExplainEnds: 0 if the call would run, 1 if not, whoever is asked about and in whatever form.
func TestExplainEnds(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		verdict resourcev1.Verdict
		code    int
		stderr  string
	}{
		{resourcev1.Verdict_VERDICT_ALLOWED, exitOK, ""},
		{resourcev1.Verdict_VERDICT_REFUSED, exitFailure, "the call would be refused"},
		{resourcev1.Verdict_VERDICT_HELD, exitFailure, "the call would wait for an approval"},
	} {
		w.api.Explanation = &resourcev1.Explanation{Verdict: tc.verdict, Revision: 3}
		for _, form := range []string{"table", "json", "yaml"} {
			got := w.run(t, "explain", "--gateway", "eng", "--tool", "x", "--as", "organization", "-o", form)
			word := strings.TrimPrefix(tc.verdict.String(), "VERDICT_")
			if got.code != tc.code || !strings.Contains(got.out, word) || !strings.Contains(got.err, tc.stderr) {
				t.Errorf("%s as %s: %d\n%s%s", word, form, got.code, got.out, got.err)
			}
		}
	}
	w.api.Explanation = &resourcev1.Explanation{Verdict: resourcev1.Verdict_VERDICT_HELD, DecidedBy: "approval", Sentence: "The policy holds it."}
	if got := w.run(t, "explain", "--gateway", "eng", "--tool", "x", "--as", "organization"); !strings.HasPrefix(got.out, "HELD (approval): The policy holds it.\n") {
		t.Errorf("what holds the call is not said first: %s", got.out)
	}
	w.api.Explanation, w.api.Asked = &resourcev1.Explanation{Verdict: resourcev1.Verdict_VERDICT_ALLOWED}, nil
	for _, as := range []string{"token:ci", "team:eng", "service-account:bot", "organization"} {
		if got := w.run(t, "explain", "--gateway", "eng", "--tool", "x", "--as", as, "--trusted"); got.code != exitOK {
			t.Errorf("%s: %s", as, got.err)
		}
	}
	var got []string
	for _, q := range w.api.Asked {
		p := q.GetQuestion().GetPrincipal()
		got = append(got, p.GetBearerToken()+p.GetTeam()+p.GetServiceAccount())
		if q.GetQuestion().Untrusted == nil || q.GetQuestion().GetUntrusted() || q.GetQuestion().GetArgs() != "" {
			t.Errorf("asked %v", q)
		}
	}
	if d := cmp.Diff([]string{"ci", "eng", "bot", ""}, got); d != "" {
		t.Error(d)
	}
	for _, args := range [][]string{
		{"--as", "ada"}, {"--as", "robot:x"}, {"--as", ada, "--trusted", "--untrusted"}, {"--as", ada, "--auth-method", "x"}, {"--as", ada, "--time", "soon"}, {},
	} {
		if got := w.run(t, append([]string{"explain", "--gateway", "eng", "--tool", "x"}, args...)...); got.code != exitUsage {
			t.Errorf("%v: %d %s", args, got.code, got.err)
		}
	}
	if got := w.run(t, "explain", "--gateway", "eng", "--tool", "x", "--as", ada, "--args", "@/none"); got.code != exitFailure || !strings.Contains(got.err, "read the arguments") {
		t.Errorf("no file: %d %s", got.code, got.err)
	}
}
