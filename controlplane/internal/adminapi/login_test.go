// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// provider is an identity provider with a secret.
func provider(name string) *resourcev1.IdentityProvider {
	return &resourcev1.IdentityProvider{
		Name: name, Issuer: "https://" + name + ".example", ClientId: "penstock", ClientSecret: "s3cret",
	}
}

// machine is an OAuth client that acts as itself.
func machine(name string) *resourcev1.OAuthClient {
	return &resourcev1.OAuthClient{
		Name: name, Authentication: resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET,
		ClientCredentials: &resourcev1.ClientCredentials{Gateways: []string{"robots"}},
	}
}

func loginRows() []row {
	name := &fieldmaskpb.FieldMask{Paths: []string{"display_name"}}
	return []row{
		{"GetIdentityProvider", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.IdentityProviders.GetIdentityProvider(ctx, &adminv1.GetIdentityProviderRequest{Name: "okta"})
			return err
		}},
		{"ListIdentityProviders", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.IdentityProviders.ListIdentityProviders(ctx, &adminv1.ListIdentityProvidersRequest{})
			return err
		}},
		{"CreateIdentityProvider", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.IdentityProviders.CreateIdentityProvider(ctx, &adminv1.CreateIdentityProviderRequest{IdentityProvider: provider("entra"), ValidateOnly: true})
			return err
		}},
		{"UpdateIdentityProvider", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.IdentityProviders.UpdateIdentityProvider(ctx, &adminv1.UpdateIdentityProviderRequest{IdentityProvider: &resourcev1.IdentityProvider{Name: "okta", DisplayName: "x"}, UpdateMask: name, ValidateOnly: true})
			return err
		}},
		{"DeleteIdentityProvider", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.IdentityProviders.DeleteIdentityProvider(ctx, &adminv1.DeleteIdentityProviderRequest{Name: "okta", ValidateOnly: true})
			return err
		}},
		{"GetOAuthClient", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.OAuthClients.GetOAuthClient(ctx, &adminv1.GetOAuthClientRequest{Name: "ci"})
			return err
		}},
		{"ListOAuthClients", ok, ok, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.OAuthClients.ListOAuthClients(ctx, &adminv1.ListOAuthClientsRequest{})
			return err
		}},
		{"CreateOAuthClient", denied, denied, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.OAuthClients.CreateOAuthClient(ctx, &adminv1.CreateOAuthClientRequest{OauthClient: machine("new"), ValidateOnly: true})
			return err
		}},
		{"UpdateOAuthClient", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.OAuthClients.UpdateOAuthClient(ctx, &adminv1.UpdateOAuthClientRequest{OauthClient: &resourcev1.OAuthClient{Name: "ci", DisplayName: "x"}, UpdateMask: name, ValidateOnly: true})
			return err
		}},
		{"DeleteOAuthClient", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.OAuthClients.DeleteOAuthClient(ctx, &adminv1.DeleteOAuthClientRequest{Name: "ci", ValidateOnly: true})
			return err
		}},
		{"CreateOAuthClientSecret", notFound, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.OAuthClients.CreateOAuthClientSecret(ctx, &adminv1.CreateOAuthClientSecretRequest{Name: "ci"})
			return err
		}},
		{"SetUserPassword of a member", ok, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.SetUserPassword(ctx, &adminv1.SetUserPasswordRequest{Name: memberUser, Password: "correct horse battery"})
			return err
		}},
		{"UpdateUser, identities", denied, notFound, ok, func(ctx context.Context, c *admin.Client) error {
			_, err := c.Users.UpdateUser(ctx, &adminv1.UpdateUserRequest{User: &resourcev1.User{Name: memberUser, Identities: []*resourcev1.Identity{{Issuer: "https://okta.example", Subject: "1"}}}, ValidateOnly: true})
			return err
		}},
	}
}

// TestOnlyAdminsListLogin: others get empty pages (G-7).
func TestOnlyAdminsListLogin(t *testing.T) {
	w := newWorld(t)
	for user, want := range map[string]int{adminUser: 1, editorUser: 0, memberUser: 0} {
		c := w.client(t, user)
		providers, err := c.IdentityProviders.ListIdentityProviders(t.Context(), &adminv1.ListIdentityProvidersRequest{Filter: `issuer = "https://okta.example"`})
		if err != nil || len(providers.GetIdentityProviders()) != want {
			t.Errorf("%s: got %v, %v; want %d", user, providers, err, want)
		}
		clients, err := c.OAuthClients.ListOAuthClients(t.Context(), &adminv1.ListOAuthClientsRequest{Filter: `name : "c"`})
		if err != nil || len(clients.GetOauthClients()) != want {
			t.Errorf("%s: got %v, %v; want %d", user, clients, err, want)
		}
	}
}

