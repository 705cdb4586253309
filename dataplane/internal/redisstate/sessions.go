// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// reasonSessions (Unavailable): the store of sessions does not answer.
const reasonSessions = "SESSION_STORE_UNAVAILABLE"

// Sessions is a [session.Store], a [session.Fleet] and an upstream.Registry in Redis. It is safe for concurrent use.
type Sessions struct {
	redis redis.UniversalClient

	own, release           *redis.Script
	take, fill, use, claim *redis.Script
}

// NewSessions returns the store of sessions that lies in a Redis.
func NewSessions(r redis.UniversalClient) *Sessions {
	return &Sessions{
		redis: r, own: redis.NewScript(ownStream), release: redis.NewScript(releaseStream), take: redis.NewScript(takePlace),
		fill: redis.NewScript(fillPlace), use: redis.NewScript(usePlace), claim: redis.NewScript(claimPlace),
	}
}

// Keys of a session; its uid is their hash tag.
func keyOf(id, what string) string { return "pst:{" + id + "}:" + what }

func recordKey(id session.UID) string { return keyOf(id.String(), "s") }
func deadKey(id session.UID) string   { return keyOf(id.String(), "dead") }
func ownerKey(id session.UID) string  { return keyOf(id.String(), "get") }

func sessionsAway(what string, err error) error {
	return fault.Newf(fault.Unavailable, reasonSessions, "The store of sessions cannot %s.", what).Because(err)
}

// Load implements [session.Store]. The record is read before the tombstone: an end in between is seen.
func (s *Sessions) Load(ctx context.Context, id session.UID) (r session.Record, _ error) {
	var fields *redis.MapStringStringCmd
	var dead *redis.IntCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		fields, dead = p.HGetAll(ctx, recordKey(id)), p.Exists(ctx, deadKey(id))
		return nil
	})
	if err != nil {
		return r, sessionsAway("tell of a session", err)
	}
	r.Ended = dead.Val() > 0
	for name, value := range fields.Val() {
		if r.Fields == nil {
			r.Fields = make(map[string][]byte)
		}
		r.Fields[name] = []byte(value)
	}
	return r, nil
}

// Put implements [session.Store].
func (s *Sessions) Put(ctx context.Context, id session.UID, fields map[string][]byte) error {
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for name, value := range fields {
			if value == nil {
				p.HDel(ctx, recordKey(id), name)
				continue
			}
			p.HSet(ctx, recordKey(id), name, value)
		}
		p.PExpire(ctx, recordKey(id), session.RecordLife)
		return nil
	})
	if err != nil {
		return sessionsAway("take a record", err)
	}
	return nil
}

// Touch implements [session.Store]. What upstreams have for a session lasts as long.
func (s *Sessions) Touch(ctx context.Context, ids []session.UID) (gone []session.UID, _ error) {
	kept := make([]*redis.BoolCmd, 0, len(ids))
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, id := range ids {
			kept = append(kept, p.PExpire(ctx, recordKey(id), session.RecordLife))
			p.PExpire(ctx, placesKey(id.String()), session.RecordLife)
		}
		return nil
	})
	if err != nil {
		return nil, sessionsAway("keep records", err)
	}
	for i, one := range kept {
		if !one.Val() {
			gone = append(gone, ids[i])
		}
	}
	return gone, nil
}

// End implements [session.Store]. Its streams are left to expire: nobody can ask for them any more.
func (s *Sessions) End(ctx context.Context, id session.UID, until time.Time) error {
	_, err := s.redis.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, deadKey(id), 1, 0)
		p.PExpireAt(ctx, deadKey(id), until)
		p.Del(ctx, recordKey(id), ownerKey(id))
		return nil
	})
	if err != nil {
		return sessionsAway("note the end of a session", err)
	}
	return nil
}

// A generation is the server's time in microseconds, or one more than the last: a key that has expired does not begin anew.
const ownStream = `
local t = redis.call('TIME')
local g = t[1] * 1000000 + t[2]
local old = redis.call('HGET', KEYS[1], 'g')
if old and tonumber(old) >= g then g = tonumber(old) + 1 end
g = string.format('%.0f', g)
local before = redis.call('HGET', KEYS[1], 'n') or ''
redis.call('HSET', KEYS[1], 'g', g, 'n', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {g, before}`

const renewStream = `
local old = redis.call('HGET', KEYS[1], 'g')
if old and old ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'g', ARGV[2], 'n', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`

const releaseStream = `
if redis.call('HGET', KEYS[1], 'g') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`

// Own implements [session.Streams].
func (s *Sessions) Own(ctx context.Context, id session.UID, node string) (generation int64, before string, _ error) {
	got, err := s.own.Run(ctx, s.redis, []string{ownerKey(id)}, node, session.StreamLife.Milliseconds()).StringSlice()
	if err == nil && len(got) == 2 {
		generation, err = strconv.ParseInt(got[0], 10, 64)
		before = got[1]
	}
	if err != nil {
		return 0, "", sessionsAway("note who has a stream", err)
	}
	return generation, before, nil
}

// Renew implements [session.Streams].
func (s *Sessions) Renew(ctx context.Context, node string, leases []session.Lease) (lost []session.Lease, _ error) {
	mine := make([]*redis.Cmd, 0, len(leases))
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, l := range leases {
			// With its text: a server that does not know the script fails the pipeline.
			mine = append(mine, p.Eval(ctx, renewStream, []string{ownerKey(l.Session)}, node, l.Generation, session.StreamLife.Milliseconds()))
		}
		return nil
	})
	if err != nil {
		return nil, sessionsAway("keep who has a stream", err)
	}
	for i, one := range mine {
		if kept, err := one.Int(); err == nil && kept == 0 {
			lost = append(lost, leases[i])
		}
	}
	return lost, nil
}

// Release implements [session.Streams].
func (s *Sessions) Release(ctx context.Context, l session.Lease) error {
	if err := s.release.Run(ctx, s.redis, []string{ownerKey(l.Session)}, l.Generation).Err(); err != nil {
		return sessionsAway("take a stream back", err)
	}
	return nil
}

// Owner implements [session.Streams].
func (s *Sessions) Owner(ctx context.Context, id session.UID) (string, error) {
	node, err := s.redis.HGet(ctx, ownerKey(id), "n").Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return "", sessionsAway("tell who has a stream", err)
	}
	return node, nil
}
