// SPDX-License-Identifier: Apache-2.0

package obs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Config is what [Start] needs.
type Config struct {
	// Service is service.name, for example "penstock-dataplane"; required.
	// Version is service.version, Instance service.instance.id (a node's name).
	Service, Version, Instance string

	// OTLPEndpoint is where traces and metrics are pushed; empty is off.
	// host:port is OTLP/gRPC in plain text (a collector on the machine or in
	// the pod), grpcs://host:port is OTLP/gRPC over TLS, http:// and https://
	// URLs are OTLP/HTTP, to which /v1/traces and /v1/metrics are appended.
	OTLPEndpoint string

	// TraceRatio is the share of new traces that are recorded, above 0 to 1;
	// zero means 1. A caller's sampling decision is followed either way.
	TraceRatio float64

	// LogLevel is debug, info (also ""), warn or error; LogFormat is json
	// (also "") or text; LogWriter nil is standard error.
	LogLevel, LogFormat string
	LogWriter           io.Writer
}

// Telemetry is what a process's rooms are given to report with.
type Telemetry struct {
	Log    *slog.Logger
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider

	// Metrics serves the Prometheus page: the process's own registry, with the
	// Go and process collectors and everything made with Meter.
	Metrics http.Handler

	// Propagator reads and writes W3C traceparent and tracestate. Baggage is
	// left out on purpose: a client's baggage is nothing to send upstream.
	Propagator propagation.TextMapPropagator
}

// Start sets up logging, tracing and metrics. The returned function flushes
// and stops the exporters within its context; call it last. Nothing is sent
// before the first span ends, and an endpoint that cannot be reached is a log
// line, never an error of the process.
//
// The faults are Invalid, TELEMETRY_CONFIG_INVALID, with the setting in Fields.
func Start(ctx context.Context, c Config) (*Telemetry, func(context.Context) error, error) {
	if c.Service == "" {
		return nil, nil, fault.New(fault.Invalid, ReasonConfig, "Telemetry needs the name of the service.").At("service", "is empty")
	}
	if c.TraceRatio < 0 || c.TraceRatio > 1 {
		return nil, nil, fault.New(fault.Invalid, ReasonConfig, "The trace ratio is not between 0 and 1.").
			At("trace_ratio", "is not between 0 and 1")
	}
	if c.LogWriter == nil {
		c.LogWriter = os.Stderr
	}
	log, err := newLogger(c.LogWriter, c.LogLevel, c.LogFormat, c.Service)
	if err != nil {
		return nil, nil, err
	}
	target, err := parseEndpoint(c.OTLPEndpoint)
	if err != nil {
		return nil, nil, err
	}
	res, err := resource.New(ctx, resource.WithFromEnv(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", c.Service),
		attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", c.Instance),
	))
	if err != nil {
		return nil, nil, fmt.Errorf("describe the process: %w", err)
	}
	// The SDK reports failed exports to this one hook of the process and
	// nowhere else; without it they go to standard error, unformatted.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		log.Warn("telemetry export failed", AttrError, err.Error())
	}))

	tracer, stopTracer, err := startTracer(ctx, target, res, c.TraceRatio)
	if err != nil {
		return nil, nil, err
	}
	meter, page, err := startMeter(ctx, target, res, log)
	if err != nil {
		return nil, nil, errors.Join(err, stopTracer(ctx))
	}
	stop := func(ctx context.Context) error {
		return errors.Join(stopTracer(ctx), meter.Shutdown(ctx))
	}
	return &Telemetry{
		Log: log, Tracer: tracer, Meter: meter, Metrics: page, Propagator: propagation.TraceContext{},
	}, stop, nil
}

// startTracer returns a provider that records nothing when there is nobody to
// send to: its spans still carry the caller's trace upstream.
func startTracer(
	ctx context.Context, t endpoint, res *resource.Resource, ratio float64,
) (trace.TracerProvider, func(context.Context) error, error) {
	if t.off() {
		return silent{}, func(context.Context) error { return nil }, nil
	}
	exporter, err := t.traces(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("start the trace exporter: %w", err)
	}
	if ratio == 0 {
		ratio = 1
	}
	p := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(res),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio))),
	)
	return p, p.Shutdown, nil
}

func startMeter(
	ctx context.Context, t endpoint, res *resource.Resource, log *slog.Logger,
) (*sdkmetric.MeterProvider, http.Handler, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := registry.Register(c); err != nil {
			return nil, nil, fmt.Errorf("register collector: %w", err)
		}
	}
	page, err := otelprometheus.New(
		otelprometheus.WithRegisterer(registry),
		otelprometheus.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		otelprometheus.WithoutScopeInfo(),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("start the Prometheus exporter: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(page), sdkmetric.WithView(durationView())}
	if !t.off() {
		exporter, err := t.metrics(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("start the metric exporter: %w", err)
		}
		options = append(options, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	}
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		Registry:          registry,
		EnableOpenMetrics: true,
		ErrorLog:          pageErrors{log},
	})
	return sdkmetric.NewMeterProvider(options...), handler, nil
}

// pageErrors puts what a scrape could not collect into the log.
type pageErrors struct{ log *slog.Logger }

// Println is what promhttp calls.
func (p pageErrors) Println(v ...any) {
	p.log.Warn("metrics page incomplete", AttrError, fmt.Sprint(v...))
}

// durationView gives every histogram in seconds buckets from 50 µs to 60 s:
// the gateway's own share of a call is below a millisecond, where the default
// buckets see nothing (gateway design G-61).
func durationView() sdkmetric.View {
	return sdkmetric.NewView(
		sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram, Unit: "s"},
		sdkmetric.Stream{Aggregation: sdkmetric.AggregationExplicitBucketHistogram{Boundaries: []float64{
			50e-6, 100e-6, 250e-6, 500e-6,
			1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3,
			1, 2.5, 5, 10, 30, 60,
		}}},
	)
}
