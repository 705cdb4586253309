// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLines: each event is a line of JSON, files are rotated by size, and five older ones are kept.
func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, p := t.TempDir(), &plane{}
		c := config(filepath.Join(dir, "queue"), p)
		c.File, c.FileSize = filepath.Join(dir, "logs", "audit.jsonl"), 2000
		n := start(t, c)
		for i := range 100 {
			n.record(numbered(i, 1)...)
			time.Sleep(time.Second)
		}
		n.stop()
		files, err := filepath.Glob(c.File + "*")
		if err != nil || len(files) != 1+keepLines {
			t.Fatalf("%v, %v, log: %s", files, err, n.log)
		}
		total := 0
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil || len(text) > 2000 || len(text) == 0 {
				t.Errorf("%s has %d bytes, %v", name, len(text), err)
			}
			for line := range strings.Lines(string(text)) {
				var e struct {
					Node      string
					Tool      string
					Principal struct{ Name string }
					Name      string `json:"requested_name"`
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil || e.Node != "n1" || e.Tool != "ev/echo" || e.Principal.Name != "ada@example.com" {
					t.Errorf("%s: %s, %v", name, line, err)
				}
				total++
			}
		}
		last, _ := os.ReadFile(c.File)
		if total < 20 || !strings.Contains(string(last), "tool-00099") {
			t.Errorf("%d lines, the last file is %s", total, last)
		}
	})
}
