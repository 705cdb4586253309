// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/taint"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	// contextGroups is how many groups marks are kept in. Each is a hash tag with a generation of its own: the servers of a cluster
	// lose their data one by one.
	contextGroups = 8

	// reasonContexts (Unavailable): the store does not answer.
	reasonContexts = "CONTEXT_STORE_UNAVAILABLE"

	// contextGeneration finds the generation of a group, which is made anew where there is none, and where the data is another line of
	// replication than it was: after a restart or a failover, what was written last may be missing. KEYS[1] is the generation; it leaves
	// now, in milliseconds, and age.
	contextGeneration = `
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local line = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
local g = redis.call('HMGET', KEYS[1], 'line', 'at')
if g[1] ~= line or not g[2] then
  redis.call('HSET', KEYS[1], 'line', line, 'at', string.format('%.0f', now))
  g[2] = now
end
local age = math.max(0, now - g[2])
`
	watchContexts = contextGeneration + `return age`

	// readContext returns the age of the generation, then the sources if there is a mark. KEYS[2] is the mark, ARGV[1] the window in
	// milliseconds or 0, ARGV[2] how long it is kept.
	readContext = contextGeneration + `
local m = redis.call('HMGET', KEYS[2], 'used', 'sources')
if m[1] and ARGV[1] ~= '0' then
  if now - m[1] >= tonumber(ARGV[1]) then return {age} end
  redis.call('HSET', KEYS[2], 'used', string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return {age, m[2]}`

	// markContext makes a mark, or adds ARGV[3] to its sources, at most ARGV[4].
	markContext = contextGeneration + `
local m = redis.call('HMGET', KEYS[2], 'used', 'sources')
local sources = m[2] or ''
if m[1] and ARGV[1] ~= '0' and now - m[1] >= tonumber(ARGV[1]) then sources = '' end
local _, count = string.gsub(sources, '\n', '')
if ARGV[3] ~= '' and count < tonumber(ARGV[4]) and not string.find('\n' .. sources, '\n' .. ARGV[3] .. '\n', 1, true) then
  sources = sources .. ARGV[3] .. '\n'
end
redis.call('HSET', KEYS[2], 'used', string.format('%.0f', now), 'sources', sources)
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return age`

	// touchContext notes that the mark KEYS[1] was used ARGV[1] milliseconds ago.
	touchContext = `
local used = redis.call('HGET', KEYS[1], 'used')
if not used then return 0 end
local t = redis.call('TIME')
local at = t[1] * 1000 + math.floor(t[2] / 1000) - ARGV[1]
if at <= tonumber(used) or at - used >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'used', string.format('%.0f', at))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1`
)

// Contexts is a [taint.Store] in Redis. It is safe for concurrent use.
type Contexts struct {
	redis                    redis.UniversalClient
	read, mark, touch, watch *redis.Script
}

// NewContexts returns the marks that lie in a Redis. It must not evict keys: a mark that it drops for want of memory is gone unnoticed.
func NewContexts(r redis.UniversalClient) *Contexts {
	return &Contexts{
		redis: r, read: redis.NewScript(readContext), mark: redis.NewScript(markContext), touch: redis.NewScript(touchContext),
		watch: redis.NewScript(watchContexts),
	}
}

func contextGroup(id string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // a hash never fails
	return int(h.Sum32() % contextGroups)
}

func generationKey(group int) string { return fmt.Sprintf("pst:{ctx:%d}:generation", group) }

func contextKey(id string) string { return fmt.Sprintf("pst:{ctx:%d}:%s", contextGroup(id), id) }

// run runs a script with several sets of keys and arguments in one round trip. A server that does not have it gets its text.
func (s *Contexts) run(ctx context.Context, script *redis.Script, n int, of func(i int) (keys []string, args []any)) ([]*redis.Cmd, error) {
	asked := make([]*redis.Cmd, n)
	send := func(eval func(p redis.Pipeliner, keys []string, args ...any) *redis.Cmd) error {
		_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range asked {
				keys, args := of(i)
				asked[i] = eval(p, keys, args...)
			}
			return nil
		})
		return err //nolint:wrapcheck // by the caller
	}
	err := send(func(p redis.Pipeliner, keys []string, args ...any) *redis.Cmd {
		return script.EvalSha(ctx, p, keys, args...)
	})
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") { // every script may run twice
		err = send(func(p redis.Pipeliner, keys []string, args ...any) *redis.Cmd {
			return script.Eval(ctx, p, keys, args...)
		})
	}
	return asked, err
}

// lives says how long the mark of a key counts after its last use, 0 for all of its life, and how long it is kept.
func lives(k taint.Key) (window, kept int64) {
	if k.Window {
		return taint.Window.Milliseconds(), taint.Kept.Milliseconds()
	}
	return 0, taint.Life.Milliseconds()
}

// Read implements [taint.Store].
func (s *Contexts) Read(ctx context.Context, keys []taint.Key) ([]taint.Mark, error) {
	asked, err := s.run(ctx, s.read, len(keys), func(i int) ([]string, []any) {
		window, kept := lives(keys[i])
		return []string{generationKey(contextGroup(keys[i].ID)), contextKey(keys[i].ID)}, []any{window, kept}
	})
	if err != nil {
		return nil, contextsAway("read marks", err)
	}
	marks := make([]taint.Mark, len(keys))
	for i, c := range asked {
		answer, err := c.Slice()
		if err != nil || len(answer) == 0 {
			return nil, contextsAway("read marks", err)
		}
		age, _ := answer[0].(int64)
		marks[i].Reach = time.Duration(age) * time.Millisecond
		if len(answer) < 2 || answer[1] == nil {
			continue
		}
		marks[i].Untrusted = true
		if text, _ := answer[1].(string); text != "" {
			marks[i].Sources = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		}
	}
	return marks, nil
}

// Mark implements [taint.Store].
func (s *Contexts) Mark(ctx context.Context, keys []taint.Key, server string) error {
	_, err := s.run(ctx, s.mark, len(keys), func(i int) ([]string, []any) {
		window, kept := lives(keys[i])
		return []string{generationKey(contextGroup(keys[i].ID)), contextKey(keys[i].ID)}, []any{window, kept, server, taint.MaxSources}
	})
	if err != nil {
		return contextsAway("mark contexts", err)
	}
	return nil
}

// Touch implements [taint.Store].
func (s *Contexts) Touch(ctx context.Context, uses []taint.Use) error {
	_, err := s.run(ctx, s.touch, len(uses), func(i int) ([]string, []any) {
		return []string{contextKey(uses[i].ID)}, []any{uses[i].Ago.Milliseconds(), taint.Window.Milliseconds(), taint.Kept.Milliseconds()}
	})
	if err != nil {
		return contextsAway("touch marks", err)
	}
	return nil
}

// Watch implements [taint.Store]. A group gets its generation before anybody asks for it.
func (s *Contexts) Watch(ctx context.Context) (reach time.Duration, err error) {
	asked, err := s.run(ctx, s.watch, contextGroups, func(i int) ([]string, []any) { return []string{generationKey(i)}, nil })
	if err != nil {
		return 0, contextsAway("look for lost data", err)
	}
	for i, c := range asked {
		age, err := c.Int64()
		if err != nil {
			return 0, contextsAway("look for lost data", err)
		}
		if of := time.Duration(age) * time.Millisecond; i == 0 || of < reach {
			reach = of
		}
	}
	return reach, nil
}

func contextsAway(what string, err error) error {
	return fault.New(fault.Unavailable, reasonContexts, "It cannot be looked up which contexts are untrusted.").Because(fmt.Errorf("%s: %w", what, err))
}
