// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"crypto/sha256"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/node"
)

const origin = "https://gw.example.com"

// state is a node.State that a test writes to.
type state struct {
	epoch     string
	revision  uint64
	resources map[node.Key]*distributionv1.Resource
}

func (s *state) Get(kind, name string) *distributionv1.Resource {
	return s.resources[node.Key{Kind: kind, Name: name}]
}

func (s *state) Range(kind string, fn func(*distributionv1.Resource) bool) {
	for k, r := range s.resources {
		if k.Kind == kind && !fn(r) {
			return
		}
	}
}

func (s *state) Names(kind string, fn func(string) bool) {
	s.Range(kind, func(r *distributionv1.Resource) bool { return fn(r.GetName()) })
}

func (s *state) Blob([sha256.Size]byte) *node.Body { return nil }
func (s *state) Epoch() string                     { return s.epoch }
func (s *state) Revision() uint64                  { return s.revision }

// put stores resources at the next revision and returns their keys.
func (s *state) put(list ...*distributionv1.Resource) []node.Key {
	s.revision++
	var keys []node.Key
	for _, r := range list {
		k := node.Key{Kind: r.GetKind(), Name: r.GetName()}
		s.resources[k] = r
		keys = append(keys, k)
	}
	return keys
}

func user(name string, identities ...*resourcev1.Identity) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "user", Name: name, Body: &distributionv1.Resource_User{
		User: &resourcev1.User{Name: name, Uid: "uid-" + name, Identities: identities},
	}}
}

func team(name string, members ...string) *distributionv1.Resource {
	t := &resourcev1.Team{Name: name, Uid: "uid-" + name}
	for _, m := range members {
		t.Members = append(t.Members, &resourcev1.TeamMember{User: m})
	}
	return &distributionv1.Resource{Kind: "team", Name: name, Body: &distributionv1.Resource_Team{Team: t}}
}

func gateway(name string, v *resourcev1.Visibility) *distributionv1.Resource {
	return &distributionv1.Resource{Kind: "gateway", Name: name, Body: &distributionv1.Resource_Gateway{Gateway: &resourcev1.Gateway{
		Name: name, Uid: "uid-" + name, Visibility: v, ScopesSupported: []string{"mcp:write"},
		Authentication: &resourcev1.Authentication{Oauth: &resourcev1.OAuthAuthentication{}},
	}}}
}

func forTeams(names ...string) *resourcev1.Visibility {
	return &resourcev1.Visibility{Kind: &resourcev1.Visibility_Team{Team: &resourcev1.TeamVisibility{Teams: names}}}
}

func forAll() *resourcev1.Visibility {
	return &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}
}

func organization(t *testing.T) (*directory.Follower, *state) {
	t.Helper()
	s := &state{epoch: "one", resources: make(map[node.Key]*distributionv1.Resource)}
	s.put(
		user("ada@example.com", &resourcev1.Identity{Issuer: "https://idp.example", Subject: "a"}), user("bob@example.com"),
		team("eng", "ada@example.com"), gateway("eng", forTeams("eng")), gateway("all", forAll()),
		&distributionv1.Resource{Kind: "oauth_client", Name: "ci", Body: &distributionv1.Resource_OauthClient{OauthClient: &resourcev1.OAuthClient{
			Name: "ci", Uid: "uid-ci", Authentication: resourcev1.OAuthClientAuthentication_O_AUTH_CLIENT_AUTHENTICATION_CLIENT_SECRET,
			SecretSha256: [][]byte{make([]byte, 32)}, ClientCredentials: &resourcev1.ClientCredentials{Gateways: []string{"eng"}},
		}}},
		&distributionv1.Resource{Kind: "identity_provider", Name: "okta", Body: &distributionv1.Resource_IdentityProvider{
			IdentityProvider: &resourcev1.IdentityProvider{
				Name: "okta", Issuer: "https://idp.example", GroupMappings: []*resourcev1.GroupMapping{{Group: "g", Team: "eng"}},
				ScimTokenSha256: [][]byte{make([]byte, 32), {1}},
			},
		}},
	)
	f := directory.NewFollower(origin + "/")
	if f.View() != nil {
		t.Fatal("there is a view before the first state")
	}
	if rejects := f.Apply(t.Context(), s, nil, false); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	return f, s
}

func names(v *directory.View, user string) []string {
	var list []string
	for _, g := range v.GatewaysOf(v.UserByName(user)) {
		list = append(list, g.Name)
	}
	return list
}

