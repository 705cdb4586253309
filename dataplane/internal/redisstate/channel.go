// SPDX-License-Identifier: Apache-2.0

package redisstate

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// channel is the one that all nodes subscribe to (M-87).
const channel = "pst:sessions"

const (
	// pingEvery is how long a silent subscription is believed in; a Redis that does not answer then is away.
	pingEvery = 3 * time.Second
	// resubscribe is how long a subscription that broke waits at most for the next.
	resubscribe = time.Second
)

// Publish implements [session.Channel].
func (s *Sessions) Publish(ctx context.Context, note []byte) error {
	if err := s.redis.Publish(ctx, channel, note).Err(); err != nil {
		return sessionsAway("tell other nodes", err)
	}
	return nil
}

// Subscribe implements [session.Channel].
func (s *Sessions) Subscribe(ctx context.Context, take func(note []byte), live func(bool)) error {
	for {
		s.listen(ctx, take, live)
		live(false)
		pause := time.NewTimer(resubscribe/2 + rand.N(resubscribe/2)) //nolint:gosec // spreads load, keeps no secret
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil
		}
	}
}

// listen subscribes once, and returns when the subscription has broken.
func (s *Sessions) listen(ctx context.Context, take func(note []byte), live func(bool)) {
	sub := s.redis.Subscribe(ctx, channel)
	defer func() { _ = sub.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() }) // a read does not end with ctx
	defer stop()
	asked := false
	for {
		got, err := sub.ReceiveTimeout(ctx, pingEvery)
		var timeout net.Error
		switch {
		case err == nil:
			asked = false
		case !asked && errors.As(err, &timeout) && timeout.Timeout() && sub.Ping(ctx) == nil:
			asked = true
			continue
		default:
			return
		}
		switch m := got.(type) {
		case *redis.Subscription:
			live(true)
		case *redis.Message:
			take([]byte(m.Payload))
		default: // the answer to a ping
		}
	}
}
