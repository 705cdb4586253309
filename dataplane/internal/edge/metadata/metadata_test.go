// SPDX-License-Identifier: Apache-2.0

package metadata_test

import (
	"encoding/json"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/edge/metadata"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func TestNamed(t *testing.T) {
	tests := []struct {
		path, form, name string
		ok               bool
	}{
		{"/v1/mcp/eng", "eng", "eng", true},
		{"/v1/mcp/eng/", "eng/", "eng", true},
		{"/v1/mcp/eng//", "eng//", "eng/", true}, // a name that no gateway has
		{"/v1/mcp/", "", "", false},
		{"/v1/mcp", "/v1/mcp", "/v1/mcp", false},
		{"/x", "/x", "/x", false},
	}
	for _, tt := range tests {
		if form, name, ok := metadata.Named(tt.path); form != tt.form || name != tt.name || ok != tt.ok {
			t.Errorf("%s: form %q, name %q, %v", tt.path, form, name, ok)
		}
	}
}

// A display name may be any text.
func TestAppend(t *testing.T) {
	g := &view.Gateway{Gateway: compile.Gateway{Name: "eng", DisplayName: "\"A\"\n\\"}, Scopes: []string{"mcp"}}
	var body map[string]any
	if err := json.Unmarshal(metadata.Append(nil, "https://gw.example.com", "eng/", []string{"https://auth.example.com", "https://idp.example"}, g), &body); err != nil {
		t.Fatal(err)
	}
	if body["resource_name"] != g.DisplayName || body["resource"] != "https://gw.example.com/v1/mcp/eng/" || len(body) != 5 {
		t.Errorf("body %v", body)
	}
}
