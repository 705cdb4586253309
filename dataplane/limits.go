// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/limit"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/quota"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// rateLimits are the limits of gateways with what counts them: Redis for all nodes together, or this node alone without it.
type rateLimits struct {
	*limit.Rates

	limiter *quota.Limiter
}

// openLimits makes them. Closing waits for the last answers of Redis, which is closed after that.
func (n *Node) openLimits(r *rooms, closers *run.Closers) (err error) {
	refused, err := n.c.Telemetry.Meter.Meter(tracerName).Int64Counter(obs.MetricRateLimited, metric.WithUnit("{refusal}"),
		metric.WithDescription("Requests and tool calls over a rate limit, by gateway and by what the limit counts together."))
	if err != nil {
		return err
	}
	c := quota.Config{Nodes: r.forwarding.live}
	if r.redis != nil {
		c.Store = quota.NewRedis(r.redis)
	}
	limiter := quota.NewLimiter(c)
	closers.Add("rate limits", func(context.Context) error { limiter.Close(); return nil })
	r.rates = &rateLimits{limiter: limiter, Rates: limit.New(limiter, func(ctx context.Context, gateway, per string) {
		refused.Add(ctx, 1, metric.WithAttributes(attribute.String(obs.PenstockGateway, gateway), attribute.String("per", per)))
	})}
	return nil
}
