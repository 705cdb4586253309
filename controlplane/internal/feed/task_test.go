// SPDX-License-Identifier: Apache-2.0

package feed_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/feed"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// What was found last time does not travel with the task to find it anew.
func TestDiscoverTask(t *testing.T) {
	s := &catalog.Server{
		Meta: catalog.Meta{Name: "s"}, SSE: &resource.SSE{URL: "https://x"},
		Status: &resource.ServerStatus{ProtocolVersion: "2025-11-25", Prompts: []resource.ListedPrompt{{Name: "p", Definition: []byte(`{}`)}}},
	}
	got, err := feed.DiscoverTask(s, &catalog.Connection{Meta: catalog.Meta{Name: "c"}, Server: "s", CredentialVersion: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	want := &distributionv1.DiscoverTask{
		Server: &resourcev1.Server{
			Name: "s", Transport: &resourcev1.Server_Sse{Sse: &resourcev1.Sse{Url: "https://x"}}, Status: &resourcev1.ServerStatus{ProtocolVersion: "2025-11-25"},
		},
		Connection: &resourcev1.Connection{Name: "c", Server: "s", CredentialVersion: "v1"},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s.Credential = &resource.ServerCredential{OAuthClientCredentials: &resource.OAuthClientCredentials{ClientID: "penstock", SecretVersion: "v_1"}}
	if got, err = feed.DiscoverTask(s, nil); err != nil {
		t.Fatal(err)
	}
	c := got.GetServer().GetCredential() // as on the node stream: the version, and not how it is made
	if c.GetVersion() == "" || c.GetOauthClientCredentials() == nil || c.GetOauthClientCredentials().GetClientId() != "" {
		t.Errorf("the credential is %v", c)
	}
	if got, err = feed.DiscoverTask(&catalog.Server{Meta: catalog.Meta{Name: "s"}}, nil); err != nil || got.GetServer().GetStatus() != nil || got.GetConnection() != nil {
		t.Errorf("got %v, %v", got, err)
	}
}
