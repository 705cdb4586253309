// SPDX-License-Identifier: Apache-2.0

package redact_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/dispatch/redact"
)

// BenchmarkResult is what redaction costs a result, in MB/s.
func BenchmarkResult(b *testing.B) {
	line := "The quick brown fox jumps over the lazy dog, and 12 others do so at 10:45. "
	text := strings.Repeat(line, 1<<20/len(line))
	key := strings.Repeat(line, 100) + "sk-abcdefghijklmnopqrstuvwx "
	email := strings.Repeat(line, 4) + "ada@example.com "
	for _, bc := range []struct {
		name, text string
		patterns   []string
	}{
		{"literal prefix, no match", text, []string{`sk-[A-Za-z0-9]{20,}`}},
		{"literal prefix, matches", strings.Repeat(key, 1<<20/len(key)), []string{`sk-[A-Za-z0-9]{20,}`}},
		{"no prefix, no match", text, []string{`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`}},
		{"no prefix, matches", strings.Repeat(email, 1<<20/len(email)), []string{`[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}`}},
		{"32 literals, no match", text, literals()},
	} {
		b.Run(bc.name, func(b *testing.B) {
			raw := []byte(`{"content":[{"type":"text","text":"` + bc.text + `"}]}`)
			used := patterns(bc.patterns...)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := redact.New(used, time.Now).Result(raw, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func literals() (out []string) {
	for i := range 32 {
		out = append(out, "token"+string(rune('A'+i%26))+strings.Repeat("x", i)+"-[0-9]+")
	}
	return out
}
