// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients/clientsfake"
	"github.com/penstockhq/penstock/authserver/internal/clients/remote"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

func newCache(t *testing.T, w *clientsfake.Web, change func(*remote.Config[string])) *remote.Cache[string] {
	t.Helper()
	c := remote.Config[string]{
		Parse: func(_ string, body []byte) (string, error) { return string(body), nil }, MaxBytes: 1 << 10, MaxEntries: 2, RootCAs: w.RootCAs, Now: time.Now,
	}
	change(&c)
	cache, err := remote.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

func request(t *testing.T, w *clientsfake.Web, raw string) remote.Request {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return remote.Request{URL: u, Policy: w.Egress}
}

// The document that was used longest ago makes room.
func TestCacheIsBounded(t *testing.T) {
	w := clientsfake.New(t, "client.example")
	c := newCache(t, w, func(*remote.Config[string]) {})
	get := func(i int) {
		t.Helper()
		id := w.URL("client.example", "/"+strconv.Itoa(i))
		w.Serve(id, strconv.Itoa(i))
		got, err := c.Get(t.Context(), request(t, w, id))
		if err != nil || got != strconv.Itoa(i) {
			t.Fatalf("got %q (%v)", got, err)
		}
	}
	for _, i := range []int{1, 2, 1, 3, 1, 2} {
		get(i)
	}
	for i, want := range map[int]int{1: 1, 2: 2, 3: 1} {
		if n := w.Requests(w.URL("client.example", "/"+strconv.Itoa(i))); n != want {
			t.Errorf("document %d was asked for %d times, want %d", i, n, want)
		}
	}
}

// A parser that panics leaves nobody waiting.
func TestPanicEndsTheFlight(t *testing.T) {
	w := clientsfake.New(t, "client.example")
	broken := true
	c := newCache(t, w, func(c *remote.Config[string]) {
		c.Parse = func(string, []byte) (string, error) {
			if broken {
				panic("broken")
			}
			return "good", nil
		}
	})
	id := w.URL("client.example", "/c")
	w.Serve(id, "x")
	func() {
		defer func() { _ = recover() }()
		_, _ = c.Get(t.Context(), request(t, w, id))
		t.Error("no panic")
	}()
	broken = false
	if got, err := c.Get(t.Context(), request(t, w, id)); err != nil || got != "good" {
		t.Errorf("got %q (%v)", got, err)
	}
}

// Whoever asked first and left does not take the document from those who wait for it.
func TestCallersThatLeave(t *testing.T) {
	w := clientsfake.New(t, "client.example")
	c := newCache(t, w, func(*remote.Config[string]) {})
	id := w.URL("client.example", "/c")
	w.Serve(id, "x")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := c.Get(gone, request(t, w, id)); err != nil || got != "x" {
		t.Errorf("the first: %q (%v)", got, err)
	}
}

func TestAuthorityIsChecked(t *testing.T) {
	w := clientsfake.New(t, "client.example")
	for name, c := range map[string]*remote.Cache[string]{
		"unknown authority": newCache(t, w, func(c *remote.Config[string]) { c.RootCAs = clientsfake.New(t).RootCAs }),
		"another name":      newCache(t, clientsfake.New(t, "other.example"), func(*remote.Config[string]) {}),
	} {
		id := w.URL("client.example", "/c")
		w.Serve(id, "x")
		if _, err := c.Get(t.Context(), request(t, w, id)); err == nil {
			t.Errorf("%s: fetched", name)
		}
	}
	if n := w.Requests(w.URL("client.example", "/c")); n != 0 {
		t.Errorf("%d requests were answered", n)
	}
}

func TestBudgetIsAFault(t *testing.T) {
	w := clientsfake.New(t, "client.example")
	var told []error
	c := newCache(t, w, func(c *remote.Config[string]) {
		c.Fetched = func(_ context.Context, _ string, err error) { told = append(told, err) }
	})
	var err error
	for range 6 {
		_, err = c.Get(t.Context(), request(t, w, w.URL("client.example", "/none")))
	}
	if f := fault.From(err); f.Kind != fault.Exhausted || f.Reason != remote.ReasonBudget || f.Retry != 12*time.Second {
		t.Errorf("got %v", err)
	}
	if len(told) != 5 || errors.Is(told[4], err) {
		t.Errorf("told of %d requests, want the 5 that were made", len(told))
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := remote.New(remote.Config[string]{}); err == nil {
		t.Error("an empty configuration is taken")
	}
}
