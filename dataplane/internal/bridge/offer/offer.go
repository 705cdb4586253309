// SPDX-License-Identifier: Apache-2.0

// Package offer decides which client capabilities an upstream is told of: what the client declared, what the server's
// setting allows it to ask, and what the bridge can carry (mcp.md M-59, M-60, M-85).
//
// bridge uses it. It must never know who the client is.
package offer

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/compile"
)

// Rules are what an offer depends on besides the client's own words.
type Rules struct {
	Client     wire.Version      // of the client's side
	Upstream   wire.Era          // Unknown if discovery has not found it
	Questions  compile.Questions // what the server may ask
	Extensions []string          // what the gateway lets through, by name
	Shared     bool              // the server's sessions may be shared between principals: nothing is offered
}

const (
	// maxCached is how many offers are kept; there are as many as kinds of clients.
	maxCached = 512
	// maxDeclared is the longest declaration of which the offer is kept.
	maxDeclared = 8 << 10
)

// Cache makes offers and keeps them, since most clients declare the same bytes. The zero value is ready; it is safe for
// concurrent use.
type Cache struct {
	mu    sync.RWMutex
	count int
	known map[key]map[string][]byte
}

// key is what of the rules matters, in comparable form.
type key struct {
	upstream   wire.Era
	client     generation
	questions  compile.Questions
	extensions string
}

// generation is what of the client's version matters.
type generation uint8

const (
	mute   generation = iota // cannot be asked by elicitation
	forms                    // knows forms only
	pages                    // knows forms and pages
	modern                   // knows extensions of tasks
)

func generationOf(v wire.Version) generation {
	switch {
	case v.Era() == wire.Modern:
		return modern
	case v.AtLeast(wire.V20251125):
		return pages
	case v.AtLeast(wire.V20250618):
		return forms
	}
	return mute
}

// Of returns the raw ClientCapabilities object to declare upstream, nil for none. declared is the client's. The result
// is shared: nobody may write to it. It does not allocate for a client that declares nothing, nor for declarations
// without extensions that are known already.
func (c *Cache) Of(declared []byte, r Rules) []byte {
	if r.Shared || len(declared) <= len(`{}`) {
		return nil
	}
	k := key{upstream: r.Upstream, client: generationOf(r.Client), questions: r.Questions}
	if bytes.Contains(declared, []byte("xtensions")) { // the key may have escapes, but no client writes the x as one
		k.extensions = strings.Join(r.Extensions, "\n")
	}
	c.mu.RLock()
	made, ok := c.known[k][string(declared)]
	c.mu.RUnlock()
	if ok {
		return made
	}
	made = k.make(declared)
	if len(declared) <= maxDeclared {
		c.keep(k, declared, made)
	}
	return made
}

func (c *Cache) keep(k key, declared, made []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count >= maxCached || c.known == nil {
		c.known, c.count = make(map[key]map[string][]byte), 0
	}
	if c.known[k] == nil {
		c.known[k] = make(map[string][]byte)
	}
	c.known[k][string(declared)] = made
	c.count++
}

// make writes the offer; the members keep their order and their bytes.
func (k *key) make(declared []byte) []byte {
	fields, err := wire.Fields(nil, declared)
	if err != nil {
		return nil
	}
	var b []byte
	for i := range fields {
		value := k.member(string(fields[i].Name), fields[i].Of(declared))
		if !wire.IsObject(value) {
			continue
		}
		b = append(append(append(b, ','), wire.Quote(string(fields[i].Name))...), ':')
		b = append(b, value...)
	}
	if b == nil {
		return nil
	}
	b[0] = '{'
	return append(b, '}')
}

// member returns what of a member of the declaration may be told, nil for nothing.
func (k *key) member(name string, value []byte) []byte {
	switch name {
	case "sampling":
		if k.questions.Sampling {
			return value
		}
	case "elicitation":
		switch {
		case !k.questions.Elicitation || k.client == mute:
		case k.client == forms && wire.IsObject(value):
			return []byte(`{}`) // its modes came later: a client of that version knows forms
		default:
			return value
		}
	case "roots":
		if k.questions.Roots {
			return value
		}
	case "extensions":
		return k.allowed(value)
	}
	return nil
}

// allowed returns the extensions that the gateway lets through. Tasks are those of modern sides only: the method names
// and shapes of legacy tasks are others (M-60).
func (k *key) allowed(value []byte) []byte {
	fields, err := wire.Fields(nil, value)
	if err != nil {
		return nil
	}
	names := strings.Split(k.extensions, "\n")
	var b []byte
	for i := range fields {
		name := string(fields[i].Name)
		if !slices.Contains(names, name) || name == "" || !wire.IsObject(fields[i].Of(value)) {
			continue
		}
		if name == compile.ExtensionTasks && (k.client != modern || k.upstream == wire.Legacy) {
			continue
		}
		b = append(append(append(b, ','), wire.Quote(name)...), ':')
		b = append(b, fields[i].Of(value)...)
	}
	if b == nil {
		return nil
	}
	b[0] = '{'
	return append(b, '}')
}

// WithExtension returns offer with one more extension, of empty settings, or offer itself if it has that one already.
func WithExtension(offer []byte, name string) []byte {
	settings := append(wire.AppendString([]byte{'{'}, name), `:{}}`...)
	if offer == nil {
		return append(append([]byte(`{"extensions":`), settings...), '}')
	}
	fields, err := wire.Fields(nil, offer)
	if err != nil {
		return offer
	}
	whole := wire.Span{Start: 0, End: len(offer)}
	var e wire.Edits
	if old := wire.Lookup(fields, "extensions"); old.Present() {
		declared, err := wire.Fields(nil, old.Of(offer))
		if err != nil || wire.Lookup(declared, name).Present() {
			return offer
		}
		e.Insert(old.Span, name, []byte(`{}`))
	} else {
		e.Insert(whole, "extensions", settings)
	}
	return e.AppendTo(nil, offer)
}
