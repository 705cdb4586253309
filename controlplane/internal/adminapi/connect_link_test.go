// SPDX-License-Identifier: Apache-2.0

package adminapi_test

import (
	"strings"
	"testing"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// TestCreateConnectLink: the link is for whoever asks; each refusal says why.
func TestCreateConnectLink(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	plain := httpServer("plain")
	plain.Credential = nil
	theirs := httpServer("theirs")
	theirs.Visibility = &resourcev1.Visibility{Kind: &resourcev1.Visibility_Personal{Personal: &resourcev1.PersonalVisibility{Owner: adminUser}}}
	for _, s := range []*resourcev1.Server{plain, theirs} {
		if _, err := w.client(t, adminUser).Servers.CreateServer(ctx, &adminv1.CreateServerRequest{Server: s}); err != nil {
			t.Fatal(err)
		}
	}
	create := func(user, server string) (*adminv1.CreateConnectLinkResponse, error) {
		return w.client(t, user).Connections.CreateConnectLink(ctx, &adminv1.CreateConnectLinkRequest{Server: server})
	}
	seen := make(map[string]bool)
	for _, user := range []string{adminUser, memberUser} {
		res, err := create(user, "everything")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(res.GetUrl(), "-everything") || seen[res.GetUrl()] || !res.GetExpireTime().AsTime().Equal(linkEnd()) {
			t.Errorf("%s got %s until %v", user, res.GetUrl(), res.GetExpireTime().AsTime())
		}
		seen[res.GetUrl()] = true
	}
	for _, tt := range []struct {
		name, user, server, reason string
		is                         func(error) bool
	}{
		{"no server", adminUser, "", "", admin.IsInvalid},
		{"a long name", adminUser, strings.Repeat("x", 64), "", admin.IsInvalid},
		{"no such server", adminUser, "nothing", "RESOURCE_NOT_FOUND", admin.IsNotFound},
		{"another's server", memberUser, "theirs", "RESOURCE_NOT_FOUND", admin.IsNotFound},
		{"another's server, seen", editorUser, "theirs", "CONNECT_NOT_ALLOWED", admin.IsDenied},
		{"nothing to give", memberUser, "plain", "SERVER_NOT_CONNECTABLE", admin.IsPrecondition},
	} {
		_, err := create(tt.user, tt.server)
		if e, ok := admin.AsError(err); !ok || !tt.is(err) || tt.reason != "" && e.Reason != tt.reason {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}
