// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/settings"
	"github.com/penstockhq/penstock/sdk/internal/adminfake"
)

// world is a control plane and a place to run the command line in.
type world struct {
	api *adminfake.API
	env map[string]string
	dir string
	in  string
}

// outcome is what one run left.
type outcome struct {
	code     int
	out, err string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	api := adminfake.New()
	server := httptest.NewServer(api.Handler())
	t.Cleanup(server.Close)
	return &world{api: api, dir: t.TempDir(), env: map[string]string{
		settings.AddrVariable: server.URL, settings.TokenVariable: adminfake.Token,
	}}
}

// run runs one command line.
func (w *world) run(t *testing.T, args ...string) outcome {
	t.Helper()
	var out, err bytes.Buffer
	code := Main(t.Context(), args, Process{
		Stdin: strings.NewReader(w.in), Stdout: &out, Stderr: &err, ReadFile: os.ReadFile, Version: "1.2.3",
		Environment: settings.Environment{
			LookupEnv: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok },
			ConfigDir: filepath.Join(w.dir, "config"), Dir: w.dir,
		},
	})
	if strings.Contains(out.String()+err.String(), adminfake.Token) {
		t.Errorf("%v shows the token", args)
	}
	return outcome{code, out.String(), err.String()}
}

// file writes a file below the world's directory and returns its path.
func (w *world) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (o outcome) want(t *testing.T, code int, out, err string) {
	t.Helper()
	if o.code != code || !strings.Contains(o.out, out) || !strings.Contains(o.err, err) {
		t.Errorf("got code %d\nout: %s\nerr: %s\nwant code %d, out %q, err %q", o.code, o.out, o.err, code, out, err)
	}
}

// TestExitCodes has a row per code and way to get there.
func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		args []string
		fail error
		code int
		err  string
	}{
		{"no command", nil, nil, exitOK, ""},
		{"help", []string{"token", "create", "--help"}, nil, exitOK, ""},
		{"version", []string{"--version"}, nil, exitOK, ""},
		{"unknown command", []string{"gett"}, nil, exitUsage, "gett"},
		{"unknown kind", []string{"get", "gatewayz"}, nil, exitUsage, "gatewayz"},
		{"unknown flag", []string{"get", "gateways", "--colour"}, nil, exitUsage, "--colour"},
		{"unknown output", []string{"get", "gateways", "-o", "xml"}, nil, exitUsage, "--output"},
		{"apply without a file", []string{"apply"}, nil, exitUsage, "--file"},
		{"two owners", []string{"token", "create", "--user", "a@b.c", "--team", "t", "--admin-api"}, nil, exitUsage, "can't be used together"},
		{"no owner", []string{"token", "create", "--admin-api"}, nil, exitUsage, "--user"},
		{"no audience", []string{"token", "create", "--organization"}, nil, exitUsage, "--gateway"},
		{"life without unit", []string{"token", "create", "--organization", "--gateway", "g", "--expires", "30"}, nil, exitUsage, "30d"},
		{"token in place of its name", []string{"token", "revoke", "pst_u_x"}, nil, exitUsage, "penstock get tokens"},
		{"token to rotate in place of its name", []string{"token", "rotate", "pst_u_x"}, nil, exitUsage, "penstock get tokens"},
		{"overlap without unit", []string{"token", "rotate", "x", "--overlap", "1"}, nil, exitUsage, "30d"},
		{"new life without unit", []string{"token", "rotate", "x", "--expires", "30"}, nil, exitUsage, "30d"},
		{"tools cannot be deleted", []string{"delete", "tool", "a/b"}, nil, exitUsage, "cannot be deleted"},
		{"not found", []string{"get", "gateway", "nope"}, nil, exitNotFound, "There is no gateway nope."},
		{"denied", []string{"get", "gateways"}, adminfake.Failure(connect.CodePermissionDenied, "ROLE_REQUIRED", "Only an ADMIN may."), exitDenied, "Only an ADMIN may."},
		{"unauthenticated", []string{"get", "gateways"}, adminfake.Failure(connect.CodeUnauthenticated, "TOKEN_EXPIRED", "The token expired."), exitDenied, "check PENSTOCK_TOKEN"},
		{"stale", []string{"get", "gateways"}, adminfake.Failure(connect.CodeAborted, "ETAG_STALE", "Changed."), exitConflict, "get it again"},
		{"exists", []string{"get", "gateways"}, adminfake.Failure(connect.CodeAlreadyExists, "EXISTS", "There is one."), exitConflict, "There is one."},
		{"bug", []string{"get", "gateways"}, adminfake.Failure(connect.CodeInternal, "INTERNAL", "An internal error occurred."), exitFailure, "request req-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			if tt.fail != nil {
				w.api.FailNext(tt.fail)
			}
			got := w.run(t, tt.args...)
			got.want(t, tt.code, "", tt.err)
			if tt.code != exitOK && got.out != "" {
				t.Errorf("a failure wrote to standard output: %s", got.out)
			}
		})
	}
}

