// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a [Store] in a Redis or Redis Cluster. Time is the server's, each method one script and one round trip, and a key
// vanishes when it says nothing any more. It works with Redis 7.0 and Valkey.
type Redis struct {
	client                redis.UniversalClient
	take, attempt, forget *redis.Script
}

// NewRedis returns a store on a client, which the caller closes.
func NewRedis(client redis.UniversalClient) *Redis {
	return &Redis{
		client: client, take: redis.NewScript(takeScript), attempt: redis.NewScript(attemptScript),
		forget: redis.NewScript(`return redis.call('DEL', KEYS[1])`),
	}
}

// takeScript is bucket.take. The value is "<level> <microseconds>". A server whose clock is behind that of the one it
// replaced goes on from its own.
const takeScript = `
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local amount, period, burst, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local level, at = 0, now
local v = redis.call('GET', KEYS[1])
if v then
  local l, a = string.match(v, '^(%S+) (%S+)$')
  level, at = tonumber(l) or 0, tonumber(a) or now
  if now > at then level = math.max(level - (now - at) * amount / period, 0) end
end
local granted = n
if n > 0 then granted = math.min(n, math.max(math.floor(burst - level + 1e-6), 0)) end
level = math.max(level + granted, 0)
if granted ~= 0 or now < at then
  if level > 0 then
    redis.call('SET', KEYS[1], string.format('%.6f %.0f', level, now),
      'PX', string.format('%.0f', math.min(math.ceil(level * period / amount / 1000), 31536000000) + 1000))
  else
    redis.call('DEL', KEYS[1])
  end
end
local wait = 0
if level + 1 - burst > 1e-6 then wait = math.min(math.ceil((level + 1 - burst) * period / amount), 31536000000000) end
return {granted, wait}`

// attemptScript is steps.attempt. The value is "<count> <last> <next>", in microseconds.
const attemptScript = `
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local free, first, longest, forget = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local count, last, next = 0, 0, 0
local v = redis.call('GET', KEYS[1])
if v then
  local c, l, x = string.match(v, '^(%S+) (%S+) (%S+)$')
  count, last, next = tonumber(c) or 0, tonumber(l) or 0, tonumber(x) or 0
  if now - last >= forget then count, next = 0, 0 end
end
if next > now then return next - now end
count = count + 1
local wait = 0
if count >= free then wait = math.min(first * 2 ^ math.min(count - free, 62), longest) end
redis.call('SET', KEYS[1], string.format('%.0f %.0f %.0f', count, now, now + wait),
  'PX', string.format('%.0f', math.ceil(math.max(forget, wait) / 1000)))
return 0`

// Take is described at [Store].
func (r *Redis) Take(ctx context.Context, key string, l Limit, n int) (Grant, error) {
	got, err := r.take.Run(ctx, r.client, []string{"pst:{q:" + key + "}"},
		l.Amount, l.Period.Microseconds(), l.atOnce(), n).Int64Slice()
	if err != nil {
		return Grant{}, fmt.Errorf("take permits: %w", err)
	}
	if len(got) != 2 {
		return Grant{}, errors.New("take permits: the script's answer has another shape")
	}
	return Grant{Permits: int(got[0]), Retry: time.Duration(got[1]) * time.Microsecond}, nil
}

// Attempt is described at [Store].
func (r *Redis) Attempt(ctx context.Context, key string, l Ladder) (time.Duration, error) {
	wait, err := r.attempt.Run(ctx, r.client, []string{"pst:{a:" + key + "}"},
		l.Free, l.First.Microseconds(), l.Longest.Microseconds(), l.Forget.Microseconds()).Int64()
	if err != nil {
		return 0, fmt.Errorf("begin an attempt: %w", err)
	}
	return time.Duration(wait) * time.Microsecond, nil
}

// Forget is described at [Store].
func (r *Redis) Forget(ctx context.Context, key string) error {
	if err := r.forget.Run(ctx, r.client, []string{"pst:{a:" + key + "}"}).Err(); err != nil {
		return fmt.Errorf("forget attempts: %w", err)
	}
	return nil
}

// Either is a [Store] that asks the first of two, and the second while the first cannot be reached: a limit of requests that
// are rare enough for a round trip each.
type Either struct{ First, Second Store }

// Take is described at [Store].
func (e Either) Take(ctx context.Context, key string, l Limit, n int) (Grant, error) {
	if g, err := e.First.Take(ctx, key, l, n); err == nil {
		return g, nil
	}
	return e.Second.Take(ctx, key, l, n)
}

// Attempt is described at [Store].
func (e Either) Attempt(ctx context.Context, key string, l Ladder) (time.Duration, error) {
	if wait, err := e.First.Attempt(ctx, key, l); err == nil {
		return wait, nil
	}
	return e.Second.Attempt(ctx, key, l)
}

// Forget is described at [Store]. It forgets in both.
func (e Either) Forget(ctx context.Context, key string) error {
	second := e.Second.Forget(ctx, key)
	if err := e.First.Forget(ctx, key); err == nil {
		return nil
	}
	return second
}
