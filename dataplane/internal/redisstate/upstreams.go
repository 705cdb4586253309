// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// The upstream sessions of a client's session are fields of one hash: "v:<place>" is the session, "t:<place>" when it was
// used last, in ms. Who opens one has a lock.
func placesKey(id string) string     { return keyOf(id, "up") }
func lockKey(id, name string) string { return keyOf(id, "up:"+name) }

// reachedKey holds how far an upstream session was heard.
func reachedKey(id, name string) string { return keyOf(id, "at:"+name) }

const now = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

const takePlace = now + `
local v = redis.call('HGET', KEYS[1], 'v:' .. ARGV[1])
if v then
  redis.call('HSET', KEYS[1], 't:' .. ARGV[1], now)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
  return {v, 0}
end
if redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then return {'', 1} end
return {'', 0}`

const fillPlace = now + `
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return 0 end
redis.call('DEL', KEYS[2])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], 'v:' .. ARGV[1], ARGV[3], 't:' .. ARGV[1], now)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1`

// usePlace notes a use, or with an empty third argument removes the session.
const usePlace = now + `
if redis.call('HGET', KEYS[1], 'v:' .. ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == '' then return redis.call('HDEL', KEYS[1], 'v:' .. ARGV[1], 't:' .. ARGV[1]) end
redis.call('HSET', KEYS[1], 't:' .. ARGV[1], now)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

const claimPlace = now + `
local ended = redis.call('EXISTS', KEYS[2]) == 1
if redis.call('HGET', KEYS[1], 'v:' .. ARGV[1]) ~= ARGV[2] then
  if ended then return 0 end
  return 1
end
local used = redis.call('HGET', KEYS[1], 't:' .. ARGV[1])
if not ended and used and now - tonumber(used) < tonumber(ARGV[3]) then return 0 end
redis.call('HDEL', KEYS[1], 'v:' .. ARGV[1], 't:' .. ARGV[1])
return 1`

// TakePlace implements upstream.Registry.
func (s *Sessions) TakePlace(ctx context.Context, id, name, token string, lock time.Duration) (value []byte, mine bool, _ error) {
	got, err := s.take.Run(ctx, s.redis, []string{placesKey(id), lockKey(id, name)},
		name, token, lock.Milliseconds(), session.RecordLife.Milliseconds()).Slice()
	if err != nil {
		return nil, false, sessionsAway("tell of an upstream session", err)
	}
	if len(got) == 2 {
		if text, _ := got[0].(string); text != "" {
			value = []byte(text)
		}
		n, _ := got[1].(int64)
		mine = n == 1
	}
	return value, mine, nil
}

// FillPlace implements upstream.Registry.
func (s *Sessions) FillPlace(ctx context.Context, id, name, token string, value []byte) (bool, error) {
	return s.done(ctx, s.fill, "take an upstream session", []string{placesKey(id), lockKey(id, name)},
		name, token, value, session.RecordLife.Milliseconds())
}

// UsePlace implements upstream.Registry.
func (s *Sessions) UsePlace(ctx context.Context, id, name string, value []byte) error {
	_, err := s.done(ctx, s.use, "keep an upstream session", []string{placesKey(id)}, name, value, session.RecordLife.Milliseconds())
	return err
}

// DropPlace implements upstream.Registry.
func (s *Sessions) DropPlace(ctx context.Context, id, name string, value []byte) error {
	_, err := s.done(ctx, s.use, "forget an upstream session", []string{placesKey(id)}, name, value, "")
	return err
}

// ClaimPlace implements upstream.Registry.
func (s *Sessions) ClaimPlace(ctx context.Context, id, name string, value []byte, idle time.Duration) (bool, error) {
	return s.done(ctx, s.claim, "give an upstream session up", []string{placesKey(id), keyOf(id, "dead")}, name, value, idle.Milliseconds())
}

// Places implements upstream.Registry.
func (s *Sessions) Places(ctx context.Context, id string) (map[string][]byte, error) {
	fields, err := s.redis.HGetAll(ctx, placesKey(id)).Result()
	if err != nil {
		return nil, sessionsAway("tell of upstream sessions", err)
	}
	places := make(map[string][]byte, len(fields)/2)
	for field, value := range fields {
		if name, ok := strings.CutPrefix(field, "v:"); ok {
			places[name] = []byte(value)
		}
	}
	return places, nil
}

// Reached implements upstream.Registry.
func (s *Sessions) Reached(ctx context.Context, id, name string) ([]byte, error) {
	reached, err := s.redis.Get(ctx, reachedKey(id, name)).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, sessionsAway("tell how far an upstream was heard", err)
	}
	return reached, nil
}

// done runs a script that returns 0 or 1.
func (s *Sessions) done(ctx context.Context, script *redis.Script, what string, keys []string, args ...any) (bool, error) {
	n, err := script.Run(ctx, s.redis, keys, args...).Int()
	if err != nil {
		return false, sessionsAway(what, err)
	}
	return n == 1, nil
}
