// SPDX-License-Identifier: Apache-2.0

package scope_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
)

func record(kind catalog.Kind, name, body string) *catalog.Record {
	return &catalog.Record{Key: catalog.Key{Kind: kind, Name: name}, UID: "u1", Body: []byte(body), Version: catalog.Hash{7}}
}

// TestEncode: what is stored is what is sent, but for what is not for nodes.
func TestEncode(t *testing.T) {
	token := record(catalog.KindBearerToken, "t", `{"owner":{"user":"ada@example.com"},"gateways":["demo"],"last_use_time":"2026-01-01T00:00:00Z","ttl":"60s"}`)
	token.Lookup = strings.Repeat("ab", 32)
	tests := []struct {
		name string
		rec  *catalog.Record
		want string // JSON of the message; empty: not sent
	}{
		{
			"server keeps the protocol that discovery found, and nothing else of its status",
			record(catalog.KindServer, "s", `{"streamable_http":{"url":"https://x"},"status":{"protocol_version":"2025-11-25","tools":3,"last_error":"x"},"etag":"e"}`),
			`{"server":{"name":"s","uid":"u1","streamable_http":{"url":"https://x"},"status":{"protocol_version":"2025-11-25"}}}`,
		},
		{"server never discovered", record(catalog.KindServer, "s", `{"status":{"last_error":"x"}}`), `{"server":{"name":"s","uid":"u1"}}`},
		{
			"a connection never carries a secret (D-84)",
			record(catalog.KindConnection, "c", `{"server":"s","secret_headers":{"Authorization":"hunter2"},"secret_env":{"K":"hunter2"},"credential_version":"v1","status":{"state":"CONNECTION_STATE_READY"}}`),
			`{"connection":{"name":"c","uid":"u1","server":"s","credential_version":"v1"}}`,
		},
		{
			"a tool without its definition and the hashes of it",
			record(catalog.KindTool, "s/t", `{"server":"s","upstream_name":"t","definition":"e30=","body_hash":"ab","definition_hash":"cd"}`),
			`{"tool":{"name":"s/t","uid":"u1","server":"s","upstream_name":"t"}}`,
		},
		{
			"a gateway without its tools", record(catalog.KindGateway, "g", `{"tools":[{"tool":"s/t"}],"regions":["eu"],"max_stale":"60s","status":{"url":"x"}}`),
			`{"gateway":{"name":"g","uid":"u1","regions":["eu"],"max_stale":"60s"}}`,
		},
		{
			"an assignment knows its gateway, also where the tool's name has slashes",
			record(catalog.KindAssignment, "g/s/a/b", `{"pinned":{"connection":"c"},"resolved_name":"s__a_b"}`),
			`{"assignment":{"gateway":"g","tool":"s/a/b","pinned":{"connection":"c"},"resolved_name":"s__a_b"}}`,
		},
		{"a team", record(catalog.KindTeam, "eng", `{"members":[{"user":"a@x","role":"ROLE_ADMIN"}]}`), `{"team":{"name":"eng","uid":"u1","members":[{"user":"a@x","role":"ROLE_ADMIN"}]}}`},
		{"a user", record(catalog.KindUser, "a@x", `{"deactivated":true}`), `{"user":{"name":"a@x","uid":"u1","deactivated":true}}`},
		{
			"a token with its hash, as the node needs it", token,
			`{"bearer_token":{"name":"t","uid":"u1","owner":{"user":"ada@example.com"},"gateways":["demo"],"sha256":"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="}}`,
		},
		{"a token of the admin API", record(catalog.KindBearerToken, "t", `{"admin_api":true}`), ""},
		{"a kind without a message", record("something", "x", `{}`), ""},
		{"no record", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, err := scope.Encode(tt.rec)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if e != nil {
					t.Fatalf("it is sent: %q", e.Wire)
				}
				return
			}
			got, want := &distributionv1.Resource{}, &distributionv1.Resource{}
			if err := proto.Unmarshal(e.Wire, got); err != nil {
				t.Fatal(err)
			}
			if err := protojson.Unmarshal([]byte(tt.want), want); err != nil {
				t.Fatal(err)
			}
			want.Kind, want.Name, want.Version = string(tt.rec.Kind), tt.rec.Name, tt.rec.Version[:]
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEncodeRefuses: a stored form that is not understood whole is not sent at all, because what is not understood may
// be a restriction.
func TestEncodeRefuses(t *testing.T) {
	noHash := record(catalog.KindBearerToken, "t", `{}`)
	noHash.Lookup = "not hex"
	for name, rec := range map[string]*catalog.Record{
		"a field of a later release": record(catalog.KindGateway, "g", `{"only_on_mondays":true}`),
		"an enum of a later release": record(catalog.KindUser, "u", `{"role":"ROLE_EMPEROR"}`),
		"not JSON":                   record(catalog.KindTeam, "x", `{`),
		"a token without a hash":     noHash,
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := scope.Encode(rec); err == nil {
				t.Fatalf("it is sent: %q", e.Wire)
			}
		})
	}
}

// TestAcceptedBody: a tool whose changed definition waits needs two bodies, and nodes get the accepted one (G-16).
func TestAcceptedBody(t *testing.T) {
	accepted, pending := catalog.Hash{2}, catalog.Hash{1}
	rec := record(catalog.KindTool, "s/t", fmt.Sprintf(`{"server":"s","upstream_name":"t","state":"TOOL_STATE_CHANGED","body_hash":"%x","pending_body_hash":"%x"}`, accepted, pending))
	rec.Blobs = []catalog.Hash{pending, accepted}
	e, err := scope.Encode(rec)
	if err != nil {
		t.Fatal(err)
	}
	got := &distributionv1.Resource{}
	if err := proto.Unmarshal(e.Wire, got); err != nil {
		t.Fatal(err)
	}
	if len(e.Blobs) != 1 || e.Blobs[0] != accepted || len(got.GetBlobs()) != 1 || catalog.Hash(got.GetBlobs()[0]) != accepted {
		t.Errorf("bodies %x, sent %x; want %x alone", e.Blobs, got.GetBlobs(), accepted)
	}
}
