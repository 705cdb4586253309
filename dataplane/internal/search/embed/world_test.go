// SPDX-License-Identifier: Apache-2.0

package embed_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/search/embed"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const timeout = 300 * time.Millisecond

// endpoint is one that is told what to do.
type endpoint struct {
	mu      sync.Mutex
	down    error         // what it answers with in place of vectors
	refuses string        // texts with this in them are answered with refusal
	refusal error         //
	slow    time.Duration // before it answers
	numbers int           // of a vector; 2 if zero
	asked   []string      // texts that got a vector
	calls   int
}

// Embed implements embed.Endpoint: texts about cats point one way, others another.
func (e *endpoint) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls++
	if e.slow > 0 {
		wait := time.NewTimer(e.slow)
		e.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
		e.mu.Lock()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if e.down != nil {
		return nil, e.down
	}
	if e.refuses != "" && slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(s, e.refuses) }) {
		return nil, e.refusal
	}
	vectors := make([][]float32, len(texts))
	for i, text := range texts {
		vectors[i] = make([]float32, max(2, e.numbers))
		at := 1
		if strings.Contains(text, "cat") {
			at = 0
		}
		vectors[i][at] = 1
	}
	e.asked = append(e.asked, texts...)
	return vectors, nil
}

// set changes what the endpoint does.
func (e *endpoint) set(change func(*endpoint)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

// took returns the texts that got a vector since it was called last, sorted, and how many requests there were.
func (e *endpoint) took() ([]string, int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	got, calls := e.asked, e.calls
	e.asked, e.calls = nil, 0
	slices.Sort(got)
	return got, calls
}

// world is vectors that are made while the test lasts.
type world struct {
	*embed.Vectors
	endpoint *endpoint
	log      *lockedBuffer
	metrics  *sdkmetric.ManualReader
}

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), "\n")
}

// start opens a world in a bubble; the function ends it.
func start(t *testing.T, e *endpoint) (*world, func()) {
	t.Helper()
	w := &world{endpoint: e, log: &lockedBuffer{}, metrics: sdkmetric.NewManualReader()}
	var err error
	w.Vectors, err = embed.New(embed.Config{
		Endpoint: e, Model: "m", Timeout: timeout, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Meter: sdkmetric.NewMeterProvider(sdkmetric.WithReader(w.metrics)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	return w, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// outcomes is how the searches so far ended.
func (w *world) outcomes(t *testing.T) map[string]int64 {
	t.Helper()
	return w.points(t, obs.MetricSearchReranks, "outcome")
}

// points reads what an instrument has, by one attribute.
func (w *world) points(t *testing.T, name, by string) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := w.metrics.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if m.Name != name {
				continue
			}
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				points = data.DataPoints
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			default:
				t.Fatalf("%s has %T", name, m.Data)
			}
			for _, p := range points {
				value, _ := p.Attributes.Value("outcome")
				if by != "outcome" {
					value, _ = p.Attributes.Value("state")
				}
				out[value.AsString()] = p.Value
			}
		}
	}
	return out
}
