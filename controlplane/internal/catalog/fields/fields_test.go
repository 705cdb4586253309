// SPDX-License-Identifier: Apache-2.0

package fields_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/fields"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource/resourcetest"
)

// A manifest has no field that only the control plane writes.
func TestStrip(t *testing.T) {
	for _, k := range resourcetest.Kinds() {
		o := resourcetest.Full(k)
		fields.Strip(o)
		changed, err := fields.Changed(nil, o)
		if err != nil {
			t.Fatal(err)
		}
		got := resourcetest.Members(t, o)
		if len(got) != len(changed)+1 || !got["name"] { // and the name
			t.Errorf("%s keeps %v; writable are %v", k, got, changed)
		}
	}
}

func TestSuggest(t *testing.T) {
	names := []string{"display_name", "description", "stdio", "labels"}
	for name, want := range map[string]string{
		"display_nam": "display_name", "displayname": "display_name", "desciption": "description", "label": "labels", "xyz": "", "studio": "stdio",
	} {
		got := fields.Suggest(name, names)
		if want != "" && !strings.Contains(got, `"`+want+`"`) || want == "" && got != "" {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

func TestFilterProblem(t *testing.T) {
	for _, tc := range []struct {
		kind resource.Kind
		path string
		want string // part of the problem, empty for none
	}{
		{resource.KindServer, "name", ""},
		{resource.KindServer, "uid", ""},
		{resource.KindServer, "labels.any.key", ""},
		{resource.KindServer, "streamable_http.url", ""},
		{resource.KindServer, "tool_changes", ""},
		{resource.KindServer, "stateless", "not a text"},
		{resource.KindServer, "labels", "not a text"},
		{resource.KindServer, "stdio.env.HOME", ""},
		{resource.KindServer, "display_nam", "did you mean"},
		{resource.KindServer, "name.x", "without fields"},
		{resource.KindServer, "Meta", "no field"},
		{resource.KindTool, "server", ""},
		{resource.KindGateway, "visibility.personal.owner", ""},
		{resource.KindGateway, "visibility.organization", "not a text"},
		{resource.KindGateway, "tools.tool", "without fields"},
		{"planet", "name", "not a kind"},
	} {
		got := fields.FilterProblem(tc.kind, tc.path)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s %s: %q; want %q", tc.kind, tc.path, got, tc.want)
		}
	}
	s := &resource.Server{Stdio: &resource.Stdio{Env: map[string]string{"A.B": "x"}}}
	for path, want := range map[string]string{"stdio.env.A.B": "x", "streamable_http.url": "", "name": "", "stdio.command": ""} {
		if got := fields.Text(s, path); got != want {
			t.Errorf("text at %s is %q", path, got)
		}
	}
}
