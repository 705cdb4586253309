// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// TestValidateOnly: nothing is stored, and what would be is refused all the same.
func TestValidateOnly(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	before, err := c.Configuration.GetHead(ctx, &adminv1.GetHeadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("new"), ValidateOnly: true})
	if err != nil || res.GetGateway().GetName() != "new" {
		t.Errorf("got %v, %v", res, err)
	}
	if _, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: orgGateway("eng"), ValidateOnly: true}); !admin.IsAlreadyExists(err) {
		t.Errorf("got %v, want already_exists", err)
	}
	after, err := c.Configuration.GetHead(ctx, &adminv1.GetHeadRequest{})
	if err != nil || after.GetRevision() != before.GetRevision() || after.GetEpoch() != before.GetEpoch() || after.GetEpoch() == "" {
		t.Errorf("head was %v, is %v, %v", before, after, err)
	}
	if _, err := c.Gateways.GetGateway(ctx, &adminv1.GetGatewayRequest{Name: "new"}); !admin.IsNotFound(err) {
		t.Errorf("got %v, want not_found", err)
	}
}

// TestPaging: all pages together are the list, in name order.
func TestPaging(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	want := []string{"crew"}
	req := &adminv1.ApplyRequest{}
	for i := range 23 {
		name := fmt.Sprintf("team-%02d", i)
		want = append(want, name)
		req.Resources = append(req.Resources, &adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: name}}})
	}
	if _, err := c.Configuration.Apply(ctx, req); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int32{1, 5, 24, 1000} {
		var got []string
		for team, err := range c.Teams.All(ctx, &adminv1.ListTeamsRequest{PageSize: size}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, team.GetName())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("page size %d (-want +got):\n%s", size, diff)
		}
	}
}

