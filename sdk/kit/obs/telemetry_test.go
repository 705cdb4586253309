// SPDX-License-Identifier: Apache-2.0

package obs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	metricpb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/obs/obstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver is an OTLP collector that keeps what it gets, over gRPC and HTTP.
type receiver struct {
	tracepb.UnimplementedTraceServiceServer

	mu      sync.Mutex
	spans   map[string]string // name → trace id
	metrics map[string]bool
	service string
}

// metricReceiver is apart because both services call their method Export.
type metricReceiver struct {
	metricpb.UnimplementedMetricsServiceServer
	*receiver
}

func (r *receiver) Export(_ context.Context, in *tracepb.ExportTraceServiceRequest) (*tracepb.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range in.GetResourceSpans() {
		r.takeService(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.spans[s.GetName()] = fmt.Sprintf("%x", s.GetTraceId())
			}
		}
	}
	return &tracepb.ExportTraceServiceResponse{}, nil
}

func (r metricReceiver) Export(_ context.Context, in *metricpb.ExportMetricsServiceRequest) (*metricpb.ExportMetricsServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rm := range in.GetResourceMetrics() {
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				r.metrics[m.GetName()] = true
			}
		}
	}
	return &metricpb.ExportMetricsServiceResponse{}, nil
}

func (r *receiver) takeService(attributes []*commonpb.KeyValue) {
	var parts []string
	for _, a := range attributes {
		if strings.HasPrefix(a.GetKey(), "service.") {
			parts = append(parts, a.GetValue().GetStringValue())
		}
	}
	r.service = strings.Join(parts, " ")
}

