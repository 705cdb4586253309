// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	homePrefix = "pst:home:"

	// reasonHomes (Unavailable): the store does not answer.
	reasonHomes = "HOMES_UNAVAILABLE"

	claimHome = `
local home = redis.call('GET', KEYS[1])
if home and home ~= ARGV[1] then return home end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]`

	releaseHome = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0`
)

// Homes is a home.Store (dataplane/internal/forward/home) in Redis: one key for each home, anywhere in a cluster.
type Homes struct{ redis redis.UniversalClient }

// NewHomes returns the homes that lie in a Redis.
func NewHomes(r redis.UniversalClient) *Homes { return &Homes{redis: r} }

// Claim implements home.Store.
func (s *Homes) Claim(ctx context.Context, keys []string, node string, ttl time.Duration) ([]string, error) {
	asked := make([]*redis.Cmd, len(keys))
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			asked[i] = p.Eval(ctx, claimHome, []string{homePrefix + key}, node, ttl.Milliseconds())
		}
		return nil
	})
	if err != nil {
		return nil, homesAway("claim homes", err)
	}
	homes := make([]string, len(keys))
	for i, c := range asked {
		if homes[i], err = c.Text(); err != nil {
			return nil, homesAway("claim homes", err)
		}
	}
	return homes, nil
}

// Release implements home.Store.
func (s *Homes) Release(ctx context.Context, keys []string, node string) error {
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, key := range keys {
			p.Eval(ctx, releaseHome, []string{homePrefix + key}, node)
		}
		return nil
	})
	if err != nil {
		return homesAway("release homes", err)
	}
	return nil
}

func homesAway(what string, err error) error {
	return fault.New(fault.Unavailable, reasonHomes, "The homes of processes cannot be looked up.").Because(fmt.Errorf("%s: %w", what, err))
}