func TestFollow(t *testing.T) {
	f, s := organization(t)
	v := f.View()
	if got := v.UserByIdentity("https://idp.example", "a"); got == nil || got.Name != "ada@example.com" || v.User(got.UID) != got {
		t.Errorf("the account is of %+v", got)
	}
	if v.UserByIdentity("https://other.example", "a") != nil {
		t.Error("a subject of another issuer is the same user (AZ-24)")
	}
	if v.UserByName("ADA@example.com") == nil {
		t.Error("letter case of an e-mail address counts")
	}
	if diff := cmp.Diff([]string{"all", "eng"}, names(v, "ada@example.com")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"all"}, names(v, "bob@example.com")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"mcp", "mcp:write"}, v.GatewayByName("eng").Scopes); diff != "" {
		t.Error(diff)
	}
	c := v.Client("ci")
	if c == nil || c.Method != directory.MethodClientSecret || len(c.SecretSHA256) != 1 || !cmp.Equal(c.Credentials.Scopes, []string{"mcp"}) {
		t.Errorf("client %+v", c)
	}
	if p := v.Provider("okta"); p == nil || p.GroupsClaim != "groups" || !cmp.Equal(p.Scopes, []string{"email", "profile"}) || !p.MapsGroups {
		t.Errorf("provider %+v", p)
	}

	// A change: the view before stays as it was.
	keys := s.put(team("eng", "bob@example.com"))
	delete(s.resources, node.Key{Kind: "user", Name: "ada@example.com"})
	f.Apply(t.Context(), s, append(keys, node.Key{Kind: "user", Name: "ada@example.com"}), false)
	if f.View().UserByName("ada@example.com") != nil || f.View().UserByIdentity("https://idp.example", "a") != nil {
		t.Error("a deleted user is still there")
	}
	if diff := cmp.Diff([]string{"all", "eng"}, names(f.View(), "bob@example.com")); diff != "" {
		t.Error(diff)
	}
	if v.UserByName("ada@example.com") == nil {
		t.Error("a view changed after it was published")
	}
}

// A gateway that cannot be read keeps its previous form: what is unknown could be a restriction.
func TestFollowKeepsTheFormBefore(t *testing.T) {
	f, s := organization(t)
	keys := s.put(gateway("eng", &resourcev1.Visibility{}), gateway("new", &resourcev1.Visibility{}))
	rejects := f.Apply(t.Context(), s, keys, false)
	if len(rejects) != 2 || rejects[0].Reason == "" {
		t.Errorf("rejects %+v", rejects)
	}
	if g := f.View().GatewayByName("eng"); g == nil || !cmp.Equal(g.Visibility.Teams, []string{"eng"}) {
		t.Errorf("the gateway is %+v", g)
	}
	if f.View().GatewayByName("new") != nil {
		t.Error("a gateway without a form before it is there")
	}
}

// TestDeny is D-30: a denial takes away at once, until a state says how it is.
func TestDeny(t *testing.T) {
	for _, tt := range []struct {
		name string
		key  node.Key
		want []string // gateways of Ada
	}{
		{"user", node.Key{Kind: "user", Name: "ada@example.com"}, nil},
		{"team", node.Key{Kind: "team", Name: "eng"}, []string{"all"}},
		{"membership", node.Key{Kind: "team_member", Name: "eng/ada@example.com"}, []string{"all"}},
		{"gateway", node.Key{Kind: "gateway", Name: "all"}, []string{"eng"}},
		{"something else", node.Key{Kind: "tool", Name: "a/b"}, []string{"all", "eng"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, s := organization(t)
			f.Deny(t.Context(), s.revision+2, []node.Key{tt.key})
			if diff := cmp.Diff(tt.want, names(f.View(), "ada@example.com")); diff != "" {
				t.Error(diff)
			}
			s.revision++
			f.Apply(t.Context(), s, []node.Key{}, false)
			if diff := cmp.Diff(tt.want, names(f.View(), "ada@example.com")); diff != "" {
				t.Error("an older state ended the denial:", diff)
			}
			s.revision++
			f.Apply(t.Context(), s, []node.Key{}, false)
			if diff := cmp.Diff([]string{"all", "eng"}, names(f.View(), "ada@example.com")); diff != "" {
				t.Error("the state that decides it did not end the denial:", diff)
			}
		})
	}
}

// TestParseResource is AZ-6.
func TestParseResource(t *testing.T) {
	f, _ := organization(t)
	for _, tt := range []struct {
		text string
		want string // name of the gateway
	}{
		{origin + "/v1/mcp/eng", "eng"},
		{origin + "/v1/mcp/eng/", "eng"},
		{origin + "/v1/mcp/uid-eng", "eng"},
		{origin + "/v1/mcp/uid-eng/", "eng"},
		{"HTTPS://GW.example.COM/v1/mcp/eng", "eng"},
		{"https://gw.example.com:443/v1/mcp/eng", "eng"},
		{origin + "/v1/mcp/eng//", ""},
		{origin + "/v1/mcp/eng/extra", ""},
		{origin + "/v1/mcp/Eng", ""},
		{origin + "/v1/mcp/e%6eg", ""},
		{origin + "/v1/mcp/", ""},
		{origin + "/v1/mcp/gone", ""},
		{origin + "/v1/./mcp/eng", ""},
		{origin, ""},
		{origin + "/v1/mcp/eng?x=1", ""},
		{origin + "/v1/mcp/eng?", ""},
		{origin + "/v1/mcp/eng#f", ""},
		{origin + "#f", ""},
		{"http://gw.example.com/v1/mcp/eng", ""},
		{"https://gw.example.com:8443/v1/mcp/eng", ""},
		{"https://u@gw.example.com/v1/mcp/eng", ""},
		{"https://evil.example/v1/mcp/eng", ""},
		{"relative", ""},
		{"", ""},
		{"https:gw.example.com/v1/mcp/eng", ""},
	} {
		got := ""
		if g, ok := f.View().ParseResource(tt.text); ok {
			got = g.Name
		}
		if got != tt.want {
			t.Errorf("ParseResource(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
	if got := f.View().Resource(f.View().GatewayByName("eng")); got != origin+"/v1/mcp/eng" {
		t.Errorf("Resource = %s", got)
	}
}
