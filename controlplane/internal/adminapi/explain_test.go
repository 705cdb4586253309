// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// explainer is a node that gives one answer to every question.
type explainer struct {
	answer *resourcev1.Explanation
	err    error
	waits  time.Duration // that the question waited at most
}

// Explain implements adminapi.Explainer.
func (e *explainer) Explain(ctx context.Context, _ *adminv1.ExplainRequest) (*adminv1.ExplainResponse, error) {
	if end, bounded := ctx.Deadline(); bounded {
		e.waits = time.Until(end)
	}
	if e.err != nil {
		return nil, e.err
	}
	answer := e.answer
	if answer == nil {
		answer = &resourcev1.Explanation{}
	}
	return &adminv1.ExplainResponse{Explanation: proto.CloneOf(answer)}, nil
}

func asUser(name string) *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_User{User: name}}
}

func asToken(name string) *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_BearerToken{BearerToken: name}}
}

func asMachine(id string) *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_ServiceAccount{ServiceAccount: id}}
}

func asTeam(name string) *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_Team{Team: name}}
}

func asOrganization() *resourcev1.ExplainPrincipal {
	return &resourcev1.ExplainPrincipal{Who: &resourcev1.ExplainPrincipal_Organization{Organization: true}}
}

// explainRows: an ADMIN may ask about anybody, an EDITOR at gateways that they manage, everybody about themselves.
func explainRows() []row {
	ask := func(p *resourcev1.ExplainPrincipal, change ...func(*adminv1.ExplainRequest)) func(context.Context, *admin.Client) error {
		return func(ctx context.Context, c *admin.Client) error {
			req := &adminv1.ExplainRequest{Question: &resourcev1.ExplainQuestion{Gateway: "eng", Tool: "everything__echo", Principal: proto.CloneOf(p)}}
			for _, f := range change {
				f(req)
			}
			_, err := c.Explain.Explain(ctx, req)
			return err
		}
	}
	at := func(gateway string) func(*adminv1.ExplainRequest) {
		return func(r *adminv1.ExplainRequest) { r.Question.Gateway = gateway }
	}
	return []row{
		{"Explain, member", ok, ok, ok, ask(asUser(memberUser))},
		{"Explain, editor", denied, ok, ok, ask(asUser(editorUser))},
		{"Explain, token of the member", ok, ok, ok, ask(asToken("of-member"))},
		{"Explain, token of the admin", denied, ok, ok, ask(asToken("of-admin"))},
		{"Explain, token that is not there", denied, notFound, notFound, ask(asToken("none"))},
		{"Explain, user that is not there", denied, notFound, notFound, ask(asUser("none@example.com"))},
		{"Explain, service account", denied, ok, ok, ask(asMachine("ci"))},
		{"Explain, service account that is not there", denied, notFound, notFound, ask(asMachine("none"))},
		{"Explain, team", denied, ok, ok, ask(asTeam("crew"))},
		{"Explain, team that is not there", denied, notFound, notFound, ask(asTeam("none"))},
		{"Explain, organisation", denied, ok, ok, ask(asOrganization())},
		{"Explain, gateway that is not there", notFound, notFound, notFound, ask(asUser(memberUser), at("none"))},
		{"Explain, gateway that is deleted", notFound, notFound, notFound, ask(asUser(memberUser), at("gone"))},
		{"Explain, node", denied, denied, ok, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Node = "node-1" })},
		{"Explain, no principal", connect.CodeInvalidArgument, connect.CodeInvalidArgument, connect.CodeInvalidArgument, ask(&resourcev1.ExplainPrincipal{})},
		{"Explain, time", denied, ok, ok, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Question.Time = timestamppb.Now() })},
		{"Explain, context", denied, ok, ok, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Question.Untrusted = new(bool) })},
		{"Explain, sources", denied, ok, ok, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Question.Sources = []string{"web"} })},
		{"Explain, client", denied, ok, ok, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Question.ClientId = "c" })},
		{"Explain, method", denied, ok, ok, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Question.AuthMethod = "oauth" })},
		{"Explain, method that is none", connect.CodeInvalidArgument, connect.CodeInvalidArgument, connect.CodeInvalidArgument, ask(asUser(memberUser), func(r *adminv1.ExplainRequest) { r.Question.AuthMethod = "x" })},
	}
}

