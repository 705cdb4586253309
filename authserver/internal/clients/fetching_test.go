// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver/internal/clients"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// CIMD-7: how long a document is kept.
func TestDocumentsAreKept(t *testing.T) {
	for name, tc := range map[string]struct {
		header map[string]string
		fresh  time.Duration
	}{
		"no header":         {nil, 5 * time.Minute},
		"an hour":           {map[string]string{"Cache-Control": "public, max-age=3600"}, time.Hour},
		"an hour, half old": {map[string]string{"Cache-Control": "max-age=3600", "Age": "1800"}, 30 * time.Minute},
		"a second":          {map[string]string{"Cache-Control": "max-age=1"}, 5 * time.Minute},
		"a year":            {map[string]string{"Cache-Control": "max-age=31536000"}, 24 * time.Hour},
		"no-store":          {map[string]string{"Cache-Control": "no-store, max-age=3600"}, 5 * time.Minute},
		"nonsense":          {map[string]string{"Cache-Control": "max-age=-5", "Expires": "0"}, 5 * time.Minute},
		"expires":           {map[string]string{"Expires": "two hours"}, 2 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			id := k.web.URL("client.example", "/c.json")
			k.web.Handle(id, func(w http.ResponseWriter, _ *http.Request) {
				for key, v := range tc.header {
					if v == "two hours" {
						v = k.clock().Add(2*time.Hour + time.Second).Format(http.TimeFormat)
					}
					w.Header().Set(key, v)
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(document(id, "")))
			})
			for _, step := range []struct {
				wait time.Duration
				want int
			}{{0, 1}, {tc.fresh - 2*time.Second, 1}, {4 * time.Second, 2}} {
				k.pass(step.wait)
				if _, err := k.Client(k.ctx, id); err != nil {
					t.Fatal(err)
				}
				if n := k.web.Requests(id); n != step.want {
					t.Errorf("asked %d times, want %d", n, step.want)
				}
			}
		})
	}
}

