// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// oneLine is what a message looks like that had to become one line: outside of strings, and inside there are none, line
// breaks are spaces (M-9).
func oneLine(raw string) string { return strings.NewReplacer("\r", " ", "\n", " ").Replace(raw) }

// asEvent is what a message looks like that came in an event: its lines are joined with line feeds.
func asEvent(raw string) string { return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(raw) }

// perHop reports whether a _meta member belongs to one hop: made anew, replaced or removed by the node (M-9, M-61).
func perHop(key string) bool {
	return strings.HasPrefix(key, "io.modelcontextprotocol/") || strings.HasPrefix(key, "io.penstock/") || key == "progressToken"
}

// lasting lists the members of an object as they are written, in order, without the named ones. Of _meta it lists what does
// not belong to a hop; a _meta in which nothing is left counts as none.
func lasting(t prober, raw string, named []string) (out []string) {
	t.Helper()
	for _, p := range partsOf(t, raw) {
		switch {
		case slices.Contains(named, p.key):
		case p.key == "_meta":
			for _, inner := range partsOf(t, p.value) {
				if !perHop(inner.key) {
					out = append(out, "_meta > "+inner.text)
				}
			}
		default:
			out = append(out, p.text)
		}
	}
	return out
}

// sameObject checks that an object came through: what is not named has its bytes and its place. Where there was nothing to
// edit but what the node puts in front, the bytes between the members are the same too.
func sameObject(t prober, what, want, got string, named ...string) {
	t.Helper()
	if d := cmp.Diff(lasting(t, want, named), lasting(t, got, named)); d != "" {
		t.Fatalf("%s: other bytes than the named ones changed (-sent +got):\n%s\nsent %s\ngot  %s", what, d, want, got)
	}
	parts := partsOf(t, want)
	edited := slices.ContainsFunc(parts, func(p part) bool { return p.key == "_meta" || slices.Contains(named, p.key) })
	if tail := strings.TrimSpace(want)[1:]; !edited && len(parts) > 0 && !strings.HasSuffix(got, tail) {
		t.Fatalf("%s: the bytes between the members changed\nsent %s\ngot  %s", what, want, got)
	}
}

// same checks that bytes came through as they are.
func same(t prober, what, want, got string) {
	t.Helper()
	if want != got {
		t.Fatalf("%s changed\nsent %s\ngot  %s", what, want, got)
	}
}