// TestSecretsNeverComeBack: not from the write that brought them, not from any read.
func TestSecretsNeverComeBack(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	created, err := c.Connections.CreateConnection(ctx, &adminv1.CreateConnectionRequest{Connection: orgConnection("second", "everything")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Connections.GetConnection(ctx, &adminv1.GetConnectionRequest{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	listed, err := c.Connections.ListConnections(ctx, &adminv1.ListConnectionsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	exported, err := c.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []proto.Message{created, got, listed, exported} {
		raw, err := proto.Marshal(m)
		if err != nil || strings.Contains(string(raw), "s3cret") {
			t.Errorf("%T shows the secret (%v)", m, err)
		}
	}
	if diff := cmp.Diff([]string{"Authorization"}, got.GetConnection().GetSecretNames()); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if kept := w.secrets.kept[got.GetConnection().GetUid()]["Authorization"]; kept != "Bearer s3cret" {
		t.Errorf("the vault holds %q", kept)
	}
}

// TestBearerToken: the token is in the answer to its creation, works, is nowhere else, and is dead once deleted.
func TestBearerToken(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, memberUser), t.Context()
	created, err := c.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: "second", Owner: userOwner(memberUser), AdminApi: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(created.GetToken(), "pst_u_") || len(created.GetBearerToken().GetSha256()) != 0 {
		t.Errorf("got %v", created)
	}
	got, err := c.BearerTokens.GetBearerToken(ctx, &adminv1.GetBearerTokenRequest{Name: "second"})
	if err != nil || strings.Contains(got.String(), created.GetToken()) || len(got.GetBearerToken().GetSha256()) != 0 {
		t.Errorf("got %v, %v", got, err)
	}
	w.tokens["second"] = created.GetToken()
	if _, err := w.client(t, "second").Gateways.ListGateways(ctx, &adminv1.ListGatewaysRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := c.BearerTokens.DeleteBearerToken(ctx, &adminv1.DeleteBearerTokenRequest{Name: "second"}); err != nil {
		t.Error(err)
	}
	if _, err := w.client(t, "second").Gateways.ListGateways(ctx, &adminv1.ListGatewaysRequest{}); !admin.IsUnauthenticated(err) {
		t.Errorf("a deleted token: got %v", err)
	}
}

// TestRotateBearerToken is ST-6 over the wire: both secrets work, and no answer but the one that makes it shows a secret or a
// hash.
func TestRotateBearerToken(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, memberUser), t.Context()
	created, err := c.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: "second", Owner: userOwner(memberUser), AdminApi: true,
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, overlap := range map[string]*durationpb.Duration{"below 0": durationpb.New(-1), "above 24 h": durationpb.New(24*time.Hour + 1)} {
		if _, err := c.BearerTokens.RotateBearerToken(ctx, &adminv1.RotateBearerTokenRequest{Name: "second", Overlap: overlap}); !admin.IsInvalid(err) {
			t.Errorf("an overlap %s: %v", name, err)
		}
	}
	rotated, err := c.BearerTokens.RotateBearerToken(ctx, &adminv1.RotateBearerTokenRequest{Name: "second", Etag: created.GetBearerToken().GetEtag()})
	if err != nil {
		t.Fatal(err)
	}
	if rotated.GetToken() == created.GetToken() || rotated.GetRevision() <= created.GetRevision() || rotated.GetBearerToken().GetUid() != created.GetBearerToken().GetUid() {
		t.Errorf("got %v", rotated.GetBearerToken())
	}
	got, err := c.BearerTokens.GetBearerToken(ctx, &adminv1.GetBearerTokenRequest{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	for what, m := range map[string]*resourcev1.BearerToken{"the answer": rotated.GetBearerToken(), "get": got.GetBearerToken()} {
		if left := time.Until(m.GetPreviousExpireTime().AsTime()); left < 23*time.Hour || left > 24*time.Hour || len(m.GetPreviousSha256())+len(m.GetSha256()) > 0 {
			t.Errorf("%s: %v", what, m)
		}
	}
	works := func(step string, want bool, secrets ...string) {
		t.Helper()
		for i, secret := range secrets {
			w.tokens["second"] = secret
			if _, err := w.client(t, "second").Gateways.ListGateways(ctx, &adminv1.ListGatewaysRequest{}); (err == nil) != want {
				t.Errorf("%s: secret %d: %v", step, i, err)
			}
		}
	}
	works("both", true, created.GetToken(), rotated.GetToken())
	again, err := c.BearerTokens.RotateBearerToken(ctx, &adminv1.RotateBearerTokenRequest{Name: "second", Overlap: durationpb.New(0)})
	if err != nil || again.GetBearerToken().GetPreviousExpireTime() != nil {
		t.Fatalf("got %v, %v", again, err)
	}
	works("at once", false, created.GetToken(), rotated.GetToken())
	works("at once", true, again.GetToken())
}

// TestGatewayTokenAtTheAdminAPI is ST-5: the admin API is an audience of its own.
func TestGatewayTokenAtTheAdminAPI(t *testing.T) {
	w := newWorld(t)
	created, err := w.client(t, adminUser).BearerTokens.CreateBearerToken(t.Context(), &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Owner: userOwner(adminUser), Gateways: []string{"eng"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.tokens["gateway"] = created.GetToken()
	if _, err := w.client(t, "gateway").Gateways.ListGateways(t.Context(), &adminv1.ListGatewaysRequest{}); !admin.IsUnauthenticated(err) {
		t.Errorf("got %v, want unauthenticated", err)
	}
}

func TestDiscover(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	w.upstream.set("everything", nil, echoTool, changedLater, `{"name":"added","inputSchema":{"type":"object"}}`)
	res, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range res.GetTools() {
		names = append(names, tool.GetName())
	}
	if diff := cmp.Diff([]string{"everything/added", "everything/changed", "everything/echo"}, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"everything/added"}, res.GetAdded()); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	if res.GetServer().GetStatus().GetProtocolVersion() != "2025-11-25" {
		t.Errorf("got status %v", res.GetServer().GetStatus())
	}
	tool, err := c.Tools.GetTool(ctx, &adminv1.GetToolRequest{Name: "everything/changed"})
	if err != nil || string(tool.GetTool().GetDefinition()) != changedTool || string(tool.GetTool().GetPendingDefinition()) != changedLater {
		t.Errorf("got %v, %v", tool, err)
	}
	accepted, err := c.Tools.AcceptTool(ctx, &adminv1.AcceptToolRequest{Name: "everything/changed", PendingBodyHash: hashOf(changedLater)})
	if err != nil || accepted.GetTool().GetState() != resourcev1.ToolState_TOOL_STATE_ACTIVE {
		t.Errorf("got %v, %v", accepted, err)
	}
	w.upstream.set("everything", unreachable())
	if _, err := c.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "everything"}); !admin.IsUnavailable(err) {
		t.Errorf("got %v, want unavailable", err)
	}
	server, err := c.Servers.GetServer(ctx, &adminv1.GetServerRequest{Name: "everything"})
	if err != nil || !strings.Contains(server.GetServer().GetStatus().GetLastError(), "connection refused") {
		t.Errorf("the failure is not in the status: %v, %v", server.GetServer().GetStatus(), err)
	}
}

func TestConnectInstructions(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, memberUser), t.Context()
	res, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "eng"})
	if err != nil || res.GetUrl() != "http://127.0.0.1:8080/v1/mcp/eng" || !res.GetTokenRequired() || len(res.GetInstructions()) < 9 {
		t.Errorf("got %v, %v", res, err)
	}
	res, err = c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "eng", Client: "codex"})
	if err != nil || len(res.GetInstructions()) == 0 || res.GetInstructions()[0].GetFormat() != "toml" {
		t.Errorf("got %v, %v", res, err)
	}
	if _, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "eng", Client: "netscape"}); !admin.IsInvalid(err) {
		t.Errorf("unknown client: got %v", err)
	}
	if _, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "nope"}); !admin.IsNotFound(err) {
		t.Errorf("unknown gateway: got %v", err)
	}
	closed := orgGateway("closed")
	closed.Authentication = nil
	if _, err := w.client(t, adminUser).Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: closed}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "closed"}); !admin.IsPrecondition(err) {
		t.Errorf("gateway without authentication: got %v", err)
	}
}

