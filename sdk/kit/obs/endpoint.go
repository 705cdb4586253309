// SPDX-License-Identifier: Apache-2.0

package obs

import (
	"context"
	"net"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// endpoint is a parsed [Config].OTLPEndpoint: base for OTLP/HTTP, address for
// OTLP/gRPC, neither when it is off.
type endpoint struct {
	base    *url.URL
	address string
	secure  bool
}

func (e endpoint) off() bool { return e.base == nil && e.address == "" }

func parseEndpoint(raw string) (endpoint, error) {
	refused := fault.New(fault.Invalid, ReasonConfig,
		"The OTLP endpoint is neither host:port nor an http, https or grpcs URL.").
		At("otlp_endpoint", "is neither host:port nor an http, https or grpcs URL")
	if raw == "" {
		return endpoint{}, nil
	}
	if !strings.Contains(raw, "://") {
		if !hostPort(raw) {
			return endpoint{}, refused
		}
		return endpoint{address: raw}, nil
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return endpoint{}, refused // the cause would repeat the URL, which may hold a password
	}
	switch u.Scheme {
	case "http", "https":
		return endpoint{base: u}, nil
	case "grpcs":
		if !hostPort(u.Host) || strings.Trim(u.Path, "/") != "" {
			return endpoint{}, refused
		}
		return endpoint{address: u.Host, secure: true}, nil
	default:
		return endpoint{}, refused
	}
}

func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, numberErr := strconv.ParseUint(port, 10, 16)
	return err == nil && numberErr == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/ ")
}

// traces returns the exporter; it connects in the background, on first use.
func (e endpoint) traces(ctx context.Context) (sdktrace.SpanExporter, error) {
	if e.base != nil {
		return otlptrace.New(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(e.base.JoinPath("v1/traces").String())))
	}
	options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(e.address)}
	if !e.secure {
		options = append(options, otlptracegrpc.WithInsecure())
	}
	return otlptrace.New(ctx, otlptracegrpc.NewClient(options...))
}

// metrics returns the exporter; it connects in the background, on first use.
func (e endpoint) metrics(ctx context.Context) (sdkmetric.Exporter, error) {
	if e.base != nil {
		return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(e.base.JoinPath("v1/metrics").String()))
	}
	options := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(e.address)}
	if !e.secure {
		options = append(options, otlpmetricgrpc.WithInsecure())
	}
	return otlpmetricgrpc.New(ctx, options...)
}
