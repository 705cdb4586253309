// SPDX-License-Identifier: Apache-2.0

package embed_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/sdk/kit/embedding"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// near asks how near the texts of a set are to a query; nil if words alone have to rank.
func (w *world) near(t *testing.T, s *embed.Set, n int, query string) []float32 {
	t.Helper()
	f := w.Near(t.Context(), s, nil, query)
	if f == nil {
		return nil
	}
	out := make([]float32, n)
	for i := range out {
		var known bool
		if out[i], known = f(i); !known {
			out[i] = -2
		}
	}
	return out
}

// TestNear: vectors are made in the background, and a search before has none.
func TestNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, end := start(t, &endpoint{slow: time.Second})
		defer end()
		s := w.Want([]string{"a cat", "a dog"})
		if got := w.near(t, s, 2, "cats"); got != nil {
			t.Errorf("before there are vectors: %v", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		w.endpoint.set(func(e *endpoint) { e.slow = 0 })
		if diff := cmp.Diff([]float32{1, 0}, w.near(t, s, 2, "cats")); diff != "" {
			t.Errorf("near (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]int64{"pending": 1, "reranked": 1}, w.outcomes(t)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[string]int64{"ready": 2, "waiting": 0, "refused": 0}, w.points(t, obs.MetricSearchVectors, "state")); diff != "" {
			t.Errorf("vectors (-want +got):\n%s", diff)
		}
		if w.near(t, w.Want(nil), 0, "cats") != nil {
			t.Error("a set without texts is ready")
		}
	})
}

// TestRevision: what a new index has in common with one before is not embedded again, even if the old one is gone, and what nobody has
// goes after an hour.
func TestRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, end := start(t, &endpoint{})
		defer end()
		func() { // an index that goes when a revision comes
			first := w.Want([]string{"a", "b", "c"})
			synctest.Wait()
			if got, _ := w.endpoint.took(); !cmp.Equal(got, []string{"a", "b", "c"}) {
				t.Fatalf("embedded %q", got)
			}
			runtime.KeepAlive(first)
		}()
		runtime.GC()
		time.Sleep(50 * time.Minute) // sweeps
		func() {
			second := w.Want([]string{"a", "b changed", "c"})
			synctest.Wait()
			if got, _ := w.endpoint.took(); !cmp.Equal(got, []string{"b changed"}) {
				t.Errorf("the next revision embedded %q", got)
			}
			time.Sleep(3 * time.Hour)
			synctest.Wait()
			if diff := cmp.Diff(map[string]int64{"ready": 3, "waiting": 0, "refused": 0}, w.points(t, obs.MetricSearchVectors, "state")); diff != "" {
				t.Errorf("vectors while they are used (-want +got):\n%s", diff)
			}
			if w.near(t, second, 3, "cats") == nil {
				t.Error("a set that is kept lost its vectors")
			}
			runtime.KeepAlive(second)
		}()
		runtime.GC()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if got := w.points(t, obs.MetricSearchVectors, "state")["ready"]; got != 0 {
			t.Errorf("%d vectors that nobody has", got)
		}
	})
}

// TestDownAtStart: searches go on by words, the endpoint is asked ever more seldom, and vectors are there soon after it is.
func TestDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, end := start(t, &endpoint{down: errors.New("connection refused")})
		defer end()
		s := w.Want([]string{"a cat", "a dog"})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if w.near(t, s, 2, "cats") != nil {
			t.Error("ranked by vectors that cannot be there")
		}
		if _, calls := w.endpoint.took(); calls < 5 || calls > 40 {
			t.Errorf("%d requests in ten minutes", calls)
		}
		if lines := w.log.lines(); lines < 1 || lines > 3 {
			t.Errorf("%d lines in the log after ten minutes", lines)
		}
		w.endpoint.set(func(e *endpoint) { e.down = nil })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if w.near(t, s, 2, "cats") == nil {
			t.Error("no vectors two minutes after the endpoint came")
		}
	})
}

