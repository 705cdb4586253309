// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// check runs a request through the interceptor and returns the refused paths.
func check[M any, P interface {
	*M
	proto.Message
}](t *testing.T, m P) (*fault.Fault, []string) {
	t.Helper()
	interceptor, err := NewInterceptor()
	if err != nil {
		t.Fatal(err)
	}
	passed := false
	_, err = interceptor(func(context.Context, connect.AnyRequest) (connect.AnyResponse, error) {
		passed = true
		return nil, nil
	})(t.Context(), connect.NewRequest((*M)(m)))
	if passed != (err == nil) {
		t.Fatalf("passed %t with error %v", passed, err)
	}
	f := fault.From(err)
	var paths []string
	if f != nil {
		for _, field := range f.Fields {
			paths = append(paths, field.Path)
		}
	}
	return f, paths
}

func organization() *resourcev1.Visibility {
	return &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}
}

func TestCreate(t *testing.T) {
	tests := []struct {
		name  string
		in    *resourcev1.Gateway
		paths []string
		text  string
	}{
		{"right", &resourcev1.Gateway{Name: "eng", Visibility: organization()}, nil, ""},
		{"nothing", nil, []string{"gateway"}, "gateway"},
		{"no slug", &resourcev1.Gateway{Name: "Eng!", Visibility: organization()}, []string{"gateway.name"}, "must be a slug"},
		{"two things", &resourcev1.Gateway{Name: "-"}, []string{"gateway.name", "gateway.visibility"}, "gateway.visibility"},
		{
			"deep", &resourcev1.Gateway{Name: "eng", Visibility: organization(), Tools: []*resourcev1.ToolAssignment{{Tool: "a/b"}}},
			[]string{"gateway.tools[0].mode"},
			"gateway.tools[0].mode",
		},
		{"enum", &resourcev1.Gateway{Name: "eng", Visibility: organization(), Naming: &resourcev1.Naming{Prefix: 99}}, []string{"gateway.naming.prefix"}, "prefix"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, paths := check(t, &adminv1.CreateGatewayRequest{Gateway: tt.in})
			if diff := cmp.Diff(tt.paths, paths); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if f != nil && (f.Kind != fault.Invalid || f.Reason != "REQUEST_INVALID" || !strings.Contains(f.Public, tt.text)) {
				t.Errorf("got %v, want %q in it", f, tt.text)
			}
		})
	}
}

