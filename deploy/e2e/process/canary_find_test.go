// SPDX-License-Identifier: Apache-2.0

package process

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// canaries are the secrets of a run, by what they are, and finds them in what programs left behind. It is safe for concurrent use.
type canaries struct {
	mu    sync.Mutex // guards known
	known map[string]string
}

// keep remembers a secret.
func (c *canaries) keep(t *testing.T, what, value string) string {
	t.Helper()
	if len(value) < 12 {
		t.Fatalf("%s has %d characters: too few to be looked for", what, len(value))
	}
	c.note(what, value)
	return value
}

// note remembers a secret that a peer of Penstock's saw or made; each has a name of its own.
func (c *canaries) note(what, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]string{}
	}
	for _, known := range c.known {
		if known == value {
			return
		}
	}
	if _, taken := c.known[what]; taken {
		what = fmt.Sprintf("%s, number %d", what, len(c.known))
	}
	c.known[what] = value
}

// found returns what is in a text, in clear or in a form that anybody can read: "admin's header as base64".
func (c *canaries) found(text string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for _, what := range slices.Sorted(maps.Keys(c.known)) {
		for form, parts := range formsOf(c.known[what]) {
			if slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(text, part) }) {
				all = append(all, what+" as "+form)
			}
		}
	}
	return all
}

// has reports whether there is a secret whose name begins so.
func (c *canaries) has(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for known := range c.known {
		if strings.HasPrefix(known, what) {
			return true
		}
	}
	return false
}

// formsOf are the forms in which a secret is looked for. A long one is cut into pieces: half a token in a log is too much, and what a
// database keeps may lie on two pages. The first part of a token that is signed is no secret: all of a key have it.
func formsOf(secret string) map[string][]string {
	pieces := []string{secret}
	if body := secret[strings.Index(secret, ".")+1:]; len(body) > 96 {
		pieces = []string{body[:32], body[len(body)/2 : len(body)/2+32], body[len(body)-32:]}
	}
	forms := map[string][]string{}
	for _, piece := range pieces {
		add := func(form, text string) {
			if form == "clear" || text != piece {
				forms[form] = append(forms[form], text)
			}
		}
		add("clear", piece)
		add("hex", hex.EncodeToString([]byte(piece)))
		add("hex in capitals", strings.ToUpper(hex.EncodeToString([]byte(piece))))
		add("a query", url.QueryEscape(piece))
		add("a path", url.PathEscape(piece))
		text, _ := json.Marshal(piece) // of a string: it cannot fail
		add("JSON", strings.Trim(string(text), `"`))
		for shift := range 3 { // it may stand anywhere in what is encoded
			for form, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
				text := e.EncodeToString([]byte(strings.Repeat("x", shift) + piece))
				first, last := (shift*8+5)/6, (shift+len(piece))*8/6 // characters that what is before or behind has a share in are left out
				forms[form] = append(forms[form], text[first:last])
			}
		}
	}
	return forms
}

// TestCanariesAreFound: the search finds a secret in each form and wherever it stands; it would be worth nothing if it did not.
func TestCanariesAreFound(t *testing.T) {
	const short, long = `c4nary+with/odd="signs"&more%`, "eyJhbGciOiJFUzI1NiJ9"
	var c canaries
	c.keep(t, "short", short)
	token := long + "." + strings.Repeat("0123456789abcdefghijklmnopqrstuv", 8)
	c.keep(t, "token", token)
	if got := c.found("nothing is here, and " + long + " is not secret"); len(got) > 0 {
		t.Errorf("found %q where nothing is", got)
	}
	encoded, err := json.Marshal(map[string]string{"header": short})
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{
		"clear": "x" + short + "y", "hex": hex.EncodeToString([]byte("x" + short)), "hex in capitals": strings.ToUpper(hex.EncodeToString([]byte(short))),
		"a query": "a=" + url.QueryEscape(short), "a path": "/" + url.PathEscape(short) + "/", "JSON": string(encoded),
		"base64": base64.StdEncoding.EncodeToString([]byte("user:" + short)), "base64url": base64.URLEncoding.EncodeToString([]byte("ab" + short + "cd")),
	} {
		if got := c.found(text); !slices.Contains(got, "short as "+form) {
			t.Errorf("%s: found %q", form, got)
		}
	}
	for shift := range 4 {
		if got := c.found(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("_", shift) + short + "tail"))); !slices.Contains(got, "short as base64") {
			t.Errorf("%d bytes on: found %q", shift, got)
		}
	}
	for name, text := range map[string]string{"half": token[:len(token)/2+20], "the end": token[len(token)-40:], "in base64": base64.RawStdEncoding.EncodeToString([]byte("a" + token))} {
		if len(c.found(text)) == 0 {
			t.Errorf("%s of a token is not found", name)
		}
	}
}