func TestNoControlPlane(t *testing.T) {
	w := newWorld(t)
	w.env[settings.AddrVariable] = "http://127.0.0.1:1"
	w.run(t, "delete", "gateway", "x").want(t, exitFailure, "", "is the control plane running? check PENSTOCK_ADDR")
	w.run(t, "get", "gateways", "--addr", "nonsense").want(t, exitFailure, "", "(from --addr)")
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	delete(w.env, settings.TokenVariable)
	w.run(t, "get", "gateways").want(t, exitDenied, "", "set PENSTOCK_TOKEN")
	w.file(t, ".penstock/admin.token", adminfake.Token+"\n")
	w.run(t, "get", "gateways").want(t, exitOK, "", "using the token in .penstock/admin.token")
	w.run(t, "config").want(t, exitOK, "[redacted]", "")

	created := w.run(t, "token", "create", "--user", "ada@example.com", "--gateway", "eng", "--gateway", "ops", "--expires", "30d", "--name", "laptop")
	created.want(t, exitOK, "", "token laptop for gateway eng, ops, expires ")
	if created.out != "pst_u_new\n" {
		t.Errorf("standard output is %q, want the token alone", created.out)
	}
	w.run(t, "describe", "token", "laptop", "-o", "json").want(t, exitOK, `"ttl": "2592000s"`, "")
	w.run(t, "token", "create", "--service-account", "ci", "--admin-api").want(t, exitOK, "pst_u_new", "token made-up for the admin API")
	rotated := w.run(t, "token", "rotate", "laptop", "--expires", "30d")
	rotated.want(t, exitOK, "", "new secret of token laptop, expires 2026-05-31 12:00Z; it is shown this once; the old secret is good until 2026-05-02 12:00Z")
	if rotated.out != "pst_u_rotated\n" {
		t.Errorf("standard output is %q, want the token alone", rotated.out)
	}
	w.run(t, "describe", "token", "laptop").want(t, exitOK, "2026-05-02 12:00:00Z", "")
	w.run(t, "token", "rotate", "laptop", "--overlap", "0s").want(t, exitOK, "pst_u_rotated", "the old secret is refused from now on")
	w.run(t, "token", "rotate", "nothing").want(t, exitNotFound, "", "nothing")
	w.run(t, "token", "revoke", "laptop").want(t, exitOK, "token laptop revoked (revision 3)", "")
	w.run(t, "token", "revoke", "laptop").want(t, exitNotFound, "", "laptop")
}

const configuration = `
kind: Server
name: everything
streamable_http: {url: "http://127.0.0.1:3001/mcp"}
---
kind: Gateway
name: eng
visibility: {organization: {}}
tools:
- {tool: everything/echo, pinned: {connection: c}}
`

