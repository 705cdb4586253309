// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"
	"fmt"

	"github.com/penstockhq/penstock/sdk/kit/quota"
	"github.com/penstockhq/penstock/sdk/kit/redisx"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// openShared opens the Redis in which several authservers count requests and failed logins together (RL-1). Without one, each
// counts for itself.
func (s *Server) openShared(closers *run.Closers) error {
	if !s.c.Redis.Enabled() {
		return nil
	}
	client, err := redisx.Open(s.c.Redis, redisx.Config{Log: s.c.Telemetry.Log, Meter: s.c.Telemetry.Meter})
	if err != nil {
		return fmt.Errorf("set up redis: %w", err)
	}
	closers.Add("redis", func(context.Context) error { return client.Close() })
	s.shared = quota.NewRedis(client)
	return nil
}
