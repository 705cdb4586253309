// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

type metrics struct {
	revision   metric.Int64Gauge
	apply      metric.Float64Histogram
	rejects    metric.Int64Counter
	drift      metric.Int64Counter
	snapshots  metric.Int64Counter
	reconnects metric.Int64Counter
	diskErrors metric.Int64Counter
	stale      metric.Float64ObservableGauge
	meter      metric.Meter
}

func newMetrics(p metric.MeterProvider) (*metrics, error) {
	if p == nil {
		p = noop.NewMeterProvider()
	}
	meter := p.Meter("github.com/penstockhq/penstock/sdk/node")
	m := &metrics{meter: meter}
	var errs [8]error
	m.revision, errs[0] = meter.Int64Gauge("penstock_follow_revision",
		metric.WithDescription("Revision that this node enforces."))
	m.apply, errs[1] = meter.Float64Histogram("penstock_follow_apply_seconds", metric.WithUnit("s"),
		metric.WithDescription("Time from a received state or delta to its enforcement."))
	m.rejects, errs[2] = meter.Int64Counter("penstock_follow_rejects_total", metric.WithUnit("{resource}"),
		metric.WithDescription("Resources that did not compile."))
	m.drift, errs[3] = meter.Int64Counter("penstock_follow_drift_total", metric.WithUnit("{alarm}"),
		metric.WithDescription("Times the digest differed from the control plane's at the same revision."))
	m.snapshots, errs[4] = meter.Int64Counter("penstock_follow_snapshots_total", metric.WithUnit("{snapshot}"),
		metric.WithDescription("Full states received."))
	m.reconnects, errs[5] = meter.Int64Counter("penstock_follow_reconnects_total", metric.WithUnit("{stream}"),
		metric.WithDescription("Streams that ended."))
	m.diskErrors, errs[6] = meter.Int64Counter("penstock_follow_disk_errors_total", metric.WithUnit("{write}"),
		metric.WithDescription("Writes of the last known good state that went wrong."))
	m.stale, errs[7] = meter.Float64ObservableGauge("penstock_follow_stale_seconds", metric.WithUnit("s"),
		metric.WithDescription("Time since the last news of a control plane."))
	return m, errors.Join(errs[:]...)
}

// watch shows how long ago the last news came (D-62), until the registration is undone.
func (m *metrics) watch(silent func() time.Duration) (metric.Registration, error) {
	return m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveFloat64(m.stale, silent().Seconds())
		return nil
	}, m.stale)
}