func TestApply(t *testing.T) {
	w := newWorld(t)
	w.api.Discovers["everything"] = []string{"echo", "add"}
	path := w.file(t, "conf/all.yaml", configuration)

	w.run(t, "apply", "-f", path).want(t, exitFailure, "", "with --discover, apply discovers such servers first\npenstock: Tool everything/echo is not known; discover it: penstock server discover everything")
	w.run(t, "apply", "-f", path, "--discover", "--dry-run").want(t, exitOK, "Server everything created\n1 created (dry run, nothing stored)", "everything would be discovered first")
	w.run(t, "get", "servers").want(t, exitOK, "", "there are no servers")
	w.run(t, "apply", "-f", filepath.Dir(path), "--discover").want(t, exitOK, "Server everything created\nGateway eng created\n2 created; revision 4", "server everything: 2 tools")
	w.run(t, "apply", "-f", path, "--discover").want(t, exitOK, "2 unchanged; revision 4", "")

	w.in = strings.Replace(configuration, "organization: {}", "team: {teams: [eng]}", 1)
	w.run(t, "apply", "-f", "-", "--dry-run").want(t, exitOK, "Gateway eng updated\n1 updated, 1 unchanged (dry run, nothing stored)", "")
	w.run(t, "apply", "-f", "-", "-o", "json").want(t, exitOK, `"action": "updated"`, "")

	team := w.file(t, "team.json", `{"kind": "Team", "name": "eng"}`)
	w.run(t, "apply", "-f", path, "-f", team).want(t, exitOK, "Team eng created", "")
	w.run(t, "apply", "-f", path, "--prune").want(t, exitOK, "Team eng deleted\n1 deleted, 2 unchanged", "")
	w.run(t, "apply", "-f", w.file(t, "empty.yaml", "")).want(t, exitOK, "nothing to do", "")
}

func TestApplyShowsPlaces(t *testing.T) {
	w := newWorld(t)
	path := w.file(t, "all.yaml", configuration)
	w.api.FailNext(adminfake.Failure(connect.CodeInvalidArgument, "REQUEST_INVALID", "Not valid.",
		&errdetails.BadRequest_FieldViolation{Field: "resources[1].gateway.tools[0].pinned.connection", Description: "there is no connection c"}))
	w.run(t, "apply", "-f", path).want(t, exitFailure, "", "all.yaml:10:36: there is no connection c\n")

	broken := w.file(t, "broken.yaml", "kind: Gatway\n---\nkind: Team\nname: a\nmembrs: []\n")
	got := w.run(t, "apply", "-f", broken)
	got.want(t, exitFailure, "", "broken.yaml:1:1: unknown kind")
	got.want(t, exitFailure, "", "penstock: "+broken+":5:1: unknown field")
	w.run(t, "apply", "-f", w.dir+"/nope.yaml").want(t, exitFailure, "", "nope.yaml")
}

// TestExportApplies: what is exported applies without a change.
func TestExportApplies(t *testing.T) {
	w := newWorld(t)
	w.api.Discovers["everything"] = []string{"echo"}
	w.run(t, "apply", "-f", w.file(t, "all.yaml", configuration), "--discover").want(t, exitOK, "", "")
	for _, form := range []string{"yaml", "json"} {
		exported := w.run(t, "export", "-o", form)
		exported.want(t, exitOK, "everything/echo", "")
		w.in = exported.out
		w.run(t, "apply", "-f", "-").want(t, exitOK, "2 unchanged; revision 3", "")
	}
}