// TestExportApply: the export, written as manifests and read back, applies without a change, and prune has nothing to delete.
func TestExportApply(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	exported, err := c.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for form, write := range map[string]func([]*adminv1.ManifestResource) ([]byte, error){"YAML": manifest.Marshal, "JSON": manifest.MarshalJSON} {
		text, err := write(exported.GetResources())
		if err != nil {
			t.Fatal(err)
		}
		set, err := manifest.Load([]manifest.Source{{Name: "export", Data: text}}, manifest.Secrets{})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(exported.GetResources(), set.Resources, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-exported +read):\n%s", form, diff)
		}
		applied, err := c.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources, Prune: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range applied.GetResources() {
			if r.GetAction() != "unchanged" {
				t.Errorf("%s: %s %s %s %v", form, r.GetKind(), r.GetName(), r.GetAction(), r.GetChangedFields())
			}
		}
		if applied.GetRevision() != exported.GetRevision() || len(applied.GetResources()) != len(exported.GetResources()) {
			t.Errorf("%s: revision %d became %d", form, exported.GetRevision(), applied.GetRevision())
		}
	}
}

// TestApplyProblemsHavePlaces: the paths of refused fields lead back to the lines of the manifest.
func TestApplyProblemsHavePlaces(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, adminUser)
	tests := []struct{ name, text, want string }{
		{"contract", "kind: Team\nname: A!\n", "m:2:1"},
		{"contract, deep", "kind: Gateway\nname: g\nvisibility: {organization: {}}\ntools:\n- {tool: everything/echo}\n", "m:5:3"},
		{"catalog", "kind: Gateway\nname: g\nvisibility: {organization: {}}\ntools:\n- tool: everything/nope\n  pinned: {connection: shared}\n", "m:5:3"},
		{"feature without connection", "kind: Gateway\nname: g\nvisibility: {organization: {}}\nserver_features:\n- {server: everything, prompts: true}\n", "m:5:3"},
		{"feature of an unknown server", "kind: Gateway\nname: g\nvisibility: {organization: {}}\nserver_features:\n- server: everything\n  instructions: true\n- server: nope\n  instructions: true\n", "m:7:3"},
		{"feature with an unknown connection", "kind: Gateway\nname: g\nvisibility: {organization: {}}\nserver_features:\n- server: everything\n  prompts: true\n  pinned: {connection: nope}\n", "m:7:12"},
		{"catalog, reference", "kind: Connection\nname: c\nserver: nope\nowner: {organization: {}}\n", "m:3:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			set, err := manifest.Load([]manifest.Source{{Name: "m", Data: []byte(tt.text)}}, manifest.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Configuration.Apply(t.Context(), &adminv1.ApplyRequest{Resources: set.Resources})
			e, ok := admin.AsError(err)
			if !ok || len(e.Fields) == 0 {
				t.Fatalf("got %v, want refused fields", err)
			}
			var places []string
			for _, f := range e.Fields {
				at, found := set.Where(f.Path)
				places = append(places, fmt.Sprintf("%s (%s, %t): %s", at, f.Path, found, f.Problem))
			}
			if !strings.HasPrefix(strings.Join(places, "\n"), tt.want) {
				t.Errorf("got %s, want %s", places, tt.want)
			}
		})
	}
}

// TestCanceledCall: a caller that hangs up is no failure of the server's.
func TestCanceledCall(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.client(t, adminUser).Configuration.Export(ctx, &adminv1.ExportRequest{}); err == nil {
		t.Error("a canceled call succeeded")
	}
}
