// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// server is what the root packages make.
type server interface {
	Run(ctx context.Context) error
}

// Part is one server of an environment, which can be stopped and started again.
type Part struct {
	// OpsURL is where health, readiness and metrics are served.
	OpsURL string

	e         *Env
	name      string
	telemetry *obs.Telemetry
	begin     func(t testing.TB, p *Part) (s server, ready <-chan struct{})
	cancel    context.CancelFunc // nil while it does not run
	ended     chan error
}

// newPart makes a part that begin makes anew at every start; ready, if not nil, is closed when it listens.
func (e *Env) newPart(t testing.TB, service, name, ops string, begin func(testing.TB, *Part) (server, <-chan struct{})) *Part {
	t.Helper()
	telemetry, stop, err := obs.Start(t.Context(), obs.Config{
		Service: "penstock-" + service, Version: Version, Instance: name, OTLPEndpoint: e.c.OTLP, LogLevel: "debug", LogWriter: e.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &Part{OpsURL: "http://" + ops, e: e, name: name, telemetry: telemetry, begin: begin}
	t.Cleanup(func() {
		p.Stop(t)
		ctx, cancel := detached(t)
		defer cancel()
		// A receiver that the test has ended already is no failure of the product.
		if err := stop(ctx); err != nil && e.c.OTLP == "" {
			t.Errorf("stop telemetry of %s: %v", name, err)
		}
	})
	return p
}

// detached returns a context for clean-ups, where the test's own has ended.
func detached(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(t.Context()), patience)
}

// Start starts the server and returns when it listens. An authserver is ready later, when it has heard of users and gateways
// from a control plane.
func (p *Part) Start(t testing.TB) {
	t.Helper()
	if p.cancel != nil {
		t.Fatalf("%s runs already", p.name)
	}
	s, ready := p.begin(t, p)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // it ends in Stop, which a clean-up calls
	ended := make(chan error, 1)
	p.cancel, p.ended = cancel, ended
	go func() { ended <- s.Run(ctx) }()
	if ready == nil {
		p.wait(t, "to listen", Health.alone)
	} else {
		select {
		case <-ready:
		case err := <-ended:
			p.cancel = nil
			t.Fatalf("%s ended at its start: %v", p.name, err)
		case <-time.After(patience):
			t.Fatalf("%s does not listen after %s; the log ends with\n%s", p.name, patience, p.e.Log.Tail(20))
		}
	}
	if p == p.e.ControlPlane {
		p.e.connect(t)
	}
}

// Stop stops the server cleanly and returns when it has ended. Stopping what does not run does nothing.
func (p *Part) Stop(t testing.TB) {
	t.Helper()
	if p.cancel == nil {
		return
	}
	p.cancel()
	p.cancel = nil
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("%s ended with %v", p.name, err)
		}
	case <-time.After(patience):
		t.Errorf("%s has not ended %s after it was told to; the log ends with\n%s", p.name, patience, p.e.Log.Tail(20))
	}
}

// Health is an answer of /readyz.
type Health struct {
	Status string
	Checks []struct {
		Name, Detail, Error string
		OK                  bool
	}

	Code int `json:"-"` // HTTP status; 0 if nobody answers
}

// Check returns what is said about one check: its detail or its error.
func (h Health) Check(name string) (text string, ok bool) {
	for _, c := range h.Checks {
		if c.Name == name {
			return c.Detail + c.Error, c.OK
		}
	}
	return "no such check", false
}

// alone reports whether everything passes that needs no other server.
func (h Health) alone() bool {
	for _, c := range h.Checks {
		if !c.OK && c.Name != "directory" {
			return false
		}
	}
	return len(h.Checks) > 0
}

// Ready asks /readyz.
func (p *Part) Ready(t testing.TB) Health {
	t.Helper()
	code, text := p.Get(t, "/readyz")
	h := Health{Code: code}
	if code != 0 {
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			t.Errorf("%s/readyz says %q: %v", p.OpsURL, text, err)
		}
	}
	return h
}

// Get asks a path of the ops port. The status is 0 if nobody answers.
func (p *Part) Get(t testing.TB, path string) (status int, body string) {
	t.Helper()
	return p.e.Get(t, p.OpsURL+path)
}

// Get asks a URL. The status is 0 if nobody answers.
func (e *Env) Get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := detached(t)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := e.HTTP.Do(request)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }() // it was read to its end
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("read %s: %v", url, err)
	}
	return response.StatusCode, string(text)
}

// WaitReady waits until /readyz says so.
func (p *Part) WaitReady(t testing.TB) {
	t.Helper()
	p.wait(t, "to be ready", func(h Health) bool { return h.Code == http.StatusOK })
}

// wait asks /readyz until the answer is good.
func (p *Part) wait(t testing.TB, event string, good func(Health) bool) {
	t.Helper()
	Until(t, p.name+" "+event, func() bool {
		select {
		case err := <-p.ended:
			p.cancel = nil
			t.Fatalf("%s ended at its start: %v", p.name, err)
		default:
		}
		return good(p.Ready(t))
	})
}

// Until polls for an event that nothing announces, and fails the test if it does not come.
func Until(t testing.TB, event string, happened func() bool) {
	t.Helper()
	UntilWithin(t, patience, event, happened)
}

// UntilWithin is [Until] for an event that takes long by its nature.
func UntilWithin(t testing.TB, limit time.Duration, event string, happened func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(limit)
	for !happened() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited %s for %s", limit, event)
		}
	}
}
