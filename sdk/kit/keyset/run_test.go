// SPDX-License-Identifier: Apache-2.0

package keyset

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// handler answers requests in memory, so that time can pass.
type handler http.HandlerFunc

// RoundTrip implements [http.RoundTripper].
func (h handler) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h(w, r)
	return w.Result(), nil
}

// JW-7, JW-10: keys are fetched again when they are stale and after 15 minutes at most; after a failure sooner; on demand at once.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer, asked atomic.Int64
		var header atomic.Value
		answer.Store(http.StatusOK)
		header.Store("")
		s, err := New(Config{Source: Source{Issuer: "https://idp.example", URL: "https://idp.example/keys"}})
		if err != nil {
			t.Fatal(err)
		}
		text := set(jwk(t, "a", "ES256", nil))
		s.client = &http.Client{Transport: handler(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.Header().Set("Cache-Control", header.Load().(string)) //nolint:forcetypeassert // stored above
			w.WriteHeader(int(answer.Load()))
			_, _ = w.Write([]byte(text))
		})}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		within := func(what string, d time.Duration, least, most int64) {
			t.Helper()
			before := asked.Load()
			time.Sleep(d)
			synctest.Wait()
			if n := asked.Load() - before; n < least || n > most {
				t.Errorf("%s: %d fetches in %s, want %d to %d", what, n, d, least, most)
			}
		}
		synctest.Wait()
		within("nothing said of freshness", time.Hour, 4, 5)
		header.Store("max-age=60") // clamped to 5 minutes
		within("from then on", 15*time.Minute, 1, 1)
		within("soon stale", time.Hour, 12, 14)
		answer.Store(http.StatusBadGateway)
		within("in vain", 5*time.Minute, 0, 8)
		within("in vain, again", time.Hour, 59, 70)
		answer.Store(http.StatusOK)
		within("back", time.Minute, 1, 2)
		s.Refresh()
		within("on demand", time.Second, 1, 1)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		before := asked.Load()
		if k, err := s.Key(t.Context(), "b", "ES256"); k != nil || err != nil || asked.Load() != before {
			t.Errorf("after the end: %v, %v, %d fetches", k, err, asked.Load()-before)
		}
	})
}

// JW-6: a server that does not answer is given up after 5 s.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(Config{Source: Source{Issuer: "https://idp.example"}})
		if err != nil {
			t.Fatal(err)
		}
		s.client = &http.Client{Transport: handler(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })}
		began := time.Now()
		if k, err := s.Key(t.Context(), "a", "ES256"); k != nil || err == nil || time.Since(began) > fetchTimeout {
			t.Errorf("%v, %v after %s", k, err, time.Since(began))
		}
		s.fetches.Wait()
	})
}
