// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/definition"
	"github.com/penstockhq/penstock/controlplane/internal/catalog/resource"
)

const (
	// maxListed and maxListedBytes bound the prompts, and the templates, of one server: they are stored with it.
	maxListed       = 1000
	maxListedBytes  = 512 << 10
	maxCapabilities = 64 << 10
	maxAuthorities  = 1000
	// maxInstructions is what clients are given at most of all instructions together (M-58).
	maxInstructions = 16 << 10
)

// readLists reads prompts and templates; the first of two with one name counts.
func (f *Found) readLists() {
	for _, list := range f.Missing {
		f.Left = append(f.Left, "all "+list+": the server did not list them")
	}
	f.list("prompt", f.Prompts, definition.PromptName, func(name string, raw []byte) {
		f.prompts = append(f.prompts, resource.ListedPrompt{Name: name, Definition: raw})
	})
	f.list("resource template", f.Templates, definition.TemplateURI, func(uri string, raw []byte) {
		f.templates = append(f.templates, resource.ListedTemplate{URITemplate: uri, Definition: raw})
	})
}

// keep carries over what was known of lists that a server did not give this time: a hiccup takes no prompt away.
func keep(known, next *resource.ServerStatus, missing []string) {
	if known == nil {
		return
	}
	for _, list := range missing {
		switch list {
		case "prompts":
			next.Prompts = known.Prompts
		case "templates":
			next.Templates = known.Templates
		}
		if list != "prompts" { // not all that has an authority was seen
			next.ResourceAuthorities = slices.Compact(slices.Sorted(slices.Values(slices.Concat(next.ResourceAuthorities, known.ResourceAuthorities))))
			next.ResourceAuthorities = next.ResourceAuthorities[:min(len(next.ResourceAuthorities), maxAuthorities)]
		}
	}
}

func (f *Found) list(what string, raw [][]byte, read func([]byte) (string, error), keep func(name string, raw []byte)) {
	seen := make(map[string]bool, len(raw))
	size := 0
	for i, r := range raw {
		name, err := read(r)
		switch {
		case err != nil:
			f.Left = append(f.Left, fmt.Sprintf("%s number %d: %v", what, i+1, err))
		case seen[name]:
			f.Left = append(f.Left, fmt.Sprintf("%s number %d: %q is there already", what, i+1, name))
		case len(seen) == maxListed || size+len(r) > maxListedBytes:
			f.Left = append(f.Left, fmt.Sprintf("%s number %d and what follows: the list has more than %d entries or %d KiB", what, i+1, maxListed, maxListedBytes>>10))
			return
		default:
			seen[name] = true
			size += len(r)
			keep(name, r)
		}
	}
}

// capabilities returns what a server declared, never nothing: that it was discovered shows by it.
func capabilities(raw []byte) []byte {
	if len(raw) > maxCapabilities || !definition.Object(raw) {
		return []byte("{}")
	}
	return raw
}

// instruct keeps a server's instructions as tool definitions are kept (M-58, G-16): those of the first discovery are
// accepted, later ones wait, unless the server's tool_changes says otherwise.
func instruct(s *resource.Server, next *resource.ServerStatus, text string) {
	text = clip(strings.ToValidUTF8(text, "\uFFFD"), maxInstructions)
	first := s.Status == nil || len(s.Status.Capabilities) == 0
	if first || s.ToolChanges == resource.ToolChangesAccept || text == s.Status.Instructions {
		next.Instructions = text
		return
	}
	sum := sha256.Sum256([]byte(text))
	next.Instructions = s.Status.Instructions
	next.PendingInstructions, next.PendingInstructionsHash = text, hex.EncodeToString(sum[:])
}

// ForgetTransport drops what discovery found out about a URL that is replaced.
func ForgetTransport(stored, wanted resource.Object) {
	before, was := stored.(*resource.Server)
	s, is := wanted.(*resource.Server)
	if !was || !is || s.Status == nil || before.StreamableHTTP != nil && s.StreamableHTTP != nil && *before.StreamableHTTP == *s.StreamableHTTP {
		return
	}
	s.Status.SSE = false
}

// clip cuts a text after at most most bytes, between characters.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