// TestUpdate: what the mask leaves out may be missing; what it names may not.
func TestUpdate(t *testing.T) {
	tests := []struct {
		name  string
		in    *resourcev1.Gateway
		mask  []string
		paths []string
	}{
		{"masked field only", &resourcev1.Gateway{Name: "eng", DisplayName: "x"}, []string{"display_name"}, nil},
		{"no mask: what is set", &resourcev1.Gateway{Name: "eng", DisplayName: "x"}, nil, nil},
		{"no mask: what is set is wrong", &resourcev1.Gateway{Name: "eng", DisplayName: strings.Repeat("x", 129)}, nil, []string{"gateway.display_name"}},
		{"no mask: half a message", &resourcev1.Gateway{Name: "eng", Visibility: &resourcev1.Visibility{}}, nil, []string{"gateway.visibility.kind"}},
		{"masked and missing", &resourcev1.Gateway{Name: "eng"}, []string{"visibility"}, []string{"gateway.visibility"}},
		{"masked below and missing", &resourcev1.Gateway{Name: "eng"}, []string{"visibility.team"}, []string{"gateway.visibility"}},
		{"replace", &resourcev1.Gateway{Name: "eng"}, []string{"*"}, []string{"gateway.visibility"}},
		{"name is always needed", &resourcev1.Gateway{DisplayName: "x"}, []string{"display_name"}, []string{"gateway.name", "gateway.name"}},
		{"no resource", nil, []string{"display_name"}, []string{"gateway"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := &adminv1.UpdateGatewayRequest{Gateway: tt.in}
			if tt.mask != nil {
				req.UpdateMask = &fieldmaskpb.FieldMask{Paths: tt.mask}
			}
			_, paths := check(t, req)
			if diff := cmp.Diff(tt.paths, paths); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	_, paths := check(t, &adminv1.UpdateServerRequest{
		Server: &resourcev1.Server{Name: "s", DisplayName: "x"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	if paths != nil {
		t.Errorf("a server without transport, which the mask leaves out: got %v", paths)
	}
}

// TestWords: each pattern of the contracts is said in words, never as a regular expression.
func TestWords(t *testing.T) {
	apply := func(r *adminv1.ManifestResource) *adminv1.ApplyRequest {
		return &adminv1.ApplyRequest{Resources: []*adminv1.ManifestResource{r}}
	}
	tests := map[string]*adminv1.ApplyRequest{
		"resources[0].user.name: must be an e-mail address": apply(&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_User{
			User: &resourcev1.User{Name: "ada"},
		}}),
		"resources[0].team.name: must be a slug": apply(&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Team{
			Team: &resourcev1.Team{Name: "A"},
		}}),
		`resources[0].server.stdio.env["1"]: must be the name of an environment variable`: apply(&adminv1.ManifestResource{
			Resource: &adminv1.ManifestResource_Server{Server: &resourcev1.Server{
				Name: "s", Transport: &resourcev1.Server_Stdio{Stdio: &resourcev1.Stdio{Command: "c", Env: map[string]string{"1": "x"}}},
			}},
		}),
		"resources[0].gateway.tools[0].exposed_name: must have letters": apply(&adminv1.ManifestResource{Resource: &adminv1.ManifestResource_Gateway{
			Gateway: &resourcev1.Gateway{Name: "g", Visibility: organization(), Tools: []*resourcev1.ToolAssignment{{
				Tool: "a/b", ExposedName: "a b", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "c"}},
			}}},
		}}),
	}
	for want, req := range tests {
		f, _ := check(t, req)
		if f == nil || !strings.Contains(f.Public, want) || strings.Contains(f.Public, "^") {
			t.Errorf("got %v, want %q", f, want)
		}
	}
}

// TestUnknownFields: what a newer client sends is refused, not dropped, however deep it is.
func TestUnknownFields(t *testing.T) {
	newer := protowire.AppendVarint(protowire.AppendTag(nil, 5000, protowire.VarintType), 1)
	tool := &resourcev1.ToolAssignment{
		Tool: "a/b", Mode: &resourcev1.ToolAssignment_Pinned{Pinned: &resourcev1.Pinned{Connection: "c"}},
	}
	req := &adminv1.CreateGatewayRequest{Gateway: &resourcev1.Gateway{
		Name: "eng", Visibility: organization(), Labels: map[string]string{"a": "b"}, Tools: []*resourcev1.ToolAssignment{tool},
	}}
	if f, _ := check(t, req); f != nil {
		t.Fatalf("without unknown fields: got %v", f)
	}
	for want, m := range map[string]proto.Message{
		"request": req, "gateway.tools[0]": tool, "gateway.tools[0].pinned": tool.GetPinned(), "gateway.visibility": req.GetGateway().GetVisibility(),
	} {
		m.ProtoReflect().SetUnknown(newer)
		f, paths := check(t, req)
		if f == nil || f.Reason != "FIELD_UNKNOWN" || len(paths) != 1 || paths[0] != want {
			t.Errorf("got %v at %v, want it at %s", f, paths, want)
		}
		m.ProtoReflect().SetUnknown(nil)
	}
}

// TestManyProblems: the text stays readable, the details are complete.
func TestManyProblems(t *testing.T) {
	req := &adminv1.ApplyRequest{}
	for range 8 {
		req.Resources = append(req.Resources, &adminv1.ManifestResource{})
	}
	f, paths := check(t, req)
	if f == nil || len(paths) != 8 || !strings.Contains(f.Public, "(and 3 more)") {
		t.Errorf("got %d fields, %v", len(paths), f)
	}
}

// TestSecretsAreNotShown: a broken rule on a secret says which, never what.
func TestSecretsAreNotShown(t *testing.T) {
	f, paths := check(t, &adminv1.CreateConnectionRequest{Connection: &resourcev1.Connection{
		Name: "c", Server: "s", Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Team{Team: "t"}},
		SecretHeaders: map[string]string{"A": strings.Repeat("s3cret", 10_000)},
	}})
	if f == nil || len(paths) != 1 || strings.Contains(f.Error(), "s3cret") {
		t.Errorf("got %d fields: %.200v", len(paths), f)
	}
}
