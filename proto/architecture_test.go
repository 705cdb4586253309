// SPDX-License-Identifier: Apache-2.0

package proto_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestArchitecture: the contracts import nothing of ours, in tests neither. This module does not use sdk/kit/lawtest, where the law
// of the others stands, because then it would itself depend on what it must not.
func TestArchitecture(t *testing.T) {
	const ours, self = "github.com/penstockhq/penstock/", "github.com/penstockhq/penstock/proto"
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-test", "./...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	seen := false
	for line := range strings.Lines(string(out)) {
		// The go command writes a package that is recompiled for a test as "path [path.test]".
		importPath, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case importPath == self || strings.HasPrefix(importPath, self+"/") || strings.HasPrefix(importPath, self+"_test") || importPath == self+".test":
			seen = true
		case strings.HasPrefix(importPath, ours):
			t.Errorf("the contracts depend on %s: they import nothing of ours", importPath)
		}
	}
	if !seen {
		t.Errorf("go list names no package of %s", self)
	}
}
