// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// D-62: each turn is told once, and again as an error after a day.
func TestWatchSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		var silent atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- watchSilence(ctx, slog.New(slog.NewTextHandler(&out, nil)), func() time.Duration { return time.Duration(silent.Load()) })
		}()
		for _, d := range []time.Duration{0, time.Minute, 61 * time.Second, 2 * time.Minute, 25 * time.Hour, 26 * time.Hour, 0, 0, 2 * time.Minute} {
			silent.Store(int64(d))
			time.Sleep(time.Minute)
		}
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var levels []string
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, "level=")
			level, _, _ := strings.Cut(rest, " ")
			levels = append(levels, level)
		}
		if got := strings.Join(levels, " "); got != "WARN ERROR INFO WARN" {
			t.Errorf("told %s:\n%s", got, out.String())
		}
	})
}