// TestQueryFails: whatever is wrong, a search waits for the timeout at most, and after three failures not at all for half a minute.
func TestQueryFails(t *testing.T) {
	for name, row := range map[string]struct {
		change  func(*endpoint)
		outcome string
		takes   time.Duration
	}{
		"silent":         {func(e *endpoint) { e.slow = time.Hour }, "timeout", timeout},
		"refused":        {func(e *endpoint) { e.down = errors.New("connection refused") }, "failed", 0},
		"401":            {func(e *endpoint) { e.down = &embedding.StatusError{Code: 401} }, "failed", 0},
		"another length": {func(e *endpoint) { e.numbers = 3 }, "failed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, end := start(t, &endpoint{})
				defer end()
				s := w.Want([]string{"a cat", "a dog"})
				synctest.Wait()
				w.endpoint.set(row.change)
				for range 3 {
					began := time.Now()
					if w.near(t, s, 2, "cats") != nil || time.Since(began) != row.takes {
						t.Errorf("searched by vectors, or after %s, want %s", time.Since(began), row.takes)
					}
				}
				_, _ = w.endpoint.took()
				for range 5 {
					began := time.Now()
					if w.near(t, s, 2, "cats") != nil || time.Since(began) != 0 {
						t.Errorf("waited %s for an endpoint that failed three times", time.Since(began))
					}
				}
				if _, calls := w.endpoint.took(); calls != 0 {
					t.Errorf("%d requests to an endpoint that failed three times", calls)
				}
				if diff := cmp.Diff(map[string]int64{row.outcome: 3, "paused": 5}, w.outcomes(t)); diff != "" {
					t.Errorf("outcomes (-want +got):\n%s", diff)
				}
				if n := w.log.lines(); n != 1 {
					t.Errorf("%d lines in the log, want one", n)
				}
				w.endpoint.set(func(e *endpoint) { e.slow, e.down, e.numbers = 0, nil, 0 })
				time.Sleep(31 * time.Second)
				if w.near(t, s, 2, "cats") == nil {
					t.Error("not tried again")
				}
			})
		})
	}
}

// TestQueryGivenUp: clients that go away say nothing about the endpoint.
func TestQueryGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, end := start(t, &endpoint{})
		defer end()
		s := w.Want([]string{"a cat", "a dog"})
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 10 {
			if w.Near(ctx, s, nil, "cats") != nil {
				t.Error("a vector for nobody")
			}
		}
		if w.near(t, s, 2, "cats") == nil {
			t.Errorf("paused by clients that went away: %v", w.outcomes(t))
		}
		if n := w.log.lines(); n != 0 {
			t.Errorf("%d lines in the log", n)
		}
	})
}

// TestRefusedText: a text that the endpoint does not take keeps no other from its vector, and no search waiting for ever.
func TestRefusedText(t *testing.T) {
	for _, code := range []int{400, 413, 422, 500} {
		synctest.Test(t, func(t *testing.T) {
			w, end := start(t, &endpoint{refuses: "odd", refusal: &embedding.StatusError{Code: code}})
			defer end()
			s := w.Want([]string{"a cat", "an odd dog", "a bird"})
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if diff := cmp.Diff([]float32{1, -2, 0}, w.near(t, s, 3, "cats")); diff != "" {
				t.Errorf("%d: near (-want +got):\n%s", code, diff)
			}
		})
	}
}

// TestHiddenText: a vector that is not there yet keeps only those waiting who may see its text.
func TestHiddenText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, end := start(t, &endpoint{})
		defer end()
		w.Want([]string{"a cat", "a dog"})
		synctest.Wait()
		w.endpoint.set(func(e *endpoint) { e.slow = time.Minute })
		s := w.Want([]string{"a cat", "a bird", "a dog"})
		synctest.Wait() // the bird is on its way
		w.endpoint.set(func(e *endpoint) { e.slow = 0 })
		if w.Near(t.Context(), s, nil, "cats") != nil {
			t.Error("a vector that is not there was not waited for")
		}
		if w.Near(t.Context(), s, func(i int) bool { return i != 1 }, "cats") == nil {
			t.Error("a text that is not kept is waited for")
		}
	})
}

// TestBatches: requests are bounded, in texts and in bytes.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &endpoint{}
		w, end := start(t, e)
		defer end()
		var texts []string
		for i := range 500 {
			texts = append(texts, fmt.Sprintf("%d %s", i, strings.Repeat("x", 2000)))
		}
		s := w.Want(texts)
		synctest.Wait()
		got, calls := e.took()
		if len(got) != 500 || calls < 500/16 || calls > 60 {
			t.Errorf("%d texts in %d requests", len(got), calls)
		}
		for _, text := range got {
			if len(text) > 1024 {
				t.Fatalf("a text of %d bytes", len(text))
			}
		}
		if w.near(t, s, 1, "cats") == nil {
			t.Error("not ready")
		}
		many := make([]string, 100_001)
		for i := range many {
			many[i] = fmt.Sprint(i)
		}
		if w.Want(many) != nil || w.near(t, nil, 0, "cats") != nil {
			t.Error("more texts than are kept have vectors")
		}
	})
}

// TestNewRefuses: nothing of the configuration may be missing.
func TestNewRefuses(t *testing.T) {
	if _, err := embed.New(embed.Config{}); err == nil {
		t.Error("vectors of nothing")
	}
}
