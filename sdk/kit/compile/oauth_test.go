// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// RS-19: mcp:admin stands for every mcp scope, and no other scope for another.
func TestHasScope(t *testing.T) {
	tests := []struct {
		name    string
		granted []string
		wanted  string
		want    bool
	}{
		{"the same", []string{"mcp"}, "mcp", true},
		{"another", []string{"mcp"}, "mcp:write", false},
		{"a longer one", []string{"mcp:write"}, "mcp", false},
		{"admin for mcp", []string{"mcp:admin"}, "mcp", true},
		{"admin for mcp:write", []string{"mcp:admin"}, "mcp:write", true},
		{"admin for a scope of another family", []string{"mcp:admin"}, "mcpx", false},
		{"admin for a foreign scope", []string{"mcp:admin"}, "files:write", false},
		{"a foreign scope", []string{"mcp:admin", "files:write"}, "files:write", true},
		{"other case", []string{"MCP"}, "mcp", false},
		{"none", nil, "mcp", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := compile.HasScope(tt.granted, tt.wanted); got != tt.want {
				t.Errorf("HasScope(%v, %s) is %v", tt.granted, tt.wanted, got)
			}
		})
	}
}

func TestAddScopes(t *testing.T) {
	got := compile.AddScopes([]string{"mcp:write", "mcp"}, []string{"a", "mcp:write"})
	if diff := cmp.Diff([]string{"a", "mcp", "mcp:write"}, got); diff != "" {
		t.Errorf("union (-want +got):\n%s", diff)
	}
}

func TestMakeOAuthClient(t *testing.T) {
	tests := []struct {
		name string
		from *resourcev1.OAuthClient
		want *compile.Client
	}{
		{"for people", &resourcev1.OAuthClient{Name: "ide", Uid: "u", Disabled: true}, &compile.Client{Name: "ide", UID: "u", Disabled: true}},
		{
			"machine", &resourcev1.OAuthClient{Name: "ci", Uid: "u", ClientCredentials: &resourcev1.ClientCredentials{
				Gateways: []string{"eng"}, Scopes: []string{"mcp:write", "mcp"},
			}},
			&compile.Client{Name: "ci", UID: "u", Machine: true, Gateways: map[string]struct{}{"eng": {}}, Scopes: []string{"mcp", "mcp:write"}},
		},
		{
			"machine without scopes", &resourcev1.OAuthClient{Name: "ci", ClientCredentials: &resourcev1.ClientCredentials{Gateways: []string{"eng"}}},
			&compile.Client{Name: "ci", Machine: true, Gateways: map[string]struct{}{"eng": {}}, Scopes: []string{"mcp"}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, compile.MakeOAuthClient(tt.from)); diff != "" {
				t.Errorf("client (-want +got):\n%s", diff)
			}
		})
	}
}

// A token without scopes has "mcp", an assignment's scopes are sorted.
func TestScopesOfTokenAndTool(t *testing.T) {
	_, token, err := compile.MakeToken(&resourcev1.BearerToken{
		Sha256: make([]byte, 32), Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: "ada"}},
	})
	if err != nil || !cmp.Equal(token.Scopes, []string{"mcp"}) {
		t.Errorf("token %+v, %v", token, err)
	}
	tool, err := compile.MakeTool(&resourcev1.ToolAssignment{
		ResolvedName: "t", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "c"}},
		RequiredScopes: []string{"mcp:write", "mcp:files"},
	}, &distributionv1.Resource{}, body{})
	if err != nil || !cmp.Equal(tool.RequiredScopes, []string{"mcp:files", "mcp:write"}) {
		t.Errorf("tool %+v, %v", tool, err)
	}
}

// body is the definition of a tool that nobody reads.
type body struct{}

func (body) Bytes() []byte { return nil }
func (body) Len() int      { return 0 }