// TestExplainElsewhere: an EDITOR is told everything only where they manage the gateway, also one that they may not call; a team's
// admin, who does not see policies, of their own calls only.
func TestExplainElsewhere(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	personal, team := orgGateway("own"), orgGateway("team")
	personal.Visibility = &resourcev1.Visibility{Kind: &resourcev1.Visibility_Personal{Personal: &resourcev1.PersonalVisibility{Owner: memberUser}}}
	team.Visibility = &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: []string{"leads"}}}}
	if _, err := c.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: "leads", Members: []*resourcev1.TeamMember{
			{User: editorUser}, {User: memberUser, Role: resourcev1.Role_ROLE_ADMIN},
		}}}},
		{Resource: &adminv1.ManifestResource_Gateway{Gateway: personal}},
		{Resource: &adminv1.ManifestResource_Gateway{Gateway: team}},
	}}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, by, gateway, about string
		want                     connect.Code
		abridged                 bool
	}{
		{"an editor at a gateway of somebody else", editorUser, "own", editorUser, notFound, false},
		{"its owner about themselves", memberUser, "own", memberUser, ok, true},
		{"its owner about others", memberUser, "own", editorUser, denied, false},
		{"an admin", adminUser, "own", memberUser, ok, false},
		{"an editor who is no admin of the team", editorUser, "team", memberUser, denied, false},
		{"about themselves", editorUser, "team", editorUser, ok, true},
		{"an admin of the team who is no editor", memberUser, "team", editorUser, denied, false},
		{"an editor where they manage", editorUser, "eng", memberUser, ok, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			res, err := w.client(t, tc.by).Explain.Explain(ctx, &adminv1.ExplainRequest{
				Question: &resourcev1.ExplainQuestion{Gateway: tc.gateway, Tool: "everything__echo", Principal: asUser(tc.about)},
			})
			if got := codeOf(err); got != tc.want || res.GetExplanation().GetAbridged() != tc.abridged {
				t.Errorf("got %v (%v), abridged %t", got, err, res.GetExplanation().GetAbridged())
			}
		})
	}
}

func codeOf(err error) connect.Code {
	if err == nil {
		return ok
	}
	return connect.CodeOf(err)
}

const secretWord = "SECRET"

// answer is an explanation that has the secret word wherever only administrators look, and refuses at a step.
func answer(refusedAt string) *resourcev1.Explanation {
	e := &resourcev1.Explanation{
		Verdict: resourcev1.Verdict_VERDICT_REFUSED, Reason: "R", Sentence: "S", DecidedBy: refusedAt, Revision: 7, Node: secretWord, Region: secretWord,
		Caller: &resourcev1.ExplainedCaller{Kind: "user", Name: memberUser}, Tool: "db/query", ExposedName: "db__query",
	}
	refused := false
	for _, name := range []string{"node", "authentication", "visibility", "scopes", "request_limits", "tool", "state", "policies", "limits", "credential"} {
		s := &resourcev1.ExplainedStep{Step: name, Outcome: resourcev1.StepOutcome_STEP_OUTCOME_OK, Sentence: ""}
		if refused {
			s.Sentence = secretWord // behind what ended the call
		}
		if name == refusedAt {
			refused, s.Outcome, s.Reason, s.Sentence = true, resourcev1.StepOutcome_STEP_OUTCOME_REFUSED, "R", "S"
		}
		switch name {
		case "request_limits", "limits":
			s.Limits = []*resourcev1.LimitTrace{{Per: "TEAM", Team: secretWord}}
		case "policies":
			s.Rules = []*resourcev1.RuleTrace{{Policy: secretWord, Covers: true, Matched: true, Shadow: true}, {Policy: secretWord}}
			if name == refusedAt {
				s.Rules = append(s.Rules, &resourcev1.RuleTrace{Policy: "no-writes", Decided: true, Action: "BLOCK", Error: secretWord})
			} else { // a policy that lets the call run is none that the caller hears of
				s.Rules = append(s.Rules, &resourcev1.RuleTrace{Policy: secretWord, Decided: true, Action: "ALLOW"})
			}
		case "credential":
			s.Credential = &resourcev1.ExplainedCredential{Server: "db", Connection: secretWord, Owner: "team:" + secretWord, State: "held"}
		}
		e.Steps = append(e.Steps, s)
	}
	return e
}