func TestGetAndDescribe(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Gateway{
		Name: "eng", Etag: "e1", DisplayName: "Tools\x1b[31m", Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: []string{"eng", "ops"}}}},
		Tools: []*resourcev1.ToolAssignment{{Tool: "everything/echo", ResolvedName: "everything__echo", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "shared"}}}},
		Status: &resourcev1.GatewayStatus{Url: "http://127.0.0.1:8080/v1/mcp/eng", Conditions: []*resourcev1.Condition{
			{Type: "HasTools", Status: true, Reason: "ToolsAssigned"},
			{Type: "HasClientAuth", Reason: "NoMethod", Message: "Set authentication: {bearer_token: {}}."},
			{Type: "Ready", Reason: "NoMethod"},
		}},
	})
	w.run(t, "get", "gw").want(t, exitOK, "eng   team eng, ops  1      no: NoMethod  http://127.0.0.1:8080/v1/mcp/eng", "")
	got := w.run(t, "describe", "gateway", "eng")
	for _, want := range []string{
		"Name:            eng\n", "Display name:    Tools\uFFFD[31m\n", "CONDITION      HOLDS  REASON         MESSAGE\n",
		"HasClientAuth  no     NoMethod       Set authentication: {bearer_token: {}}.\n", "everything__echo  everything/echo  shared\n",
	} {
		got.want(t, exitOK, want, "")
	}
	w.run(t, "get", "gateway", "eng", "-o", "yaml").want(t, exitOK, "name: eng\netag: e1\n", "")
	var all []map[string]any
	if err := json.Unmarshal([]byte(w.run(t, "get", "gateways", "-o", "json").out), &all); err != nil || len(all) != 1 {
		t.Errorf("got %v, %v", all, err)
	}
	w.run(t, "get", "teams", "-o", "json").want(t, exitOK, "[]\n", "")
	w.run(t, "delete", "gateway", "eng", "--etag", "old").want(t, exitConflict, "", "get it again")
	w.run(t, "delete", "gateway", "eng", "--etag", "e1").want(t, exitOK, "gateway eng deleted (revision 1)", "")
	w.api.Put(&resourcev1.Gateway{Name: "passing", PassthroughHeaders: []string{"x-tenant", "x-trace"}})
	w.run(t, "describe", "gateway", "passing").want(t, exitOK, "Pass-through headers:  x-tenant, x-trace\n", "")
	fixed, err := structpb.NewStruct(map[string]any{"repo": "a<b", "n": 1})
	if err != nil {
		t.Fatal(err)
	}
	w.api.Put(&resourcev1.Gateway{Name: "fixed", Tools: []*resourcev1.ToolAssignment{{Tool: "s/one", FixedArguments: fixed}, {Tool: "s/two"}}})
	w.run(t, "describe", "gateway", "fixed").want(t, exitOK, "NAME  TOOL   CONNECTION  FIXED ARGUMENTS\n-     s/one  -           {\"n\":1,\"repo\":\"a<b\"}\n-     s/two  -           -\n", "")
	w.run(t, "get", "gateway", "passing", "-o", "yaml").want(t, exitOK, "passthrough_headers:", "")
}

func TestServerCommands(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Server{Name: "s"})
	w.run(t, "server", "discover", "s").want(t, exitFailure, "", "Server s did not answer.")
	w.api.Discovers["s"] = []string{"echo", "add"}
	w.run(t, "server", "discover", "s").want(t, exitOK, "s/echo  ACTIVE  new", "")
	w.run(t, "server", "diff", "s").want(t, exitOK, "", "no definition of server s waits")
	w.run(t, "describe", "server", "s").want(t, exitOK, "s/echo  ACTIVE", "")
	w.run(t, "server", "diff", "nope").want(t, exitNotFound, "", "nope")
	for _, name := range []string{"echo", "add"} {
		w.api.Put(&resourcev1.Tool{
			Name: "s/" + name, Server: "s", State: resourcev1.ToolState_TOOL_STATE_CHANGED, PendingBodyHash: strings.Repeat("b", 64),
			Definition: []byte(`{"name":"x","description":"old"}`), PendingDefinition: []byte(`{"name":"x","description":"new"}`),
		})
	}
	w.run(t, "server", "diff", "s").want(t, exitOK, `-  "description": "old"`+"\n"+`+  "description": "new"`, "")
	w.run(t, "server", "accept", "s", "--tool", "sum").want(t, exitFailure, "", "s/sum")
	w.run(t, "server", "accept", "s", "--hash", "x").want(t, exitUsage, "", "--hash")
	w.run(t, "server", "accept", "s", "--tool", "echo", "--hash", strings.Repeat("c", 64)).want(t, exitFailure, "", "Another definition waits now.")
	w.run(t, "server", "accept", "s", "--tool", "s/echo", "--dry-run").want(t, exitOK, "s/echo could be accepted (dry run)", "")
	w.run(t, "server", "accept", "s", "--tool", "echo").want(t, exitOK, "s/echo accepted", "")
	w.run(t, "server", "accept", "s").want(t, exitOK, "s/add accepted", "")
	w.run(t, "server", "accept", "s").want(t, exitOK, "", "no definition of server s waits")
}

