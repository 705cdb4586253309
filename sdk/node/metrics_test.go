// SPDX-License-Identifier: Apache-2.0

package node_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/penstockhq/penstock/sdk/node"
)

// idle applies nothing: no control plane ever answers.
type idle struct{}

func (idle) Apply(context.Context, node.State, []node.Key, bool) []node.Reject { return nil }
func (idle) Deny(context.Context, uint64, []node.Key)                          {}

// TestStaleMetric has a client find no control plane for a while: the metric and the status say for how long (D-62).
func TestStaleMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		nobody := func(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody is there") }
		c, err := node.New(node.Config{
			Endpoints: []string{"passthrough:///nobody"}, Applier: idle{}, Log: slog.New(slog.DiscardHandler),
			DialOptions: []grpc.DialOption{grpc.WithContextDialer(nobody), grpc.WithTransportCredentials(insecure.NewCredentials())},
			Meter:       metric.NewMeterProvider(metric.WithReader(reader)),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		for _, step := range []struct {
			wait  time.Duration
			sum   float64
			stale bool
		}{{59 * time.Second, 59, false}, {2 * time.Second, 61, true}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := staleSeconds(t, reader); got != step.sum || c.Status().Stale != step.stale {
				t.Errorf("after %v s: the metric says %v, stale is %t", step.sum, got, c.Status().Stale)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func staleSeconds(t *testing.T, reader metric.Reader) float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if gauge, ok := m.Data.(metricdata.Gauge[float64]); ok && m.Name == "penstock_follow_stale_seconds" {
				return gauge.DataPoints[0].Value
			}
		}
	}
	t.Fatal("no metric penstock_follow_stale_seconds")
	return 0
}
