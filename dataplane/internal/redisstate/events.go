// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/penstockhq/penstock/dataplane/internal/session"
	"github.com/penstockhq/penstock/dataplane/internal/session/replay"
)

// What a stream has sent is a Redis stream, whose ids are "<number of the event>-1"; what is known of it as a whole is a key
// beside it.
func eventsKey(id session.UID, stream string) string { return keyOf(id.String(), "r:"+stream) }
func headKey(id session.UID, stream string) string   { return keyOf(id.String(), "h:"+stream) }

// fieldEvent is the one field of an entry.
const fieldEvent = "e"

// Append implements [session.Events], in one pipeline.
func (s *Sessions) Append(ctx context.Context, entries []session.Entry) error {
	type streamKey struct {
		session session.UID
		name    string
	}
	touched := make(map[streamKey]bool, len(entries))
	cmds, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range entries {
			if e.Place != "" {
				p.Set(ctx, reachedKey(e.Session.String(), e.Place), e.Reached, session.ReachedLife)
				continue
			}
			events, head := eventsKey(e.Session, e.Stream), headKey(e.Session, e.Stream)
			if e.Gone {
				p.Del(ctx, events, head)
				delete(touched, streamKey{e.Session, e.Stream})
				continue
			}
			touched[streamKey{e.Session, e.Stream}] = true
			if e.Head != nil {
				p.Set(ctx, head, e.Head, 0)
			}
			oldest := strconv.FormatUint(e.Oldest, 10)
			switch {
			case e.Number > 0:
				p.XAdd(ctx, &redis.XAddArgs{
					Stream: events, MinID: oldest, ID: strconv.FormatUint(e.Number, 10) + "-1", Values: []any{fieldEvent, e.Event},
				})
			case e.Oldest > 0:
				p.XTrimMinID(ctx, events, oldest)
			}
		}
		for k := range touched {
			p.PExpire(ctx, eventsKey(k.session, k.name), replay.Life)
			p.PExpire(ctx, headKey(k.session, k.name), replay.Life)
		}
		return nil
	})
	if err == nil {
		return nil
	}
	for _, c := range cmds {
		if err := c.Err(); err != nil && !known(err) {
			return sessionsAway("take what a stream has sent", err)
		}
	}
	return nil
}

// known reports whether an event was not taken because it, or a later one, is there.
func known(err error) bool { return strings.HasPrefix(err.Error(), "ERR The ID specified in XADD") }

// Read implements [session.Events].
func (s *Sessions) Read(ctx context.Context, id session.UID, stream string, after uint64) (b session.Buffered, _ error) {
	var head *redis.StringCmd
	var events *redis.XMessageSliceCmd
	_, err := s.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		head = p.Get(ctx, headKey(id, stream))
		events = p.XRangeN(ctx, eventsKey(id, stream), strconv.FormatUint(after+1, 10), "+", replay.MaxEvents)
		return nil
	})
	switch {
	case errors.Is(head.Err(), redis.Nil) && events.Err() == nil:
		return b, nil
	case err != nil:
		return b, sessionsAway("tell what a stream has sent", err)
	}
	b.Head = []byte(head.Val())
	for _, m := range events.Val() {
		number, _, _ := strings.Cut(m.ID, "-")
		n, err := strconv.ParseUint(number, 10, 64)
		text, ok := m.Values[fieldEvent].(string)
		if err != nil || !ok {
			continue // not ours; the gap is seen
		}
		b.Events = append(b.Events, session.BufferedEvent{Number: n, Event: []byte(text)})
	}
	return b, nil
}