// The link stands alone on standard output, so that a program can open it; what to do with it is said beside.
func TestServerConnect(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Server{Name: "s"})
	got := w.run(t, "server", "connect", "s")
	got.want(t, exitOK, "", "open the link in a browser; it is yours alone, good once and until 2026-05-01 12:10Z; then: penstock server discover s\n")
	if got.out != "https://auth.example.com/connect/of-s\n" {
		t.Errorf("standard output is %q, want the link alone", got.out)
	}
	var link struct {
		URL        string `json:"url"`
		ExpireTime string `json:"expire_time"`
	}
	if err := json.Unmarshal([]byte(w.run(t, "server", "connect", "s", "-o", "json").out), &link); err != nil || link.URL != "https://auth.example.com/connect/of-s" || link.ExpireTime != "2026-05-01T12:10:00Z" {
		t.Errorf("got %+v, %v", link, err)
	}
	w.run(t, "server", "connect").want(t, exitUsage, "", "name")
	w.run(t, "server", "connect", "none").want(t, exitNotFound, "", "none")
	w.api.FailNext(adminfake.Failure(connect.CodeFailedPrecondition, "SERVER_NOT_CONNECTABLE", "People give no credential for the server \"s\": it needs none."))
	w.run(t, "server", "connect", "s").want(t, exitFailure, "", "it needs none.")
	w.api.FailNext(adminfake.Failure(connect.CodePermissionDenied, "CONNECT_NOT_ALLOWED", "You may not connect \"s\"."))
	w.run(t, "server", "connect", "s").want(t, exitDenied, "", "You may not connect")
	for _, call := range w.api.Calls() {
		if call != "CreateConnectLink" {
			t.Errorf("it called %s", call)
		}
	}
}

