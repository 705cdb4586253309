// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClientScenarios(t *testing.T) {
	dir := t.TempDir()
	s := &Suite{program: filepath.Join(dir, "dist/index.js")}
	for name, text := range map[string]string{
		"full":  "server: [ping]\nclient: [tools_call, auth/x]\nnot_scored:\n- {scenario: a, leg: client, reason: extension}\n- {scenario: b, leg: server, reason: pending}\n",
		"empty": "server: [ping]\n",
		"wrong": "[\n",
	} {
		path := filepath.Join(dir, "requirements", name+".yaml")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.ClientScenarios("full")
	if diff := cmp.Diff([]string{"tools_call", "auth/x", "a"}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for _, set := range []string{"empty", "wrong", "none"} {
		if _, err := s.ClientScenarios(set); err == nil {
			t.Errorf("%s: want an error", set)
		}
	}
}
