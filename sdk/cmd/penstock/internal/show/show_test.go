// SPDX-License-Identifier: Apache-2.0

package show

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

func owners() []*resourcev1.Owner {
	return []*resourcev1.Owner{
		{Kind: &resourcev1.Owner_User{User: "ada@example.com"}},
		{Kind: &resourcev1.Owner_Team{Team: "eng"}},
		{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
		{Kind: &resourcev1.Owner_ServiceAccount{ServiceAccount: "ci"}},
		nil,
	}
}

func TestRows(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)))
	tests := []struct {
		m    proto.Message
		want []string
	}{
		{
			&resourcev1.Server{
				Name: "s", Transport: &resourcev1.Server_Stdio{Stdio: &resourcev1.Stdio{Command: "npx", Args: []string{"-y", "x"}}},
				Credential: &resourcev1.ServerCredential{Kind: &resourcev1.ServerCredential_StaticEnv{StaticEnv: &resourcev1.StaticEnv{}}},
				Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Personal{Personal: &resourcev1.PersonalVisibility{Owner: "ada@example.com"}}},
				Status:     &resourcev1.ServerStatus{Tools: 3, LastError: "away"},
			},
			[]string{"s", "stdio", "npx -y x", "static_env", "personal ada@example.com", "3", "away"},
		},
		{
			&resourcev1.Server{Name: "s", Transport: &resourcev1.Server_Sse{Sse: &resourcev1.Sse{Url: "http://x"}}},
			[]string{"s", "sse", "http://x", "none", "-", "0", "-"},
		},
		{&resourcev1.Server{Name: "s"}, []string{"s", "-", "", "none", "-", "0", "-"}},
		{
			&resourcev1.Connection{Name: "c", Server: "s", Owner: owners()[1], SecretNames: []string{"A", "B"}, Status: &resourcev1.ConnectionStatus{State: resourcev1.ConnectionState_CONNECTION_STATE_NEEDS_AUTH}},
			[]string{"c", "s", "team eng", "NEEDS_AUTH", "A, B", "-"},
		},
		{&resourcev1.Connection{Name: "c", Server: "s"}, []string{"c", "s", "-", "not checked", "-", "-"}},
		{
			&resourcev1.Tool{Name: "s/t", State: resourcev1.ToolState_TOOL_STATE_CHANGED, Held: true, DefinitionHash: "0123456789abcdef"},
			[]string{"s/t", "CHANGED", "yes", "0123456789ab"},
		},
		{&resourcev1.Gateway{Name: "g", Disabled: true}, []string{"g", "-", "0", "disabled", "-"}},
		{
			&resourcev1.Gateway{Name: "g", Status: &resourcev1.GatewayStatus{Conditions: []*resourcev1.Condition{{Type: "Ready", Status: true}}}},
			[]string{"g", "-", "0", "yes", "-"},
		},
		{&resourcev1.Team{Name: "t", Members: []*resourcev1.TeamMember{{}, {}}}, []string{"t", "-", "2"}},
		{&resourcev1.User{Name: "u", Role: resourcev1.Role_ROLE_EDITOR, Deactivated: true}, []string{"u", "-", "EDITOR", "no"}},
		{&resourcev1.User{Name: "u"}, []string{"u", "-", "MEMBER", "yes"}},
		{
			&resourcev1.BearerToken{Name: "b", Owner: owners()[3], AdminApi: true, ExpireTime: at},
			[]string{"b", "service account ci", "admin API", "2026-01-02 02:04:05Z", "-"},
		},
		{
			&resourcev1.Policy{Name: "p", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW, Tools: []string{"a__*", "b__*"}, When: "args.n > 1 &&\n  " + strings.Repeat("x", 60)},
			[]string{"p", "BLOCK", "SHADOW", "a__*, b__*", "all", "args.n > 1 && " + strings.Repeat("x", 45) + "…", "yes"},
		},
		{
			&resourcev1.Policy{Name: "p", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK_IF_UNTRUSTED, Gateways: []string{"eng"}, Disabled: true},
			[]string{"p", "BLOCK_IF_UNTRUSTED", "ENFORCE", "all", "eng", "always", "no"},
		},
		{
			&resourcev1.ResultPolicy{Name: "p", Mark: resourcev1.ResultMark_RESULT_MARK_REDACT, Tools: []string{"a__*"}, Servers: []string{"a"}, When: "args.n > 1"},
			[]string{"p", "REDACT", "ENFORCE", "a__*", "a", "all", "args.n > 1", "yes"},
		},
		{
			&resourcev1.ResultPolicy{Name: "p", Mark: resourcev1.ResultMark_RESULT_MARK_UNTRUSTED, Mode: resourcev1.PolicyMode_POLICY_MODE_SHADOW, Disabled: true},
			[]string{"p", "UNTRUSTED", "SHADOW", "all", "all", "all", "always", "no"},
		},
		{&resourcev1.BearerToken{Name: "b", Gateways: []string{"x", "y"}}, []string{"b", "-", "x, y", "-", "-"}},
		{
			&adminv1.Node{Name: "n", Connected: true, Replica: "cp-1", EnforcedRevision: 7, LagSeconds: 1.25, Rejects: []*adminv1.RejectedResource{{}}},
			[]string{"n", "-", "yes", "cp-1", "7", "1.2s", "1", "-", "-"},
		},
	}
	for _, tt := range tests {
		t.Run(strings.Join(tt.want, " "), func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Row(tt.m)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(Header(tt.m)) != len(tt.want) {
				t.Errorf("%d columns under %d headings", len(tt.want), len(Header(tt.m)))
			}
		})
	}
}