// Instructions wait and are accepted as definitions of tools are, alone or with them.
func TestServerInstructions(t *testing.T) {
	w := newWorld(t)
	waiting := strings.Repeat("d", 64)
	w.api.Put(&resourcev1.Server{Name: "s", Status: &resourcev1.ServerStatus{
		Capabilities: []byte(`{"tools":{},"prompts":{"listChanged":true}}`), ResourceAuthorities: []string{"file://"},
		Instructions: "be\nbrief", PendingInstructions: "be\nkind\x1b[31m", PendingInstructionsHash: waiting,
		Prompts:   []*resourcev1.ListedPrompt{{Name: "greet", Definition: []byte(`{"name":"greet","title":"Say hello"}`)}},
		Templates: []*resourcev1.ListedTemplate{{UriTemplate: "file:///{path}", Definition: []byte(`{"description":"A file\nof ours"}`)}},
	}})
	w.api.Discovers["s"] = []string{"echo"}
	w.run(t, "server", "discover", "s").want(t, exitOK, "s/echo  ACTIVE  new", "prompts: 1, resource templates: 1; see: penstock describe server s")
	w.run(t, "server", "discover", "s").want(t, exitOK, "", "its instructions changed: penstock server diff s")
	for _, want := range []string{
		"Capabilities:          prompts (listChanged), tools\n", "Resources at:          file://\n", "Prompts:\nNAME   TITLE\ngreet  Say hello\n",
		"file:///{path}  A file\n", "Instructions:\nbe\nbrief\n", "Changed instructions:  wait to be accepted; see: penstock server diff s\n",
	} {
		w.run(t, "describe", "server", "s").want(t, exitOK, want, "")
	}
	w.run(t, "server", "diff", "s").want(t, exitOK, " be\n-brief\n+kind\uFFFD[31m\n", "")
	w.run(t, "server", "accept", "s", "--instructions", "--tool", "echo").want(t, exitUsage, "", "exclude each other")
	w.run(t, "server", "accept", "s", "--tool", "echo").want(t, exitFailure, "", "no changed definition of tool s/echo")
	w.run(t, "server", "accept", "s", "--instructions", "--hash", strings.Repeat("c", 64)).want(t, exitConflict, "", "Other instructions wait now.")
	w.run(t, "server", "accept", "s", "--dry-run").want(t, exitOK, "instructions could be accepted (dry run)", "")
	w.run(t, "server", "accept", "s", "--instructions", "--hash", waiting).want(t, exitOK, "instructions accepted (revision", "")
	w.run(t, "server", "accept", "s").want(t, exitOK, "", "no definition of server s waits")
}

// What a gateway shows of servers besides tools.
func TestDescribeFeatures(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Gateway{
		Name: "eng", ResourceUris: resourcev1.ResourceUris_RESOURCE_URIS_ALWAYS, Extensions: &resourcev1.Extensions{Allowed: []string{"a/b", "c/d"}},
		ServerFeatures: []*resourcev1.ServerFeature{
			{Server: "files", Prompts: true, Mode: &resourcev1.ServerFeature_Pinned{Pinned: &resourcev1.Pinned{Connection: "shared"}}},
			{Server: "notes", Instructions: true},
		},
	})
	for _, want := range []string{
		"Resource URIs:   ALWAYS\n", "Extensions:      a/b, c/d\n", "SERVER  PROMPTS  RESOURCES  INSTRUCTIONS  CONNECTION\n",
		"files   yes      no         no            shared\n", "notes   no       no         yes           -\n",
	} {
		w.run(t, "describe", "gateway", "eng").want(t, exitOK, want, "")
	}
}

func TestNodesAndWait(t *testing.T) {
	w := newWorld(t)
	w.run(t, "wait").want(t, exitOK, "", "no node is connected")
	w.api.Nodes = []*adminv1.Node{
		{Name: "a", Connected: true, EnforcedRevision: 5}, {Name: "b", Connected: true, EnforcedRevision: 3}, {Name: "c", EnforcedRevision: 1},
	}
	w.run(t, "nodes").want(t, exitOK, "b     -       yes        -              3", "")
	w.run(t, "wait", "--revision", "3").want(t, exitOK, "revision 3 is enforced by a, b; not connected: c", "")
	w.run(t, "wait", "--revision", "4", "--timeout", "50ms").want(t, exitFailure, "", "revision 4 is not enforced everywhere after 50ms; lagging: b; not connected: c")
	w.run(t, "wait", "--revision", "3", "-o", "json").want(t, exitOK, `"enforced": true`, "")
	w.run(t, "apply", "-f", w.file(t, "t.yaml", "kind: Team\nname: t\n"), "--wait").want(t, exitOK, "revision 1 is enforced by a, b", "")
}

