// SPDX-License-Identifier: Apache-2.0

package search

import (
	"runtime"
	"strings"
	"sync"
	"weak"

	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/dataplane/internal/view"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/dataplane/internal/wire/headerschema"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/rank"
)

// once makes something of each K at first use, and keeps it for as long as somebody else keeps the K. The zero value is ready.
type once[K, V any] struct {
	made sync.Map // of weak.Pointer[K] to func() V
}

// of returns what make made of the key. What it returns must not lead to the key: then it would never go.
func (o *once[K, V]) of(key *K, build func() V) V {
	k := weak.Make(key)
	if got, ok := o.made.Load(k); ok {
		f, _ := got.(func() V)
		return f()
	}
	got, there := o.made.LoadOrStore(k, sync.OnceValue(build))
	if !there {
		runtime.AddCleanup(key, func(k weak.Pointer[K]) { o.made.Delete(k) }, k)
	}
	f, _ := got.(func() V)
	return f()
}

// index is what the tools of one gateway are found by. Its documents are the gateway's tools, in their order.
type index struct {
	ranks    *rank.Index
	meanings *embed.Set // vectors of the documents; nil without an endpoint for them
	about    []about    // by document
	plain    bool       // nothing in about hides a tool
}

// about is what is known of a tool for good.
type about struct {
	appOnly    bool // for the user interface of an app, not for models
	badHeaders bool // arguments are marked for headers in a way that modern HTTP cannot have (M-64)
}

// indexOf returns the index of a gateway with tools. It is made once for each list of tools that a revision brings (P-11), by who
// comes first, and shared by all callers: servers behind the gateway may change without a new one.
func (s *Search) indexOf(g *view.Gateway) *index {
	return s.indexes.of(&g.Tools[0], func() *index { return s.build(g.Tools) })
}

func (s *Search) build(tools []*view.Tool) *index {
	x := &index{about: make([]about, len(tools)), plain: true}
	documents := make([]rank.Document, len(tools))
	for i, t := range tools {
		body := t.Body.Bytes()
		documents[i] = document(t, body)
		_, err := headerschema.OfTool(body)
		x.about[i] = about{appOnly: isAppOnly(body), badHeaders: err != nil}
		x.plain = x.plain && x.about[i] == about{}
	}
	x.ranks = rank.New(documents, s.Lexicon)
	if s.Vectors != nil {
		texts := make([]string, len(documents))
		for i := range documents {
			texts[i] = documents[i].Text()
		}
		x.meanings = s.Vectors.Want(texts)
	}
	if s.Built != nil {
		s.Built(len(tools))
	}
	return x
}

// document is what a tool is found by (G-22).
func document(t *view.Tool, body []byte) rank.Document {
	d := rank.Document{Name: t.Exposed, Description: description(t, body)}
	if own := t.Server + compile.Separator; !strings.HasPrefix(d.Name, own) { // to rank, the server's name is before it
		d.Name = own + d.Name
	}
	d.Title, _ = wire.DecodeString(wire.Get(body, "title"))
	if d.Title == "" {
		d.Title, _ = wire.DecodeString(wire.Get(body, "annotations", "title"))
	}
	d.Arguments = arguments(nil, wire.Get(body, "inputSchema"), 0)
	return d
}

// description is what is shown of a tool, and what it is found by.
func description(t *view.Tool, body []byte) string {
	if t.Description != "" {
		return t.Description
	}
	text, _ := wire.DecodeString(wire.Get(body, "description"))
	return text
}

// Bounds of what is indexed of an input schema: a tool with more is found by these as well.
const (
	maxArguments = 200
	maxNesting   = 3
)

// arguments collects the properties of a schema with their descriptions, those of objects and lists in it too.
func arguments(list []rank.Argument, schema []byte, depth int) []rank.Argument {
	if !wire.IsObject(schema) || depth > maxNesting {
		return list
	}
	fields, err := wire.Fields(nil, schema)
	if err != nil {
		return list
	}
	list = arguments(list, wire.Lookup(fields, "items").Of(schema), depth+1)
	properties := wire.Lookup(fields, "properties").Of(schema)
	if !wire.IsObject(properties) {
		return list
	}
	named, err := wire.Fields(nil, properties)
	if err != nil {
		return list
	}
	for _, f := range named {
		if len(list) >= maxArguments {
			return list
		}
		a := rank.Argument{Name: string(f.Name)}
		a.Description, _ = wire.DecodeString(wire.Get(f.Of(properties), "description"))
		list = arguments(append(list, a), f.Of(properties), depth+1)
	}
	return list
}

// isAppOnly reports whether a tool is for the user interface that comes with it and not for models (the ui extension,
// _meta.ui.visibility).
func isAppOnly(body []byte) bool {
	visibility := wire.Get(body, "_meta", "ui", "visibility")
	if len(visibility) == 0 || visibility[0] != '[' {
		return false
	}
	elements, err := wire.Elements(nil, visibility)
	if err != nil || len(elements) == 0 {
		return false
	}
	for _, e := range elements {
		if wire.EqualString(e.Of(visibility), "model") {
			return false
		}
	}
	return true
}
