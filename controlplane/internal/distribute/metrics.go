// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Lanes of a stream, as the metric of sent bytes names them.
const (
	laneDenials     = "denials"
	laneRevocations = "revocations"
	laneDelta       = "deltas"
	laneSnapshot    = "snapshots"
	laneBlobs       = "blobs"
	laneHeartbeat   = "heartbeats"
	laneTasks       = "tasks"
)

// Reasons for a snapshot, as the metric names them.
const (
	reasonEmpty  = "empty"  // the node has nothing
	reasonEpoch  = "epoch"  // what it has is of another lineage
	reasonDrift  = "drift"  // its digest differs
	reasonBehind = "behind" // the changes since are not in the ring, or too many
)

// lanesOf makes the attributes of the lanes: one is needed for each message to each node.
func lanesOf(names ...string) map[string][]metric.AddOption {
	out := make(map[string][]metric.AddOption, len(names))
	for _, lane := range names {
		out[lane] = []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(attribute.String("lane", lane)))}
	}
	return out
}

// metrics are the instruments of the room (D-53).
type metrics struct {
	lanes     map[string][]metric.AddOption
	bytes     metric.Int64Counter
	snapshots metric.Int64Counter
	drift     metric.Int64Counter
	rejects   metric.Int64Counter
}

func newMetrics(p metric.MeterProvider, s *Server) *metrics {
	if p == nil {
		p = noop.NewMeterProvider()
	}
	meter := p.Meter("github.com/penstockhq/penstock/controlplane/distribute")
	m := &metrics{lanes: lanesOf(laneDenials, laneRevocations, laneDelta, laneSnapshot, laneBlobs, laneHeartbeat, laneTasks)}
	var errs [8]error
	m.bytes, errs[0] = meter.Int64Counter(obs.MetricDistributeSentBytes, metric.WithUnit("By"),
		metric.WithDescription("Bytes of messages sent to nodes, by lane."))
	m.snapshots, errs[1] = meter.Int64Counter("penstock_distribute_snapshots_total", metric.WithUnit("{snapshot}"),
		metric.WithDescription("Full states sent, by reason."))
	m.drift, errs[2] = meter.Int64Counter("penstock_distribute_drift_total", metric.WithUnit("{alarm}"),
		metric.WithDescription("Nodes whose digest differed at the same revision."))
	m.rejects, errs[3] = meter.Int64Counter("penstock_distribute_rejects_total", metric.WithUnit("{resource}"),
		metric.WithDescription("Resources that nodes would not compile."))
	streams, err := meter.Int64ObservableGauge(obs.MetricDistributeStreams, metric.WithUnit("{stream}"),
		metric.WithDescription("Nodes with a stream."))
	errs[4] = err
	lag, err := meter.Float64ObservableGauge(obs.MetricDistributeAckLag, metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest change in its scope that a connected node does not enforce, by node."))
	errs[5] = err
	enforced, err := meter.Int64ObservableGauge("penstock_distribute_enforced_revision",
		metric.WithDescription("Revision that a connected node enforces, by node."))
	errs[6] = err
	_, errs[7] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		connected := int64(0)
		for _, n := range s.Nodes() {
			if !n.Here {
				continue // another control plane reports it
			}
			connected++
			at := metric.WithAttributes(attribute.String(obs.PenstockNode, n.Name), attribute.String(obs.PenstockRegion, n.Region))
			o.ObserveFloat64(lag, n.Lag.Seconds(), at)
			o.ObserveInt64(enforced, int64(n.Enforced), at)
		}
		for _, a := range s.Authservers() {
			if a.Here {
				at := metric.WithAttributes(attribute.String(obs.PenstockNode, "authserver/"+a.Name), attribute.String(obs.PenstockRegion, a.Region))
				o.ObserveFloat64(lag, a.Lag.Seconds(), at)
				o.ObserveInt64(enforced, int64(a.Enforced), at)
			}
		}
		o.ObserveInt64(streams, connected)
		return nil
	}, streams, lag, enforced)
	if err := errors.Join(errs[:]...); err != nil {
		s.log.Error("metrics cannot be made", obs.AttrError, err) // what was made is usable
	}
	return m
}

func (m *metrics) sent(ctx context.Context, lane string, bytes int) {
	m.bytes.Add(ctx, int64(bytes), m.lanes[lane]...)
}

func (m *metrics) snapshot(ctx context.Context, reason string) {
	m.snapshots.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
}

func (m *metrics) drifted(ctx context.Context) { m.drift.Add(ctx, 1) }
