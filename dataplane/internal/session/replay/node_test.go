// SPDX-License-Identifier: Apache-2.0

package replay_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
)

// The ids of events name their node, whatever characters its name has (M-93).
func TestNodeOf(t *testing.T) {
	for _, node := range []string{"n1", "node-7", "a.b-c_d", "-1", "x-2.y"} {
		s := &replay.Shelf{Node: node}
		tape := s.Open(false, true)
		prime := string(tape.Prime())
		id, _, _ := strings.Cut(strings.SplitN(prime, "id: ", 2)[1], "\n")
		if got := replay.NodeOf(id); got != node {
			t.Errorf("NodeOf(%q) = %q, want %q", id, got, node)
		}
		if _, ok := s.Find(id); !ok {
			t.Errorf("%q is not found where it was made", id)
		}
	}
	for _, id := range []string{"", "-", "1-1", "a.1-1", "n.a.1", "n.a.1-", "n.a.1-01", "n.a.1-x", ".a.1-1"} {
		if got := replay.NodeOf(id); got != "" {
			t.Errorf("NodeOf(%q) = %q, want none", id, got)
		}
	}
}