func TestOwners(t *testing.T) {
	var got []string
	for _, o := range owners() {
		got = append(got, owner(o))
	}
	if diff := cmp.Diff([]string{"user ada@example.com", "team eng", "organization", "service account ci", "-"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDescribe(t *testing.T) {
	tests := []struct {
		name  string
		m     proto.Message
		tools []*resourcev1.Tool
		want  []string
	}{
		{
			"server", &resourcev1.Server{Name: "s", CallTimeout: durationpb.New(time.Minute), MaxConcurrency: 5, ExtraHeaders: map[string]string{"B": "hidden", "A": "hidden"}, Labels: map[string]string{"k": "v"}},
			[]*resourcev1.Tool{{Name: "s/t"}},
			[]string{"Call timeout:     1m0s\n", "Max concurrency:  5\n", "Extra headers:    A, B\n", "Labels:           k=v\n", "s/t   -"},
		},
		{"server of people", &resourcev1.Server{Name: "s", OwnConnectionsOnly: true}, nil, []string{"Own connections only:  yes\n"}},
		{"server without tools", &resourcev1.Server{Name: "s"}, nil, []string{"Tools:\nnone known; penstock server discover finds them\n"}},
		{
			"gateway with tokens of identity providers", &resourcev1.Gateway{Name: "g", Authentication: &resourcev1.Authentication{Jwks: &resourcev1.JwksAuthentication{Issuers: []*resourcev1.JwksIssuer{
				{IdentityProvider: "okta", Audiences: []string{"a", "b"}},
				{IdentityProvider: "entra", Audiences: []string{"c"}, SubjectClaim: "oid", ScopeClaim: "scp", RequiredClaims: map[string]string{"tid": "t"}, AcceptMissingScope: true, SharedAudience: true},
			}}}}, nil,
			[]string{
				"Authentication:  jwks\n", "PROVIDER  AUDIENCES  SUBJECT  SCOPES      SETTINGS\n", "okta      a, b       sub      scope, scp  -\n",
				"entra     c          oid      scp         tid=t, shared_audience, accept_missing_scope\n",
			},
		},
		{"connection", &resourcev1.Connection{Name: "c", Server: "s"}, nil, []string{"Server:   s\n", "State:    not checked\n"}},
		{
			"tool", &resourcev1.Tool{Name: "s/t", Definition: []byte(`{"name":"t"}`), PendingDefinition: []byte("broken\x1b")}, nil,
			[]string{"\nDefinition:\n{\n  \"name\": \"t\"\n}\n", "Definition that waits to be accepted:\nbroken\uFFFD\n"},
		},
		{"team", &resourcev1.Team{Name: "t"}, nil, []string{"Members:\nnone\n"}},
		{
			"policy", &resourcev1.Policy{Name: "p", Action: resourcev1.PolicyAction_POLICY_ACTION_BLOCK, When: "args.n > 1", Servers: []string{"s"}, GatewayLabels: map[string]string{"env": "prod"}, Reason: "No."}, nil,
			[]string{"Action:          BLOCK\n", "Tools:           all\n", "Servers:         s\n", "Gateway labels:  env=prod\n", "When:            args.n > 1\n", "Reason:          No.\n"},
		},
		{
			"result policy", &resourcev1.ResultPolicy{Name: "p", Mark: resourcev1.ResultMark_RESULT_MARK_REDACT, Redact: []string{"sk-[a-z]+", "x+"}, When: "args.n > 1", Reason: "No."}, nil,
			[]string{"Mark:       REDACT\n", "Takes out:  sk-[a-z]+, x+\n", "Tools:      all\n", "When:       args.n > 1\n", "Reason:     No.\n"},
		},
		{"result policy without a condition", &resourcev1.ResultPolicy{Name: "p"}, nil, []string{"When:      always\n"}},
		{"policy without a condition", &resourcev1.Policy{Name: "p"}, nil, []string{"When:      always\n"}},
		{"user", &resourcev1.User{Name: "u"}, nil, []string{"Role:     MEMBER\n"}},
		{"token", &resourcev1.BearerToken{Name: "b", Scopes: []string{"mcp"}}, nil, []string{"Scopes:     mcp\n"}},
		{
			"node", &adminv1.Node{Name: "n", Rejects: []*adminv1.RejectedResource{{Kind: "gateway", Name: "g", Reason: "R", Detail: "d", Revision: 3}}}, nil,
			[]string{"gateway  g     3         R       d\n"},
		},
		{
			"gateway", &resourcev1.Gateway{Name: "g", Instructions: "a\nb", Tools: []*resourcev1.ToolAssignment{{Tool: "s/t", Mode: &resourcev1.ToolAssignment_ResolveAtCallTime{}}}},
			nil,
			[]string{"Instructions:    a b\n", "-     s/t   -\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Describe(&b, tt.m, tt.tools); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("got\n%s\nwant %q in it", b.String(), want)
				}
			}
			if strings.Contains(b.String(), "hidden") {
				t.Errorf("header values are shown:\n%s", b.String())
			}
		})
	}
}

// TestSafe: what a tool's name could do to a terminal, it does not.
func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain é😀": "plain é😀", "a\x1b[2Jb": "a\uFFFD[2Jb", "a\nb\tc": "a b c", "a\u202eb": "a\uFFFDb", "a\u009bb": "a\uFFFDb", "\x00": "\uFFFD",
	} {
		if got := Safe(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestYAML: strings that would be read as something else are quoted, and members keep the order of the contract.
func TestYAML(t *testing.T) {
	var b bytes.Buffer
	err := One(&b, FormatYAML, &resourcev1.User{Name: "true", DisplayName: "1.0", Labels: map[string]string{"a": "x: y"}, Deactivated: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("name: \"true\"\nlabels:\n  a: 'x: y'\ndisplay_name: \"1.0\"\ndeactivated: true\n", b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
