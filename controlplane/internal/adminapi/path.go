// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The catalog names fields within a resource ("tools[everything/echo].pinned.connection"); the API names them within the request
// ("gateway.tools[2].pinned.connection"), as the contracts' own rules do.

// atResource rewrites the paths of an error about one resource of a request.
func atResource(err error, m proto.Message) error {
	kind, errKind := kindOf(m)
	if errKind != nil {
		return err
	}
	return withPaths(err, func(path string) string { return string(kind) + "." + indexed(path, m) })
}

// atManifest rewrites the paths of an error about a configuration: the catalog puts the resource in front, "gateway eng: …".
func atManifest(err error, resources []*adminv1.ManifestResource) error {
	return withPaths(err, func(path string) string {
		of, rest, within := strings.Cut(path, ": ")
		for i, r := range resources {
			m := resourceMessage(r)
			kind, errKind := kindOf(m)
			if errKind != nil || !strings.EqualFold(of, kind.Label()+" "+nameOf(m)) { // user names are stored in small letters
				continue
			}
			at := fmt.Sprintf("resources[%d].%s", i, kind)
			if within {
				at += "." + indexed(rest, m)
			}
			return at
		}
		return path
	})
}

// withPaths returns err with the paths of its fault rewritten. The fault is copied: it may be a sentinel.
func withPaths(err error, rewrite func(string) string) error {
	f, ok := errors.AsType[*fault.Fault](err)
	if !ok || len(f.Fields) == 0 {
		return err
	}
	moved := *f
	moved.Fields = nil
	out := &moved
	for _, field := range f.Fields {
		out = out.At(rewrite(field.Path), field.Problem)
	}
	return out
}

// assignment and feature are the catalog's way to name a tool assignment and a server feature.
var (
	assignment = regexp.MustCompile(`^tools\[([^\]]+/[^\]]*)\]`)
	feature    = regexp.MustCompile(`^server_features\[([a-z][^\]]*)\]`)
)

// indexed gives a tool assignment or a server feature its place in the message.
func indexed(path string, m proto.Message) string {
	g, ok := m.(*resourcev1.Gateway)
	if !ok {
		return path
	}
	if found := assignment.FindStringSubmatch(path); found != nil {
		i := slices.IndexFunc(g.GetTools(), func(a *resourcev1.ToolAssignment) bool { return a.GetTool() == found[1] })
		return placed("tools", i, found[0], path)
	}
	if found := feature.FindStringSubmatch(path); found != nil {
		i := slices.IndexFunc(g.GetServerFeatures(), func(f *resourcev1.ServerFeature) bool { return f.GetServer() == found[1] })
		return placed("server_features", i, found[0], path)
	}
	return path
}

// placed puts an index in the place of a name, if there is one.
func placed(list string, i int, named, path string) string {
	if i < 0 {
		return path
	}
	return fmt.Sprintf("%s[%d]%s", list, i, path[len(named):])
}

// resourceMessage returns the resource inside.
func resourceMessage(r *adminv1.ManifestResource) proto.Message {
	m := r.ProtoReflect()
	slot := m.WhichOneof(m.Descriptor().Oneofs().ByName("resource"))
	if slot == nil {
		return r
	}
	return m.Get(slot).Message().Interface()
}

// nameOf returns the name of a resource.
func nameOf(m proto.Message) string {
	named, ok := m.(interface{ GetName() string })
	if !ok {
		return ""
	}
	return named.GetName()
}