func TestConnect(t *testing.T) {
	w := newWorld(t)
	w.api.Put(&resourcev1.Gateway{Name: "eng", Status: &resourcev1.GatewayStatus{Url: "http://x/v1/mcp/eng"}})
	config := base64.StdEncoding.EncodeToString([]byte(`{"t":"${PENSTOCK_TOKEN}"}`))
	w.api.Connect = []*adminv1.ConnectInstruction{
		{Client: "claude-code", Title: "Claude Code", Steps: "Run this.", Format: "shell", Content: `claude mcp add "Bearer ${PENSTOCK_TOKEN}"`},
		{Client: "cursor", Title: "Cursor", Steps: "Open this.", Format: "url", File: "~/f", Content: "cursor://x/install?" + url.Values{"name": {"eng"}, "config": {config}}.Encode()},
	}
	all := w.run(t, "connect", "eng")
	all.want(t, exitOK, "Gateway eng: http://x/v1/mcp/eng\nA bearer token is needed: penstock token create --user EMAIL --gateway eng\n\n## Claude Code\nRun this.\n\nclaude mcp add \"Bearer ${PENSTOCK_TOKEN}\"\n\n## Cursor (~/f)\n", "")
	file := w.file(t, "demo.token", "pst_u_demo\n")
	w.run(t, "connect", "eng", "--client", "claude-code", "--token-file", file).want(t, exitOK, `claude mcp add "Bearer pst_u_demo"`, "")
	var res struct{ Instructions []struct{ Content string } }
	if err := json.Unmarshal([]byte(w.run(t, "connect", "eng", "--client", "cursor", "--token-file", file, "-o", "json").out), &res); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(res.Instructions[0].Content)
	if err != nil {
		t.Fatal(err)
	}
	inside, err := base64.StdEncoding.DecodeString(u.Query().Get("config"))
	if diff := cmp.Diff(`{"t":"pst_u_demo"}`, string(inside)); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
	w.run(t, "connect", "eng", "--token-file", w.dir+"/nope").want(t, exitFailure, "", "nope")
	w.run(t, "connect", "nope").want(t, exitNotFound, "", "nope")
}

func TestConfigSet(t *testing.T) {
	w := newWorld(t)
	delete(w.env, settings.AddrVariable)
	w.run(t, "config", "set", "addr", "https://x.example").want(t, exitOK, "", "config.yaml")
	w.run(t, "config").want(t, exitOK, "https://x.example", "")
	w.run(t, "config", "set", "colour", "red").want(t, exitUsage, "", "addr")
	w.run(t, "config", "view", "--config", w.dir+"/nope.yaml").want(t, exitFailure, "", "nope.yaml")
}

// TestCompletion runs the bash script in bash; the others are checked for what they must hold.
func TestCompletion(t *testing.T) {
	w := newWorld(t)
	script := w.file(t, "penstock.bash", w.run(t, "completion", "bash").out)
	for words, want := range map[string]string{
		"penstock ap":                      "apply",
		"penstock user ":                   "set-password",
		"penstock oauth-client ":           "create-secret",
		"penstock get identity-p":          "identity-provider identity-providers",
		"penstock delete oauth":            "oauth-client oauth-clients",
		"penstock token ":                  "create rotate revoke --help --addr --config --output",
		"penstock --addr x token cr":       "create",
		"penstock token create --serv":     "--service-account",
		"penstock get gateway":             "gateway gateways",
		"penstock -o json server discover": "discover",
		"penstock completion ":             "bash zsh fish",
	} {
		list := strings.Split(words, " ")
		program := `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _penstock; echo "${COMPREPLY[@]}"`
		out, err := exec.CommandContext(t.Context(), "bash", append([]string{"-c", program, script}, list...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: got %s, %v; want %q", words, out, err, want)
		}
	}
	w.run(t, "completion", "zsh").want(t, exitOK, "bashcompinit", "")
	w.run(t, "completion", "fish").want(t, exitOK, "complete -c penstock -n '__fish_seen_subcommand_from token; and not __fish_seen_subcommand_from create rotate revoke' -a 'create'", "")
	w.run(t, "completion", "tcsh").want(t, exitUsage, "", "fish")
}