// ServeHTTP is OTLP/HTTP below the base path /otlp.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	var answer proto.Message
	switch req.URL.Path {
	case "/otlp/v1/traces":
		in := &tracepb.ExportTraceServiceRequest{}
		err = errors.Join(err, proto.Unmarshal(body, in))
		answer, _ = r.Export(req.Context(), in)
	case "/otlp/v1/metrics":
		in := &metricpb.ExportMetricsServiceRequest{}
		err = errors.Join(err, proto.Unmarshal(body, in))
		answer, _ = metricReceiver{receiver: r}.Export(req.Context(), in)
	default:
		err = errors.New("unknown path " + req.URL.Path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out, _ := proto.Marshal(answer)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

func newReceiver() *receiver {
	return &receiver{spans: map[string]string{}, metrics: map[string]bool{}}
}

func grpcEndpoint(t *testing.T, r *receiver) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	tracepb.RegisterTraceServiceServer(s, r)
	metricpb.RegisterMetricsServiceServer(s, metricReceiver{receiver: r})
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func httpEndpoint(t *testing.T, r *receiver) string {
	t.Helper()
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return s.URL + "/otlp"
}

// Gateway design G-62: traces and metrics leave by OTLP, and a caller's trace
// goes on.
func TestOTLP(t *testing.T) {
	const caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tc := range []struct {
		name     string
		endpoint func(*testing.T, *receiver) string
	}{
		{"gRPC", grpcEndpoint},
		{"HTTP", httpEndpoint},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newReceiver()
			tel, stop, err := obs.Start(t.Context(), obs.Config{
				Service: "penstock-dataplane", Version: "0.1.0", Instance: "n1",
				OTLPEndpoint: tc.endpoint(t, r), LogWriter: io.Discard,
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx := tel.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": caller})
			_, span := tel.Tracer.Tracer("edge").Start(ctx, "tools/call echo")
			span.End()
			count(t, tel.Meter)

			flush(t, stop)
			r.mu.Lock()
			defer r.mu.Unlock()
			if diff := cmp.Diff(map[string]string{"tools/call echo": "4bf92f3577b34da6a3ce929d0e0e4736"}, r.spans); diff != "" {
				t.Error(diff)
			}
			if !r.metrics[obs.MetricMCPServerOperation] {
				t.Errorf("metrics received: %v", r.metrics)
			}
			if r.service != "n1 penstock-dataplane 0.1.0" { // attributes are sorted by key
				t.Errorf("service %q", r.service)
			}
		})
	}
}

func flush(t *testing.T, stop func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func count(t *testing.T, p metric.MeterProvider) {
	t.Helper()
	m := p.Meter("edge")
	duration, err := m.Float64Histogram(obs.MetricMCPServerOperation, metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := m.Float64Histogram(obs.MetricDispatchOverhead, metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	failures, err := m.Int64Counter(obs.MetricAuthnFailures, metric.WithUnit("{failure}"))
	if err != nil {
		t.Fatal(err)
	}
	duration.Record(t.Context(), 70e-6, metric.WithAttributes(attribute.String(obs.MCPMethodName, "tools/call")))
	own.Record(t.Context(), 30e-6)
	failures.Add(t.Context(), 2, metric.WithAttributes(attribute.String("reason", "expired")))
}

// Gateway design G-61: the page shows the names of the constants, and
// histograms see below a millisecond.
func TestPrometheusPage(t *testing.T) {
	tel, stop, err := obs.Start(t.Context(), obs.Config{Service: "penstock-dataplane", Version: "0.1.0", LogWriter: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer flush(t, stop)
	count(t, tel.Meter)
	code, _, body := request(t, obs.Ops(obs.OpsConfig{Metrics: tel.Metrics}), http.MethodGet, "/metrics")
	if code != http.StatusOK {
		t.Fatalf("got %d", code)
	}
	for _, line := range []string{
		`mcp_server_operation_duration_seconds_bucket{mcp_method_name="tools/call",le="5e-05"} 0`,
		`mcp_server_operation_duration_seconds_bucket{mcp_method_name="tools/call",le="0.0001"} 1`,
		obs.MetricDispatchOverhead + `_bucket{le="5e-05"} 1`,
		obs.MetricAuthnFailures + `{reason="expired"} 2`,
		`target_info{`,
		`service_name="penstock-dataplane"`,
		`go_goroutines `,
		`process_resident_memory_bytes `,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("%s is missing", line)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}

func TestWithoutEndpointTheCallersTraceStillGoesOn(t *testing.T) {
	tel, stop, err := obs.Start(t.Context(), obs.Config{Service: "s", LogWriter: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer flush(t, stop)
	const caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := tel.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": caller, "baggage": "user=ada"})
	ctx, span := tel.Tracer.Tracer("edge").Start(ctx, "call")
	if span.IsRecording() {
		t.Error("spans are recorded for nobody")
	}
	upstream := propagation.MapCarrier{}
	tel.Propagator.Inject(ctx, upstream)
	if diff := cmp.Diff(propagation.MapCarrier{"traceparent": caller}, upstream); diff != "" {
		t.Error(diff)
	}
}

func TestUnreachableEndpointIsALogLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var log obstest.Log
	tel, stop, err := obs.Start(t.Context(), obs.Config{Service: "s", OTLPEndpoint: closed, LogWriter: &log})
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	_, span := tel.Tracer.Tracer("edge").Start(t.Context(), "call")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := stop(ctx); err == nil && !strings.Contains(log.String(), "telemetry export failed") {
		t.Error("a lost export is told nowhere")
	}
	if waited := time.Since(begin); waited > 5*time.Second {
		t.Errorf("the stop took %s, its context 100 ms", waited)
	}
}

func TestStartRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, field string
		change      func(*obs.Config)
	}{
		{"no service", "service", func(c *obs.Config) { c.Service = "" }},
		{"unknown level", "log_level", func(c *obs.Config) { c.LogLevel = "loud" }},
		{"unknown format", "log_format", func(c *obs.Config) { c.LogFormat = "xml" }},
		{"ratio above 1", "trace_ratio", func(c *obs.Config) { c.TraceRatio = 1.5 }},
		{"negative ratio", "trace_ratio", func(c *obs.Config) { c.TraceRatio = -0.1 }},
		{"endpoint without a port", "otlp_endpoint", func(c *obs.Config) { c.OTLPEndpoint = "collector" }},
		{"endpoint with a bad port", "otlp_endpoint", func(c *obs.Config) { c.OTLPEndpoint = "collector:0" }},
		{"endpoint of another scheme", "otlp_endpoint", func(c *obs.Config) { c.OTLPEndpoint = "ftp://collector:4317" }},
		{"gRPC URL with a path", "otlp_endpoint", func(c *obs.Config) { c.OTLPEndpoint = "grpcs://collector:4317/x" }},
		{"endpoint with a password", "otlp_endpoint", func(c *obs.Config) { c.OTLPEndpoint = "http://u:hunter2@collector:4318" }},
		{"endpoint that does not parse", "otlp_endpoint", func(c *obs.Config) { c.OTLPEndpoint = "http://u:hunter2@%zz" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := obs.Config{Service: "s", LogWriter: io.Discard}
			tc.change(&c)
			_, _, err := obs.Start(t.Context(), c)
			f := fault.From(err)
			if f == nil || f.Kind != fault.Invalid || f.Reason != obs.ReasonConfig {
				t.Fatalf("got %v", err)
			}
			if len(f.Fields) != 1 || f.Fields[0].Path != tc.field {
				t.Errorf("fields %v, want %s", f.Fields, tc.field)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v repeats the password", err)
			}
		})
	}
}