// TestExplainLeaksNothing: who asks about themselves is told what the call would tell them, wherever it ends.
func TestExplainLeaksNothing(t *testing.T) {
	w := newWorld(t)
	ask := func(by string) *resourcev1.Explanation {
		t.Helper()
		res, err := w.client(t, by).Explain.Explain(t.Context(), &adminv1.ExplainRequest{
			Question: &resourcev1.ExplainQuestion{Gateway: "eng", Tool: "db__query", Principal: asUser(memberUser)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetExplanation()
	}
	for _, at := range []string{"", "authentication", "visibility", "scopes", "tool", "state", "policies", "limits", "credential"} {
		w.explainer.answer = answer(at)
		if at == "authentication" || at == "visibility" || at == "scopes" {
			w.explainer.answer.Tool, w.explainer.answer.CloseMatches = secretWord, []string{secretWord}
		}
		got := ask(memberUser)
		if text := prototext.Format(got); strings.Contains(text, secretWord) {
			t.Errorf("refused at %q: %s", at, text)
		}
		if steps := got.GetSteps(); at != "" && steps[len(steps)-1].GetStep() != at || !got.GetAbridged() || got.GetReason() != "R" {
			t.Errorf("refused at %q: %s", at, prototext.Format(got))
		}
		if at == "policies" {
			if rules := got.GetSteps()[7].GetRules(); len(rules) != 1 || rules[0].GetPolicy() != "no-writes" {
				t.Errorf("the policy that refuses: %v", rules)
			}
		}
		if whole := ask(adminUser); !proto.Equal(whole, w.explainer.answer) {
			t.Errorf("the admin is told %s", prototext.Format(whole))
		}
		whole := ask(editorUser) // all but the nodes
		whole.Node, whole.Region = secretWord, secretWord
		if !proto.Equal(whole, w.explainer.answer) {
			t.Errorf("the editor is told %s", prototext.Format(whole))
		}
	}
	own := answer("")
	own.Steps[9].Credential = &resourcev1.ExplainedCredential{Connection: "mine", Owner: "user:" + memberUser}
	w.explainer.answer = own
	if got := ask(memberUser).GetSteps()[9].GetCredential().GetConnection(); got != "mine" {
		t.Errorf("their own connection is %q", got)
	}
}

// TestExplainWaits: the wait is bounded, and what the nodes say goes to who asks.
func TestExplainWaits(t *testing.T) {
	w := newWorld(t)
	ask := func(timeout time.Duration) error {
		req := &adminv1.ExplainRequest{Question: &resourcev1.ExplainQuestion{Gateway: "eng", Tool: "x", Principal: asUser(memberUser)}}
		if timeout != 0 {
			req.Timeout = durationpb.New(timeout)
		}
		_, err := w.client(t, adminUser).Explain.Explain(t.Context(), req)
		return err
	}
	for timeout, want := range map[time.Duration]time.Duration{0: 10 * time.Second, 3 * time.Second: 3 * time.Second, time.Minute: time.Minute} {
		if err := ask(timeout); err != nil || w.explainer.waits > want || w.explainer.waits < want-2*time.Second {
			t.Errorf("%s: waits for %s, %v", timeout, w.explainer.waits, err)
		}
	}
	for _, timeout := range []time.Duration{time.Millisecond, time.Hour} {
		if err := ask(timeout); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", timeout, err)
		}
	}
	for _, tc := range []struct {
		fault *fault.Fault
		want  connect.Code
	}{
		{fault.New(fault.Unavailable, "NO_NODE", "No node."), connect.CodeUnavailable},
		{fault.New(fault.Precondition, "NODE_LACKS_CAPABILITY", "Update n1."), connect.CodeFailedPrecondition},
		{fault.New(fault.Timeout, "EXPLAIN_TIMEOUT", "Too late."), connect.CodeDeadlineExceeded},
	} {
		w.explainer.err = tc.fault
		err := ask(0)
		if e, ours := admin.AsError(err); connect.CodeOf(err) != tc.want || !ours || e.Reason != tc.fault.Reason || !strings.Contains(err.Error(), tc.fault.Public) {
			t.Errorf("got %v", err)
		}
	}
}