// CIMD-7: a stale document is for those who have consented, for a day, and if none can be had.
func TestStaleDocuments(t *testing.T) {
	k := newKit(t)
	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, ""))
	if _, err := k.Client(k.ctx, id); err != nil {
		t.Fatal(err)
	}
	k.web.Handle(id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	k.pass(6 * time.Minute)
	_, err := k.Client(k.ctx, id)
	refused(t, err, fault.Invalid, clients.ReasonDocument)
	if c, err := k.ForConsented(k.ctx, id); err != nil || c.ID != id {
		t.Errorf("with consent: %v", err)
	}
	k.pass(24*time.Hour - 2*time.Minute)
	if _, err := k.ForConsented(k.ctx, id); err != nil {
		t.Errorf("a minute before a day is over: %v", err)
	}
	k.pass(2 * time.Minute)
	_, err = k.ForConsented(k.ctx, id)
	refused(t, err, fault.Invalid, clients.ReasonDocument)

	// One that can be had and says something else is no fetch failure.
	k.web.Serve(id, document(id, ""))
	if _, err := k.Client(k.ctx, id); err != nil {
		t.Fatal(err)
	}
	k.pass(6 * time.Minute)
	k.web.Serve(id, document(id, `,"client_secret":"x"`))
	_, err = k.ForConsented(k.ctx, id)
	refused(t, err, fault.Invalid, clients.ReasonDocument)
	// What it said before is not good any more, even if the server is away then.
	k.web.Handle(id, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	_, err = k.ForConsented(k.ctx, id)
	refused(t, err, fault.Invalid, clients.ReasonDocument)
}

// CIMD-15: the fingerprint is over what a person agreed to.
func TestDocumentFingerprint(t *testing.T) {
	k := newKit(t)
	id := k.web.URL("client.example", "/c.json")
	fingerprint := func(text string) [32]byte {
		t.Helper()
		k.pass(6 * time.Minute)
		k.web.Serve(id, text)
		c, err := k.Client(k.ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		return c.Fingerprint
	}
	first := fingerprint(document(id, ""))
	if fingerprint(document(id, `,"logo_uri":"https://c.example/l","scope":"mcp"`)) != first {
		t.Error("a logo makes another client")
	}
	for _, text := range []string{
		strings.Replace(document(id, ""), `"C"`, `"D"`, 1), strings.Replace(document(id, ""), "/callback", "/cb", 1),
		document(id, `,"jwks_uri":"https://keys.example/j"`), document(id, `,"jwks":{"keys":[]}`),
		document(id, `,"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://keys.example/j"`),
	} {
		if fingerprint(text) == first {
			t.Errorf("%s is the same client", text)
		}
	}
}

// CIMD-16 and AZ-14.
func TestDocumentsLeaveNoRows(t *testing.T) {
	k := newKit(t, func(c *clients.Config) { c.TrustedClients = []string{"https://x.example/c.json"} })
	id := k.web.URL("client.example", "/c.json")
	k.web.Serve(id, document(id, ""))
	for range 1000 {
		if c, err := k.Client(k.ctx, id); err != nil || c.Trusted {
			t.Fatal(c, err)
		}
	}
	if n, err := k.store.UnusedClients(t.Context()); err != nil || n != 0 {
		t.Errorf("%d clients are stored (%v)", n, err)
	}
	if n := k.web.Requests(id); n != 1 {
		t.Errorf("asked %d times", n)
	}
	trusting := newKit(t, func(c *clients.Config) {
		c.TrustedClients, c.Egress, c.RootCAs = []string{id}, k.web.Egress, k.web.RootCAs
	})
	if c, err := trusting.Client(trusting.ctx, id); err != nil || !c.Trusted {
		t.Errorf("got %+v (%v)", c, err)
	}
}

// CIMD-8: failures are bounded by the rate of requests. The page has 429.
func TestFetchBudget(t *testing.T) {
	k := newKit(t)
	bad := k.web.URL("client.example", "/bad")
	for i := range 100 {
		_, err := k.Client(k.ctx, bad)
		if i < 5 {
			refused(t, err, fault.Invalid, clients.ReasonDocument)
			continue
		}
		refused(t, err, fault.Exhausted, clients.ReasonFetchBudget)
		if f := fault.From(err); f.Retry <= 0 {
			t.Fatalf("no time to wait: %v", f)
		}
	}
	if n := k.web.Requests(bad); n != 5 {
		t.Errorf("the server saw %d requests, want 5", n)
	}
	k.pass(12 * time.Second)
	_, err := k.Client(k.ctx, bad)
	refused(t, err, fault.Invalid, clients.ReasonDocument)
	if !errors.As(err, new(*fault.Fault)) || k.web.Requests(bad) != 6 {
		t.Errorf("asked %d times after 12 s, want 6", k.web.Requests(bad))
	}

	// Other documents of the host have 30 a minute, and one that was good before is not among them.
	known := k.web.URL("client.example", "/known")
	k.web.Serve(known, document(known, ""))
	if _, err := k.Client(k.ctx, known); err != nil {
		t.Fatal(err)
	}
	k.pass(10 * time.Minute)
	spent := 0
	for i := range 60 {
		_, err := k.Client(k.ctx, k.web.URL("client.example", "/bad"+strconv.Itoa(i)))
		if fault.From(err).Reason == clients.ReasonFetchBudget {
			spent++
		}
	}
	if spent != 30 {
		t.Errorf("%d of 60 were refused, want 30", spent)
	}
	if _, err := k.Client(k.ctx, known); err != nil {
		t.Errorf("a known client of that host: %v", err)
	}
	if _, err := k.Client(k.ctx, k.web.URL("keys.example", "/bad")); fault.From(err).Reason != clients.ReasonDocument {
		t.Errorf("another host: %v", err)
	}
}

// CIMD-6: one request at a time for a URL, four for a host.
func TestFetchesAtOnce(t *testing.T) {
	k := newKit(t)
	var running, most, total atomic.Int64
	release := make(chan struct{})
	started := make(chan struct{}, 100)
	for i := range 8 {
		id := k.web.URL("client.example", "/c"+strconv.Itoa(i))
		k.web.Handle(id, func(w http.ResponseWriter, _ *http.Request) {
			total.Add(1)
			n := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			started <- struct{}{}
			<-release
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(document(id, "")))
		})
	}
	var wg sync.WaitGroup
	errs := make(chan error, 80)
	for i := range 80 {
		wg.Go(func() {
			_, err := k.Client(k.ctx, k.web.URL("client.example", "/c"+strconv.Itoa(i%8)))
			errs <- err
		})
	}
	for range 4 {
		<-started
	}
	// While the host is full, another one is not.
	other := k.web.URL("keys.example", "/c.json")
	k.web.Serve(other, document(other, ""))
	if _, err := k.Client(k.ctx, other); err != nil {
		t.Errorf("another host: %v", err)
	}
	close(release)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 4 || total.Load() != 8 {
		t.Errorf("%d requests, %d at once; want 8 and 4", total.Load(), most.Load())
	}
}

// CIMD-6: a server that dribbles is given up after 5 s, and nobody else waits for it.
func TestSlowServer(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	slow, fast := k.web.URL("client.example", "/slow"), k.web.URL("client.example", "/fast")
	dribbling := make(chan struct{})
	k.web.Handle(slow, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		once := sync.OnceFunc(func() { close(dribbling) })
		for {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			once()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	k.web.Serve(fast, document(fast, ""))
	begin, done := time.Now(), make(chan error)
	go func() {
		_, err := k.Client(k.ctx, slow)
		done <- err
	}()
	<-dribbling
	if _, err := k.Client(k.ctx, fast); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the other one took %s", took)
	}
	refused(t, <-done, fault.Invalid, clients.ReasonDocument)
	if took := time.Since(begin); took < 4*time.Second || took > 6*time.Second {
		t.Errorf("given up after %s, want 5 s", took)
	}
}
