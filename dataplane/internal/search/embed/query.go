// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/sdk/kit/embedding"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// failures in a row, after which queries are not sent for a pause; then one is, on trial.
	failures = 3
	pause    = 30 * time.Second
	// tellEvery is the least time between two lines in the log about what goes wrong.
	tellEvery = 5 * time.Minute
	meterName = "github.com/penstockhq/penstock/dataplane/internal/search/embed"
)

// Outcomes of searches, in [obs.MetricSearchReranks].
const (
	reranked = "reranked"
	pending  = "pending" // vectors of tools are not there yet
	late     = "timeout" // the query's vector did not come in time
	failed   = "failed"  // the endpoint refused, broke off or answered with no vector
	paused   = "paused"  // it was not asked, because it failed several times in a row
	gone     = "canceled"
)

// Near returns how near the texts of a set are to a query, as the cosine of the i-th: nil if words alone have to rank, false for a text
// without a vector. keep says which texts count, nil all of them; it takes vectors of all these, and that of the query within the
// timeout. It never waits for longer than that.
func (v *Vectors) Near(ctx context.Context, s *Set, keep func(i int) bool, query string) func(i int) (float32, bool) {
	if !s.ready(keep) {
		v.count(ctx, pending)
		return nil
	}
	began := time.Now()
	q, err := v.gate.Execute(func() ([]float32, error) { return v.ask(ctx, query) })
	outcome := outcomeOf(ctx, err)
	v.count(ctx, outcome)
	if outcome != paused && outcome != gone {
		v.meters.asked.Record(ctx, time.Since(began).Seconds())
	}
	if err != nil {
		if (outcome == failed || outcome == late) && v.told.due() {
			v.c.Log.WarnContext(ctx, "a query has no vector: it is searched by words alone", slog.Any(obs.AttrError, err))
		}
		return nil
	}
	return func(i int) (float32, bool) {
		d := s.texts[i].vector.Load()
		if d == nil || len(*d) != len(q) {
			return 0, false
		}
		return embedding.Cosine(q, *d), true
	}
}

// ask returns the vector of a query.
func (v *Vectors) ask(ctx context.Context, query string) ([]float32, error) {
	ctx, cancel := context.WithTimeout(ctx, v.c.Timeout)
	defer cancel()
	vectors, err := v.c.Endpoint.Embed(ctx, []string{query})
	if ctx.Err() != nil {
		return nil, ctx.Err() //nolint:wrapcheck // whatever came of it is too late
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // logged as it is
	}
	return vectors[0], v.fits(vectors[0])
}

func outcomeOf(ctx context.Context, err error) string {
	switch {
	case err == nil:
		return reranked
	case errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests):
		return paused
	case ctx.Err() != nil:
		return gone
	case errors.Is(err, context.DeadlineExceeded):
		return late
	}
	return failed
}

// newGate keeps queries away from an endpoint that does not answer them. Clients that go away say nothing about it.
func (v *Vectors) newGate() *gobreaker.CircuitBreaker[[]float32] {
	return gobreaker.NewCircuitBreaker[[]float32](gobreaker.Settings{
		MaxRequests: 1, Timeout: pause,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= failures },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if to == gobreaker.StateClosed {
				v.c.Log.Info("queries get their vectors again")
			}
		},
	})
}

// telling keeps the log from being told of every search.
type telling struct{ last atomic.Int64 }

// due reports whether the log is to be told of a problem now: it was not told of one lately.
func (t *telling) due() bool {
	now, last := time.Now().UnixNano(), t.last.Load()
	return (last == 0 || now-last >= int64(tellEvery)) && t.last.CompareAndSwap(last, now)
}

// meters are the instruments of the room.
type meters struct {
	reranks metric.Int64Counter
	asked   metric.Float64Histogram
}

func newMeters(provider metric.MeterProvider, v *Vectors) (m meters, err error) {
	meter := provider.Meter(meterName)
	if m.reranks, err = meter.Int64Counter(obs.MetricSearchReranks, metric.WithUnit("{search}"),
		metric.WithDescription("Searches of tools that an embeddings endpoint may re-rank, by outcome; all but reranked were ranked by words alone.")); err != nil {
		return m, err //nolint:wrapcheck // wrapped by the only caller
	}
	if m.asked, err = meter.Float64Histogram(obs.MetricSearchEmbed, metric.WithUnit("s"),
		metric.WithDescription("Time that a search waited for the vector of its query.")); err != nil {
		return m, err //nolint:wrapcheck // wrapped by the only caller
	}
	_, err = meter.Int64ObservableGauge(obs.MetricSearchVectors, metric.WithUnit("{text}"),
		metric.WithDescription("Texts of tools by the state of their vector: ready, waiting, refused."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			ready, waiting, refused := v.states()
			for state, n := range map[string]int64{"ready": ready, "waiting": waiting, "refused": refused} {
				o.Observe(n, metric.WithAttributes(attribute.String("state", state)))
			}
			return nil
		}))
	return m, err //nolint:wrapcheck // wrapped by the only caller
}

func (v *Vectors) count(ctx context.Context, outcome string) {
	v.meters.reranks.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}
