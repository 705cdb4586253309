// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func TestPaths(t *testing.T) {
	g := &resourcev1.Gateway{Name: "eng", Tools: []*resourcev1.ToolAssignment{{Tool: "a/x"}, {Tool: "a/y[1]"}, {Tool: "a/y"}}, ServerFeatures: []*resourcev1.ServerFeature{{Server: "b"}, {Server: "a"}}}
	all := []*adminv1.ManifestResource{
		{Resource: &adminv1.ManifestResource_User{User: &resourcev1.User{Name: "Ada@Example.com"}}},
		{Resource: &adminv1.ManifestResource_Gateway{Gateway: g}},
	}
	sentinel := fault.New(fault.Invalid, "R", "p").At("tools[a/y].tool", "t").At("visibility", "v").At("tools[1].mode", "m").At("tools[a/z]", "z").
		At("server_features[a].pinned", "f").At("server_features[1].server", "i").At("server_features[c]", "c")
	of := fault.New(fault.Invalid, "R", "p").At("gateway eng: tools[a/y].tool", "t").At("user ada@example.com", "u").At("resources[0]", "r").At("team x: name", "n")
	tests := []struct {
		name string
		got  error
		want []string
	}{
		{"resource", atResource(fmt.Errorf("create: %w", sentinel), g), []string{"gateway.tools[2].tool", "gateway.visibility", "gateway.tools[1].mode", "gateway.tools[a/z]", "gateway.server_features[1].pinned", "gateway.server_features[1].server", "gateway.server_features[c]"}},
		{"configuration", atManifest(of, all), []string{"resources[1].gateway.tools[2].tool", "resources[0].user", "resources[0]", "team x: name"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := fault.From(tt.got)
			var paths []string
			for _, field := range f.Fields {
				paths = append(paths, field.Path)
			}
			if diff := cmp.Diff(tt.want, paths); diff != "" || f.Kind != fault.Invalid || f.Reason != "R" || f.Public != "p" {
				t.Errorf("got %v (-want +got):\n%s", f, diff)
			}
		})
	}
	if sentinel.Fields[0].Path != "tools[a/y].tool" {
		t.Error("the fault that was given changed")
	}
	plain := errors.New("x")
	if got := atResource(plain, g); !errors.Is(got, plain) {
		t.Errorf("got %v", got)
	}
}
