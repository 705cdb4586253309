// SPDX-License-Identifier: Apache-2.0

package session

import "testing"

func TestAsker(t *testing.T) {
	for _, tc := range []struct{ id, node string }{
		{`"n1.7"`, "n1"},
		{`"eu-1.node.12"`, "eu-1.node"},
		{`"n1."`, ""},
		{`".7"`, ""},
		{`"n1.7x"`, ""},
		{`"n1"`, ""},
		{`"n 1.7"`, ""},
		{`"n\u0031.7"`, ""},
		{`7.1`, ""},
		{`7`, ""},
		{`"`, ""},
		{`""`, ""},
		{``, ""},
		{`"../x.7"`, ""},
	} {
		if got := Asker([]byte(tc.id)); got != tc.node {
			t.Errorf("Asker(%s) = %q, want %q", tc.id, got, tc.node)
		}
	}
}
