// SPDX-License-Identifier: Apache-2.0

package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type sink struct {
	mu      sync.Mutex
	fail    bool
	reports []Report
}

func (s *sink) SendReport(_ context.Context, r Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return errors.New("control plane away")
	}
	s.reports = append(s.reports, r)
	return nil
}

// ST-3: the last use reaches the control plane to the minute, once, and is not lost while that is away.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{fail: true}
		r := New(out, slog.New(slog.DiscardHandler), time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()

		start := time.Now()
		r.TokenUsed("ada")
		r.ConnectionChecked("shared", "")
		r.ConnectionChecked("shared", "UPSTREAM_UNREACHABLE")
		r.ConnectionChecked("shared", "UPSTREAM_UNREACHABLE")
		time.Sleep(interval + time.Second)
		synctest.Wait()
		out.mu.Lock()
		out.fail = false
		out.mu.Unlock()
		time.Sleep(2 * interval)
		synctest.Wait()

		want := []Report{{
			TokenUses:   map[string]time.Time{"ada": start.Truncate(time.Minute)},
			Connections: map[string]Check{"shared": {Time: start, Reason: "UPSTREAM_UNREACHABLE"}},
		}}
		if diff := cmp.Diff(want, out.reports); diff != "" {
			t.Errorf("reports (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
