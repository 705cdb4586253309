// SPDX-License-Identifier: Apache-2.0

package lawtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"
)

// Check fails the test for every import and every package name of one module that the dependency law forbids. The test runs in
// the module's root directory; module is the name of that directory, as "controlplane". Each rule is a subtest, so the name
// of a failure names the rule; each line names the package, the import and the way out. It runs the go command once.
func Check(t *testing.T, module string) {
	t.Helper()
	pkgs, err := list(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	pkgs = slices.DeleteFunc(pkgs, func(p pkg) bool { return p.path() != module && !strings.HasPrefix(p.path(), module+"/") })
	for _, r := range rules() {
		if !slices.ContainsFunc(r.From, func(pattern string) bool { return topLevel(pattern) == module }) {
			continue
		}
		report(t, r.Name, r.violations(pkgs))
	}
	if h, ok := houses()[module]; ok {
		report(t, "3 rooms", h.violations(module, pkgs))
	}
	report(t, "7 names", nameViolations(pkgs))
}

// report makes one subtest of a rule.
func report(t *testing.T, name string, violations []string) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		for _, v := range violations {
			t.Error(v)
		}
	})
}

// violations returns a sentence for each forbidden import.
func (r rule) violations(pkgs []pkg) []string {
	var found []string
	for _, p := range pkgs {
		if !matches(r.From, p.path()) || matches(r.Except, p.path()) {
			continue
		}
		imports := p.Imports
		if r.Tests {
			imports = slices.Concat(imports, p.TestImports, p.XTestImports)
		}
		for _, i := range unique(imports) {
			if matches(r.Deny, short(i)) && !matches(r.Allow, short(i)) {
				found = append(found, fmt.Sprintf("%s imports %s: %s", p.path(), short(i), r.Why))
			}
		}
	}
	return found
}

// violations returns a sentence for each import of a room by somebody who may not see it.
func (h house) violations(module string, pkgs []pkg) []string {
	var found []string
	for _, p := range pkgs {
		for _, i := range unique(p.Imports) {
			room, ok := roomOf(module, short(i))
			if !ok || h.maySee(module, p.path(), room) {
				continue
			}
			found = append(found, fmt.Sprintf("%s imports room %s: only the root package and its family may; declare the interface you need and let the root fill it, or draw the arrow in sdk/kit/lawtest/law.go",
				p.path(), room))
		}
	}
	return found
}

// maySee reports whether the package may import a room of its own module.
func (h house) maySee(module, importer, room string) bool {
	if importer == module { // the composition root
		return true
	}
	if own, ok := roomOf(module, importer); ok {
		return own == room || slices.Contains(h.Open, room) || slices.Contains(h.Arrows[own], room)
	}
	command, ok := strings.CutPrefix(importer, module+"/cmd/")
	return ok && slices.Contains(h.Doors[command], room)
}

// roomOf returns the room that a package belongs to: "follow" for "dataplane/internal/follow/followfake".
func roomOf(module, importPath string) (string, bool) {
	rest, ok := strings.CutPrefix(importPath, module+"/internal/")
	if !ok {
		return "", false
	}
	room, _, _ := strings.Cut(rest, "/")
	return room, true
}

// nameViolations returns a sentence for each package name that is banned, or that two packages of the module share. Generated
// packages of the contracts are named by their schema, and commands are all called main.
func nameViolations(pkgs []pkg) []string {
	var found []string
	seen := map[string]string{}
	for _, p := range pkgs {
		if p.Name == "main" || strings.HasPrefix(p.path(), "proto/gen/") {
			continue
		}
		if slices.Contains(bannedNames(), p.Name) {
			found = append(found, fmt.Sprintf("%s is called %s: name it after the one thing it owns", p.path(), p.Name))
		}
		if other, taken := seen[p.Name]; taken {
			found = append(found, fmt.Sprintf("%s and %s are both called %s: names are unique within a module", other, p.path(), p.Name))
		}
		seen[p.Name] = p.path()
	}
	return found
}

// matches reports whether one of the patterns matches the path, see [rule].
func matches(patterns []string, importPath string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, below := strings.CutSuffix(pattern, "/...")
		if !below {
			return globs(pattern, importPath)
		}
		elements := strings.Split(importPath, "/")
		n := strings.Count(prefix, "/") + 1
		return len(elements) >= n && globs(prefix, strings.Join(elements[:n], "/"))
	})
}

// globs is [path.Match]; a malformed pattern in the table is a bug of the table and matches nothing, which its test notices.
func globs(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok
}

// topLevel returns the module that a pattern of our packages speaks of.
func topLevel(pattern string) string {
	first, _, _ := strings.Cut(pattern, "/")
	return first
}

// unique returns the paths sorted, each once.
func unique(paths []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(paths)))
}
