// SPDX-License-Identifier: Apache-2.0

package limit_test

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/limit"
)

// TestLongKeys: they are told apart, and take no more memory than short ones.
func TestLongKeys(t *testing.T) {
	l, err := limit.New(limit.Config{Rates: map[string]limit.Rate{limit.TokenClient: {PerMinute: 1, Burst: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 2000)
	for _, key := range []string{long + "a", long + "b"} {
		if _, ok := l.Allow(t.Context(), limit.TokenClient, key); !ok {
			t.Error("two long keys are one")
		}
		if _, ok := l.Allow(t.Context(), limit.TokenClient, key); ok {
			t.Error("a long key is forgotten")
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 10_000
	for i := range n {
		l.Allow(t.Context(), limit.TokenClient, long+strconv.Itoa(i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 700 {
		t.Errorf("a key of 2 kB takes %d bytes", each)
	}
	runtime.KeepAlive(l)
}
