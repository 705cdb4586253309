// SPDX-License-Identifier: Apache-2.0

package view

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// place is a URI of a server, or where a URI leads.
type place struct{ server, uri string }

// What clients call a URI of a server, and that it leads back (M-66, M-67).
func TestURIs(t *testing.T) {
	one := []*Server{{Name: "a", Authorities: []string{"file://"}}}
	two := []*Server{
		{Name: "a", Authorities: []string{"demo://", "file://", "https://a.example.com"}},
		{Name: "b", Authorities: []string{"file://", "urn:"}},
	}
	tools := compile.Feature{Server: "t", Prompts: true}
	for _, tc := range []struct {
		name     string
		features []compile.Feature
		servers  []*Server
		always   bool
		of       place
		want     string // what clients see
		back     bool   // it leads to the server again
	}{
		{"one server: owned", []compile.Feature{all("a")}, one, false, place{"a", "file:///x"}, "file:///x", true},
		{"one server: not owned", []compile.Feature{all("a")}, one, false, place{"a", "other://x"}, "other://x", true},
		{"one server: no URI at all", []compile.Feature{all("a")}, one, false, place{"a", "x y"}, "x y", true},
		{"one server: never discovered", []compile.Feature{all("a")}, nil, false, place{"a", "file:///x"}, "file:///x", true},
		{"one server: link", []compile.Feature{all("a")}, one, false, place{"a", "https://x.example.com/"}, "https://x.example.com/", true},
		{"one server: looks like ours", []compile.Feature{all("a")}, one, false, place{"a", "pst:b:x"}, "pst:a:pst:b:x", true},
		{"one server: of a server with tools only", []compile.Feature{all("a"), tools}, one, false, place{"t", "file:///x"}, "pst:t:file:///x", false},
		{"one server: link of a server with tools only", []compile.Feature{all("a"), tools}, one, false, place{"t", "https://x.example.com/"}, "https://x.example.com/", false},
		{"one server, always", []compile.Feature{all("a")}, one, true, place{"a", "file:///x"}, "pst:a:file:///x", true},
		{"one server, always: link that nobody owns", []compile.Feature{all("a")}, one, true, place{"a", "https://x.example.com/"}, "https://x.example.com/", false},
		{"two servers: only owner", []compile.Feature{all("a"), all("b")}, two, false, place{"a", "demo:///x"}, "demo:///x", true},
		{"two servers: only owner, other case", []compile.Feature{all("a"), all("b")}, two, false, place{"a", "HTTPS://A.example.com/x"}, "HTTPS://A.example.com/x", true},
		{"two servers: no authority", []compile.Feature{all("a"), all("b")}, two, false, place{"b", "urn:isbn:1"}, "urn:isbn:1", true},
		{"two servers: both own it", []compile.Feature{all("a"), all("b")}, two, false, place{"b", "file:///x"}, "pst:b:file:///x", true},
		{"two servers: the other owns it", []compile.Feature{all("a"), all("b")}, two, false, place{"b", "demo:///x"}, "pst:b:demo:///x", true},
		{"two servers: the other owns the link", []compile.Feature{all("a"), all("b")}, two, false, place{"b", "https://a.example.com/x"}, "pst:b:https://a.example.com/x", true},
		{"two servers: nobody owns it", []compile.Feature{all("a"), all("b")}, two, false, place{"b", "new://x"}, "pst:b:new://x", true},
		{"two servers: link that nobody owns", []compile.Feature{all("a"), all("b")}, two, false, place{"b", "http://x.example.com/"}, "http://x.example.com/", false},
		{"two servers: template", []compile.Feature{all("a"), all("b")}, two, false, place{"a", "demo:///{id}"}, "demo:///{id}", true},
		{"two servers: template of any authority", []compile.Feature{all("a"), all("b")}, two, false, place{"a", "repo://{owner}/x"}, "pst:a:repo://{owner}/x", true},
		{"two servers, always", []compile.Feature{all("a"), all("b")}, two, true, place{"a", "demo:///x"}, "pst:a:demo:///x", true},
		{"no resources on", []compile.Feature{tools}, two, false, place{"t", "file:///x"}, "file:///x", false},
		{"nothing on", nil, two, false, place{"a", "pst:b:x"}, "pst:b:x", false},
		{"empty", []compile.Feature{all("a"), all("b")}, two, false, place{"a", ""}, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := showing(tc.features...)
			g.AlwaysURIs = tc.always
			g = build(g, tc.servers...)
			got := g.ExposeURI(tc.of.server, tc.of.uri)
			if got != tc.want {
				t.Errorf("clients see %q, want %q", got, tc.want)
			}
			f, uri, ok := g.RouteURI(got)
			if !ok {
				if tc.back {
					t.Errorf("%q leads nowhere", got)
				}
				return
			}
			if leads := (place{f.Server, uri}); (leads == tc.of) != tc.back {
				t.Errorf("%q leads to %v; it is of %v", got, leads, tc.of)
			}
			if f.Connection != f.Server+"-shared" {
				t.Errorf("the feature is %+v", f)
			}
		})
	}
}

// URIs that lead nowhere: never tried on several servers (M-67).
func TestRouteURINowhere(t *testing.T) {
	g := build(showing(all("a"), all("b"), compile.Feature{Server: "c", Prompts: true}),
		&Server{Name: "a", Authorities: []string{"file://"}}, &Server{Name: "b", Authorities: []string{"file://"}})
	for _, uri := range []string{"file:///x", "other://x", "https://x.example.com/", "pst:", "pst:a", "pst:a:", "pst:c:file:///x", "pst:nope:file:///x", "pst::x", "", "x y"} {
		if f, upstream, ok := g.RouteURI(uri); ok {
			t.Errorf("%q leads to %q of %s", uri, upstream, f.Server)
		}
	}
	if f, upstream, ok := g.RouteURI("pst:b:pst:a:x"); !ok || f.Server != "b" || upstream != "pst:a:x" {
		t.Errorf("got %q of %v, %v", upstream, f, ok)
	}
}

func TestTemplates(t *testing.T) {
	off := all("c")
	off.Resources = false
	g := build(showing(all("a"), all("b"), off),
		&Server{Name: "a", Authorities: []string{"z://x"}, Templates: listed("z://x/{id}", "{+any}")},
		&Server{Name: "b", Authorities: []string{"file://"}, Templates: listed("file:///{path}")},
		&Server{Name: "c", Templates: listed("c:{x}")})
	want := []*compile.Template{
		{URI: "file:///{path}", Upstream: "file:///{path}", Server: "b", Connection: "b-shared", Body: []byte(`{"name":"file:///{path}"}`)},
		{URI: "pst:a:{+any}", Upstream: "{+any}", Server: "a", Connection: "a-shared", Body: []byte(`{"name":"{+any}"}`)},
		{URI: "z://x/{id}", Upstream: "z://x/{id}", Server: "a", Connection: "a-shared", Body: []byte(`{"name":"z://x/{id}"}`)},
	}
	if diff := cmp.Diff(want, g.Templates); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]compile.Feature{all("a"), all("b")}, g.ResourceFeatures()); diff != "" {
		t.Errorf("features (-want +got):\n%s", diff)
	}
	if got := build(showing(off)).ResourceFeatures(); got != nil {
		t.Errorf("got %v", got)
	}
}
