// SPDX-License-Identifier: Apache-2.0

// Package measure holds the edge's instruments: the span and the duration of each JSON-RPC request, HTTP requests by
// status and in flight, and the client's trace context (mcp.md M-56).
//
// edge uses it. It must never know what a request does: it is told method, version and outcome.
package measure

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// scope names this room's instruments.
const scope = "github.com/penstockhq/penstock/dataplane/internal/edge"

// metricDropped counts log messages that did not fit into a client's stream (M-20).
const metricDropped = "penstock_edge_dropped_log_messages_total"

// Instruments are the edge's. They are safe for concurrent use.
type Instruments struct {
	// InFlight is the number of HTTP requests being answered, open streams included. Dropped counts log messages that
	// a client's stream had no room for.
	InFlight, Dropped atomic.Int64

	tracer   trace.Tracer
	duration metric.Float64Histogram
	count    metric.Int64Counter
	spanKind []trace.SpanStartOption

	mu     sync.RWMutex
	labels map[Labels]option // bounded: methods, versions and error types of ours
}

// Labels are what a measurement is told apart by: method, version and error.type of a JSON-RPC request, or the status of
// an HTTP request. All values come from short lists: a label that clients choose would have no bound.
type Labels struct {
	Method, Version, ErrorType string
	Status                     int
}

// New makes the instruments.
func New(t *obs.Telemetry) (*Instruments, error) {
	meter := t.Meter.Meter(scope)
	out := &Instruments{
		tracer:   t.Tracer.Tracer(scope),
		spanKind: []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)},
		labels:   make(map[Labels]option),
	}
	var err error
	if out.duration, err = meter.Float64Histogram(obs.MetricMCPServerOperation, metric.WithUnit("s"),
		metric.WithDescription("Time from a client's request to the end of its answer.")); err != nil {
		return nil, err
	}
	if out.count, err = meter.Int64Counter(obs.MetricEdgeRequests, metric.WithUnit("{request}"),
		metric.WithDescription("HTTP requests by status.")); err != nil {
		return nil, err
	}
	if _, err = meter.Int64ObservableCounter(metricDropped, metric.WithUnit("{message}"),
		metric.WithDescription("Log messages that a slow client's stream had no room for."),
		metric.WithInt64Callback(observe(&out.Dropped))); err != nil {
		return nil, err
	}
	_, err = meter.Int64ObservableGauge(obs.MetricEdgeInFlight, metric.WithUnit("{request}"),
		metric.WithDescription("HTTP requests being answered, open streams included."),
		metric.WithInt64Callback(observe(&out.InFlight)))
	return out, err
}

func observe(n *atomic.Int64) metric.Int64Callback {
	return func(_ context.Context, o metric.Int64Observer) error {
		o.Observe(n.Load())
		return nil
	}
}

// Request counts an HTTP request once it is answered.
func (t *Instruments) Request(ctx context.Context, status int) {
	t.count.Add(ctx, 1, t.option(Labels{Status: status}).add...)
}

// Operation records a JSON-RPC request once it is answered.
func (t *Instruments) Operation(ctx context.Context, l Labels, took time.Duration) {
	t.duration.Record(ctx, took.Seconds(), t.option(l).record...)
}

// Start begins a server span under ctx, with links if there are any.
func (t *Instruments) Start(ctx context.Context, name string, links ...trace.Link) (context.Context, trace.Span) {
	options := t.spanKind
	if len(links) > 0 {
		options = append(options[:len(options):len(options)], trace.WithLinks(links...))
	}
	return t.tracer.Start(ctx, name, options...)
}

// Past records a span under ctx for something that is over.
func (t *Instruments) Past(ctx context.Context, name string, from, to time.Time) {
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// option is the attributes of labels in the forms that instruments take: a slice for each measurement would be made anew.
type option struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// option returns the attributes of labels, made once.
func (t *Instruments) option(l Labels) option {
	t.mu.RLock()
	s, ok := t.labels[l]
	t.mu.RUnlock()
	if ok {
		return s
	}
	var kv []attribute.KeyValue
	add := func(key, value string) {
		if value != "" {
			kv = append(kv, attribute.String(key, value))
		}
	}
	add(obs.MCPMethodName, l.Method)
	add(obs.MCPProtocolVersion, l.Version)
	add(obs.ErrorType, l.ErrorType)
	if l.Status != 0 {
		kv = append(kv, attribute.Int("http.response.status_code", l.Status))
	} else {
		add(obs.NetworkTransport, obs.TransportTCP)
	}
	set := metric.WithAttributeSet(attribute.NewSet(kv...))
	s = option{[]metric.AddOption{set}, []metric.RecordOption{set}}
	t.mu.Lock()
	t.labels[l] = s
	t.mu.Unlock()
	return s
}
