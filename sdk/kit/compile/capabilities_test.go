// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

func TestMakeCapabilities(t *testing.T) {
	for _, tc := range []struct {
		name, raw string
		want      compile.Capabilities
	}{
		{"nothing", "", compile.Capabilities{}},
		{"none", "{}", compile.Capabilities{}},
		{"no object", "[]", compile.Capabilities{}},
		{"bare", `{"prompts":{},"resources":{},"tools":{},"logging":{},"completions":{}}`, compile.Capabilities{
			Prompts: true, Resources: true, Tools: true, Logging: true, Completions: true,
		}},
		{"all", `{"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"tools":{"listChanged":true},"tasks":{"list":{},"requests":{"tools":{"call":{}}}}}`, compile.Capabilities{
			Prompts: true, PromptsChanged: true, Resources: true, ResourcesChanged: true, ResourcesWatched: true, Tools: true, ToolsChanged: true, Tasks: true,
		}},
		{"switched off", `{"prompts":{"listChanged":false},"resources":{"subscribe":false}}`, compile.Capabilities{Prompts: true, Resources: true}},
		{"other types", `{"prompts":true,"resources":{"subscribe":"true"},"tools":[],"logging":null,"extensions":[]}`, compile.Capabilities{Resources: true}},
		{"tasks of other requests", `{"tasks":{"requests":{"sampling":{"createMessage":{}}}}}`, compile.Capabilities{}},
		{"names are exact (M-10)", `{"Prompts":{},"resources":{"Subscribe":true}}`, compile.Capabilities{Resources: true}},
		{"extensions, raw", `{"extensions":{"a/b":{ "n":1.0 },"c/d":{},"e/f":7}}`, compile.Capabilities{
			Extensions: map[string][]byte{"a/b": []byte(`{ "n":1.0 }`), "c/d": []byte(`{}`)},
		}},
		{"experimental never (M-57)", `{"experimental":{"a/b":{}}}`, compile.Capabilities{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, compile.MakeCapabilities([]byte(tc.raw))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthority(t *testing.T) {
	for uri, want := range map[string]string{
		"file:///etc/hosts":          "file://",
		"HTTPS://Example.COM/a":      "https://example.com",
		"https://example.com:8443?q": "https://example.com:8443",
		"repo://octocat#x":           "repo://octocat",
		"demo://items/{id}":          "demo://items",
		"demo://items{/id}":          "demo://items",
		"demo://items{?q}":           "demo://items",
		"demo://items{#f}":           "demo://items",
		"urn:isbn:1":                 "urn:",
		"note:{name}":                "note:",
		"file:///{+path}":            "file://",
		"a+b-c.d://x":                "a+b-c.d://x",
		"repo://{owner}/x":           "",
		"repo://a{b}/x":              "",
		"repo://a{":                  "",
		"{scheme}://x":               "",
		"{+uri}":                     "",
		"no scheme":                  "",
		"":                           "",
		"://x":                       "",
		"1a://x":                     "",
		"/relative":                  "",
		"a b:c":                      "",
	} {
		got, ok := compile.Authority(uri)
		if got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", uri, got, ok, want)
		}
	}
}

// What a server may ask where it says nothing, and where it says something (M-59).
func TestMakeServerQuestions(t *testing.T) {
	for _, tc := range []struct {
		name string
		q    *resourcev1.Questions
		want compile.Questions
	}{
		{"all by default", nil, compile.Questions{Sampling: true, Elicitation: true, Roots: true}},
		{"none", &resourcev1.Questions{}, compile.Questions{}},
		{"one", &resourcev1.Questions{Sampling: true}, compile.Questions{Sampling: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := compile.MakeServer(&resourcev1.Server{Transport: &resourcev1.Server_Sse{Sse: &resourcev1.Sse{Url: "http://x"}}, Questions: tc.q})
			if err != nil || s.Questions != tc.want || !s.SSE || s.URL != "http://x" {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}

// A URL that discovery found to speak HTTP+SSE only is spoken to in that way.
func TestMakeServerDiscoveredSSE(t *testing.T) {
	status := &resourcev1.ServerStatus{Sse: true}
	s, err := compile.MakeServer(&resourcev1.Server{Transport: &resourcev1.Server_StreamableHttp{StreamableHttp: &resourcev1.StreamableHttp{Url: "http://x"}}, Status: status})
	if err != nil || !s.SSE {
		t.Errorf("got %+v, %v", s, err)
	}
	s, err = compile.MakeServer(&resourcev1.Server{Transport: &resourcev1.Server_Stdio{Stdio: &resourcev1.Stdio{Command: "x"}}, Status: status})
	if err != nil || s.SSE {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestMakeGatewayFeatures(t *testing.T) {
	made := func(change func(*resourcev1.Gateway)) (*compile.Gateway, error) {
		r := &resourcev1.Gateway{Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{Organization: &resourcev1.OrganizationVisibility{}}}}
		change(r)
		return compile.MakeGateway(r)
	}
	g, err := made(func(*resourcev1.Gateway) {})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{compile.ExtensionUI, compile.ExtensionTasks}, g.Extensions); diff != "" || g.AlwaysURIs || g.Passthrough || g.Features != nil || g.Naming != compile.PrefixAlways {
		t.Errorf("defaults are %+v", g)
	}
	pinned := &resourcev1.ServerFeature_Pinned{Pinned: &resourcev1.Pinned{Connection: "c"}}
	g, err = made(func(r *resourcev1.Gateway) {
		r.ServerFeatures = []*resourcev1.ServerFeature{{Server: "b", Instructions: true}, {Server: "a", Mode: pinned, Prompts: true}}
		r.Extensions = &resourcev1.Extensions{}
		r.ResourceUris = resourcev1.ResourceUris_RESOURCE_URIS_ALWAYS
		r.Naming = &resourcev1.Naming{Prefix: resourcev1.NamingPrefix_NAMING_PREFIX_NEVER}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []compile.Feature{{Server: "a", Connection: "c", Prompts: true}, {Server: "b", Instructions: true}}
	if diff := cmp.Diff(want, g.Features); diff != "" || len(g.Extensions) != 0 || !g.AlwaysURIs || g.Naming != compile.PrefixNever {
		t.Errorf("got %+v\n%s", g, diff)
	}
	g, err = made(func(r *resourcev1.Gateway) {
		r.ServerFeatures = []*resourcev1.ServerFeature{{
			Server: "a", Resources: true, Mode: &resourcev1.ServerFeature_ResolveAtCallTime{ResolveAtCallTime: &resourcev1.ResolveAtCallTime{}},
		}}
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]compile.Feature{{Server: "a", AtCall: true, Resources: true}}, g.Features); diff != "" {
		t.Errorf("at the call (-want +got):\n%s", diff)
	}
	g, err = made(func(r *resourcev1.Gateway) {
		r.ServerFeatures = []*resourcev1.ServerFeature{{Server: "a", Resources: true}} // the mode is a field that is not known
	})
	if err == nil || g != nil {
		t.Errorf("a mode of newer nodes compiled: %+v", g)
	}
}

// Prompts have a name space of their own in which nothing is reserved, and always get names (M-62).
func TestPromptNames(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prefix  compile.Prefix
		prompts []compile.NamedTool
		want    []string
		clash   []int
	}{
		{"always", compile.PrefixAlways, []compile.NamedTool{tool("a", "x"), tool("b", "x y")}, []string{"a__x", "b__x_y"}, nil},
		{"on conflict", compile.PrefixOnConflict, []compile.NamedTool{tool("a", "x"), tool("b", "x"), tool("b", "y")}, []string{"a__x", "b__x", "y"}, nil},
		{"never", compile.PrefixNever, []compile.NamedTool{tool("a", "x"), tool("b", "y")}, []string{"x", "y"}, nil},
		{"never, clashing", compile.PrefixNever, []compile.NamedTool{tool("a", "y"), tool("a", "x"), tool("b", "x"), tool("c", "y")}, []string{"a__y", "a__x", "b__x", "c__y"}, []int{0, 1, 2, 3}},
		{"never, one clash", compile.PrefixNever, []compile.NamedTool{tool("a", "x"), tool("b", "z"), tool("c", "x")}, []string{"a__x", "z", "c__x"}, []int{0, 2}},
		{"nothing is reserved", compile.PrefixOnConflict, []compile.NamedTool{tool("a", "run_tool")}, []string{"run_tool"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, clash := compile.PromptNames(tc.prefix, tc.prompts)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.clash, clash); diff != "" {
				t.Errorf("clash (-want +got):\n%s", diff)
			}
		})
	}
}
