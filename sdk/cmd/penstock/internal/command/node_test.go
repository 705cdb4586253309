// SPDX-License-Identifier: Apache-2.0

package command

import (
	"strings"
	"testing"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// A join token stands alone on standard output, who is banned is shown, and what is no role or life is an error here.
func TestNodeCommands(t *testing.T) {
	w := newWorld(t)
	made := w.run(t, "node", "join-token", "n1", "--region", "eu", "--expires", "2d")
	made.want(t, exitOK, "pjt_node.eu.n1", "join token for spiffe://penstock.internal/region/eu/node/n1, good once until")
	if strings.Count(made.out, "\n") != 1 {
		t.Errorf("standard output is %q", made.out)
	}
	w.run(t, "node", "join-token", "a", "--role", "authserver").want(t, exitOK, "pjt_authserver..a", "spiffe://penstock.internal/authserver/a")
	w.run(t, "node", "ban", "n1", "--region", "eu", "--reason", "stolen").want(t, exitOK, "spiffe://penstock.internal/region/eu/node/n1 is banned", "")
	w.api.Nodes = []*adminv1.Node{{Name: "n1", Region: "eu", Banned: true}}
	w.run(t, "nodes").want(t, exitOK, "n1    eu      banned", "")
	for _, args := range [][]string{
		{"node", "join-token"}, {"node", "join-token", "n", "--role", "relay"}, {"node", "join-token", "n", "--expires", "soon"}, {"node", "ban"},
	} {
		if got := w.run(t, args...); got.code == exitOK || strings.Contains(got.out, "pjt_") {
			t.Errorf("%q: exit code %d, %s", args, got.code, got.out)
		}
	}
}