// TestProviderSecret: it goes to the authserver under the provider's uid, and nothing of it comes back.
func TestProviderSecret(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	got, err := c.IdentityProviders.GetIdentityProvider(ctx, &adminv1.GetIdentityProviderRequest{Name: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	p := got.GetIdentityProvider()
	if p.GetSecretVersion() != "v1" || w.secrets.kept[p.GetUid()]["client_secret"] != "s3cret" {
		t.Errorf("got %v; the vault holds %v", p, w.secrets.kept[p.GetUid()])
	}
	listed, err := c.IdentityProviders.ListIdentityProviders(ctx, &adminv1.ListIdentityProvidersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	exported, err := c.Configuration.Export(ctx, &adminv1.ExportRequest{})
	if err != nil {
		t.Fatal(err)
	}
	created, err := c.IdentityProviders.CreateIdentityProvider(ctx, &adminv1.CreateIdentityProviderRequest{IdentityProvider: provider("entra"), ValidateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []proto.Message{got, listed, exported, created} {
		if raw, err := proto.Marshal(m); err != nil || strings.Contains(string(raw), "s3cret") {
			t.Errorf("%T shows the secret (%v)", m, err)
		}
	}
	if _, err := c.IdentityProviders.DeleteIdentityProvider(ctx, &adminv1.DeleteIdentityProviderRequest{Name: "okta"}); err != nil {
		t.Fatal(err)
	}
	if w.secrets.kept[p.GetUid()] != nil {
		t.Error("the secret outlives its identity provider")
	}
}

// TestClientSecret: each is shown once; what is stored is its hash, of two at most, and the hash never comes back.
func TestClientSecret(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	var hashes [][]byte
	for _, drop := range []bool{false, false, false, true} {
		res, err := c.OAuthClients.CreateOAuthClientSecret(ctx, &adminv1.CreateOAuthClientSecretRequest{Name: "ci", DropOthers: drop})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ident.ParseSecret("psc_", res.GetClientSecret()); !ok || res.GetOauthClient().GetSecretTime() == nil {
			t.Errorf("got %v", res)
		}
		sum := sha256.Sum256([]byte(res.GetClientSecret()))
		hashes = append([][]byte{sum[:]}, hashes...)
		if hashes = hashes[:min(len(hashes), 2)]; drop {
			hashes = hashes[:1]
		}
		if diff := cmp.Diff(hashes, w.storedClient(t, "ci").SecretSHA256); diff != "" {
			t.Errorf("stored (-want +got):\n%s", diff)
		}
		got, err := c.OAuthClients.GetOAuthClient(ctx, &adminv1.GetOAuthClientRequest{Name: "ci"})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := c.OAuthClients.ListOAuthClients(ctx, &adminv1.ListOAuthClientsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		updated, err := c.OAuthClients.UpdateOAuthClient(ctx, &adminv1.UpdateOAuthClientRequest{OauthClient: &resourcev1.OAuthClient{Name: "ci", DisplayName: "x"}, ValidateOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(res.GetOauthClient().GetSecretSha256()) + len(got.GetOauthClient().GetSecretSha256()) + len(listed.GetOauthClients()[0].GetSecretSha256()) + len(updated.GetOauthClient().GetSecretSha256()); n != 0 {
			t.Errorf("%d hashes came back", n)
		}
	}
	app := &resourcev1.OAuthClient{Name: "app", RedirectUris: []string{"https://app.example/cb"}}
	if _, err := c.OAuthClients.CreateOAuthClient(ctx, &adminv1.CreateOAuthClientRequest{OauthClient: app}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.OAuthClients.CreateOAuthClientSecret(ctx, &adminv1.CreateOAuthClientSecretRequest{Name: "app"}); !admin.IsPrecondition(err) {
		t.Errorf("a public client: got %v", err)
	}
}

// storedClient reads what the store has, as nobody else can.
func (w *world) storedClient(t *testing.T, name string) *catalog.OAuthClient {
	t.Helper()
	var c *catalog.OAuthClient
	if err := w.store.Read(t.Context(), func(_ catalog.Head, r catalog.Reader) error {
		rec, err := r.Get(t.Context(), catalog.Key{Kind: catalog.KindOAuthClient, Name: name})
		if err != nil {
			return err
		}
		o, err := resource.Decode(catalog.KindOAuthClient, rec.Body)
		c, _ = o.(*catalog.OAuthClient)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPasswords: what is no password is refused before the authserver sees it.
func TestPasswords(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	set := func(password string) error {
		_, err := c.Users.SetUserPassword(ctx, &adminv1.SetUserPasswordRequest{Name: "Leaver@Example.com", Password: password})
		return err
	}
	u, err := c.Users.GetUser(ctx, &adminv1.GetUserRequest{Name: "leaver@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	uid := u.GetUser().GetUid()
	for _, good := range []string{"twelve chars", strings.Repeat("é", 256), ""} {
		if err := set(good); err != nil || w.secrets.kept[uid]["password"] != good {
			t.Errorf("%q: got %v; the vault holds %q", good, err, w.secrets.kept[uid])
		}
	}
	for _, bad := range []string{"eleven char", strings.Repeat("x", 257), strings.Repeat("x", 1025)} {
		err := set(bad)
		if e, ok := admin.AsError(err); !ok || !admin.IsInvalid(err) || len(e.Fields) == 0 || e.Fields[0].Path != "password" || strings.Contains(err.Error(), bad) {
			t.Errorf("%d characters: got %v", len(bad), err)
		}
	}
	if w.secrets.kept[uid]["password"] != "" {
		t.Error("a refused password was set")
	}
}

// TestConnectWithOAuth: the browser comes first, and a token is not required.
func TestConnectWithOAuth(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	g := orgGateway("both")
	g.Authentication.Oauth = &resourcev1.OAuthAuthentication{}
	if _, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: g}); err != nil {
		t.Fatal(err)
	}
	res, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "both", Client: "claude-code"})
	if err != nil {
		t.Fatal(err)
	}
	all := res.GetInstructions()
	if res.GetTokenRequired() || strings.Contains(all[0].GetContent(), "PENSTOCK_TOKEN") || !strings.Contains(all[len(all)-1].GetContent(), "PENSTOCK_TOKEN") {
		t.Errorf("got %v", res)
	}
	if _, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "eng", Client: "chatgpt"}); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("a client that needs OAuth: got %v", err)
	}
}

// TestConnectByAssertion: nothing is to be pasted where the identity provider decides about clients, and the answer says who
// does it.
func TestConnectByAssertion(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client(t, adminUser), t.Context()
	g := orgGateway("managed")
	g.Authentication = &resourcev1.Authentication{IdJag: &resourcev1.IdJagAuthentication{}}
	if _, err := c.Gateways.CreateGateway(ctx, &adminv1.CreateGatewayRequest{Gateway: g}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: "managed"})
	if e, ok := admin.AsError(err); !ok || e.Reason != "GATEWAY_MANAGED_BY_PROVIDER" || !strings.Contains(e.Message, "/v1/mcp/managed") {
		t.Errorf("got %v", err)
	}
}

// TestLoginProblemsHavePlaces: refused fields of the kinds of OAuth lead back to the lines of the manifest.
func TestLoginProblemsHavePlaces(t *testing.T) {
	w := newWorld(t)
	c := w.client(t, adminUser)
	for _, tt := range []struct{ name, text, want string }{
		{"contract", "kind: OAuthClient\nname: a\nclient_credentials: {gateways: []}\n", "m:3:22"},
		{"redirect URI", "kind: OAuthClient\nname: a\nredirect_uris:\n- https://a.example/cb\n- javascript:alert(1)\n", "m:5:3"},
		{"unknown gateway", "kind: OAuthClient\nname: a\nauthentication: CLIENT_SECRET\nclient_credentials:\n  gateways: [nope]\n", "m:5:14"},
		{"unknown team", "kind: IdentityProvider\nname: a\nissuer: https://a.example\nclient_id: x\ngroup_mappings:\n- {group: g, team: nope}\n", "m:6:14"},
		{"issuer", "kind: IdentityProvider\nname: a\nissuer: http://a.example\nclient_id: x\n", "m:3:1"},
		{"scope", "kind: Gateway\nname: a\nvisibility: {organization: {}}\ntools:\n- tool: everything/echo\n  pinned: {connection: shared}\n  required_scopes: [write]\n", "m:7:21"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := manifest.Load([]manifest.Source{{Name: "m", Data: []byte(tt.text)}}, manifest.Secrets{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Configuration.Apply(t.Context(), &adminv1.ApplyRequest{Resources: set.Resources})
			e, isOurs := admin.AsError(err)
			if !isOurs || len(e.Fields) == 0 {
				t.Fatalf("got %v, want refused fields", err)
			}
			if at, found := set.Where(e.Fields[0].Path); !found || at.String() != tt.want {
				t.Errorf("got %s (%s), want %s", at, e.Fields[0].Path, tt.want)
			}
		})
	}
}
