// SPDX-License-Identifier: Apache-2.0

// Package collector is an OTLP/gRPC receiver that keeps what it gets.
//
// End-to-end tests have Penstock push its traces and metrics to it. It must never import a server of Penstock.
package collector

import (
	"context"
	"encoding/hex"
	"net"
	"sync"
	"testing"

	metricsv1 "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracesv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Collector is a running receiver. It is safe for concurrent use.
type Collector struct {
	tracesv1.UnimplementedTraceServiceServer
	metricsv1.UnimplementedMetricsServiceServer

	// Endpoint is its address, host:port.
	Endpoint string

	mu       sync.Mutex
	spans    []Span
	messages []proto.Message
}

// Span is a span with the service that sent it.
type Span struct {
	*tracev1.Span

	Service    string
	Attributes map[string]string // those of type string
}

// Trace returns the id of the span's trace, ID its own and Parent its parent's, in hexadecimal digits.
func (s Span) Trace() string { return hex.EncodeToString(s.GetTraceId()) }

// ID returns the span's id.
func (s Span) ID() string { return hex.EncodeToString(s.GetSpanId()) }

// Parent returns the id of the span's parent, empty if it has none.
func (s Span) Parent() string { return hex.EncodeToString(s.GetParentSpanId()) }

// Start starts a collector, which stops with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{Endpoint: l.Addr().String()}
	server := grpc.NewServer()
	tracesv1.RegisterTraceServiceServer(server, c)
	metricsv1.RegisterMetricsServiceServer(server, metrics{c})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // it ends when it is stopped
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
	})
	return c
}

// metrics is the receiver of metrics: both services have a method Export.
type metrics struct{ *Collector }

// Export implements MetricsService.
func (m metrics) Export(_ context.Context, r *metricsv1.ExportMetricsServiceRequest) (*metricsv1.ExportMetricsServiceResponse, error) {
	m.keep(r)
	return &metricsv1.ExportMetricsServiceResponse{}, nil
}

// Export implements TraceService.
func (c *Collector) Export(_ context.Context, r *tracesv1.ExportTraceServiceRequest) (*tracesv1.ExportTraceServiceResponse, error) {
	c.keep(r)
	return &tracesv1.ExportTraceServiceResponse{}, nil
}

func (c *Collector) keep(m proto.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.messages = append(c.messages, m)
	r, ok := m.(*tracesv1.ExportTraceServiceRequest)
	if !ok {
		return
	}
	for _, rs := range r.GetResourceSpans() {
		service := ""
		for _, kv := range rs.GetResource().GetAttributes() {
			if kv.GetKey() == "service.name" {
				service = kv.GetValue().GetStringValue()
			}
		}
		for _, scope := range rs.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{Span: s, Service: service, Attributes: make(map[string]string)}
				for _, kv := range s.GetAttributes() {
					if text := kv.GetValue().GetStringValue(); text != "" {
						span.Attributes[kv.GetKey()] = text
					}
				}
				c.spans = append(c.spans, span)
			}
		}
	}
}

// Spans returns the spans of one trace that came so far.
func (c *Collector) Spans(trace string) []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []Span
	for _, s := range c.spans {
		if s.Trace() == trace {
			found = append(found, s)
		}
	}
	return found
}

// Text returns everything that came, traces and metrics, as JSON, to be searched for what must not be there.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var text []byte
	for _, m := range c.messages {
		one, err := protojson.Marshal(m)
		if err != nil {
			one = []byte(err.Error())
		}
		text = append(append(text, one...), '\n')
	}
	return string(text)
}
