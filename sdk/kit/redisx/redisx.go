// SPDX-License-Identifier: Apache-2.0

package redisx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
	"github.com/sony/gobreaker/v2"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// ReasonUnavailable is the reason of every command that is refused because its server is known to be away.
const ReasonUnavailable = "REDIS_UNAVAILABLE"

const (
	dialTimeout = 500 * time.Millisecond
	ioTimeout   = 2 * time.Second // a process on a busy machine may not get to run for a second
	// poolSize is how many commands a server gets at a time, and poolTimeout how long others wait for their turn: all clients
	// of a node that has died come to the other nodes at one moment.
	poolSize    = 64
	poolTimeout = time.Second
	// retryAfter is how long a server that was away is left alone: one caller a second finds out whether it is back.
	retryAfter = time.Second
	// tripAfter is how many commands in a row have to fail. One lost connection is no outage.
	tripAfter = 2
)

// Config is what a [Client] reports with.
type Config struct {
	Log   *slog.Logger         // nil discards
	Meter metric.MeterProvider // nil counts nothing
}

// Client is a Redis, or a Redis Cluster. Close ends it.
//
// A command that finds the server away returns after at most 500 ms (dial) plus 2 s (read or write), and 1 s if 64 others are
// under way, or at once with the fault Unavailable REDIS_UNAVAILABLE when two commands before it failed and the last of them less
// than a second ago. Commands are not repeated: a script that takes something may have taken it.
type Client struct {
	redis.UniversalClient

	log *slog.Logger

	mu       sync.Mutex
	breakers []*gobreaker.CircuitBreaker[struct{}] // one for a server; of a cluster, one for each that was used
}

// Open makes the client; it does not connect, so that a process starts without its Redis. The faults are Invalid
// REDIS_CONFIG_INVALID with the settings in Fields.
func Open(s Settings, c Config) (*Client, error) {
	if !s.Enabled() {
		return nil, invalid("is empty")
	}
	t, err := s.parse()
	if err != nil {
		return nil, err
	}
	// The library's own lines say what the faults and the breaker say, unformatted, to standard error, for each connection.
	redis.SetLogger(new(logging.VoidLogger))
	client := &Client{log: c.Log}
	if client.log == nil {
		client.log = slog.New(slog.DiscardHandler)
	}
	o := &redis.UniversalOptions{
		Addrs: t.addrs, Username: t.user, Password: t.password, DB: t.database, TLSConfig: t.tls,
		DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolSize: poolSize, PoolTimeout: poolTimeout,
		MaxRetries: -1, ContextTimeoutEnabled: true, ConnMaxIdleTime: 5 * time.Minute,
		// Redis 7.0 knows neither.
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if t.cluster {
		cluster := redis.NewClusterClient(o.Cluster())
		// A master that died is replaced within seconds, and only who asks the others learns by whom: the library asks by itself
		// when a server sends it elsewhere, which a dead one does not.
		reload := func(ctx context.Context) { cluster.ReloadState(ctx) }
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(client.guard(reload)) })
		client.UniversalClient = cluster
	} else {
		single := redis.NewClient(o.Simple())
		single.AddHook(client.guard(func(context.Context) {}))
		client.UniversalClient = single
	}
	if c.Meter != nil {
		if err := client.observe(c.Meter); err != nil {
			return nil, errors.Join(err, client.Close())
		}
	}
	return client, nil
}

// Available reports whether a command has a chance: false while every server that was used is known to be away. It asks nobody.
func (c *Client) Available() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.breakers {
		if b.State() != gobreaker.StateOpen {
			return true
		}
	}
	return len(c.breakers) == 0
}

func (c *Client) observe(provider metric.MeterProvider) error {
	_, err := provider.Meter("github.com/penstockhq/penstock/sdk/kit/redisx").Int64ObservableGauge("penstock_redis_available_ratio",
		metric.WithUnit("1"), metric.WithDescription("Whether the Redis of this process answers: 1, or 0 while it is left alone."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			var up int64
			if c.Available() {
				up = 1
			}
			o.Observe(up)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make the Redis gauge: %w", err)
	}
	return nil
}

// guard makes the hook of one server. It calls refused for each command that the breaker refuses.
func (c *Client) guard(refused func(context.Context)) redis.Hook {
	b := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name: "redis", MaxRequests: 1, Timeout: retryAfter,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		IsSuccessful: answered,
		// A command that did not have its turn says nothing of the server.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, redis.ErrPoolTimeout) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			switch {
			case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
				c.log.Warn("redis is away")
			case to == gobreaker.StateClosed:
				c.log.Info("redis is back")
			default: // half open: somebody tries
			}
		},
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	// A cluster that changes for years makes no list without end; the oldest servers are gone long since.
	if len(c.breakers) >= maxServers {
		c.breakers = c.breakers[1:]
	}
	c.breakers = append(c.breakers, b)
	return hook{b, refused}
}

// answered reports whether the server did its work, also if the answer is an error reply.
func answered(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return true
	}
	if redis.IsLoadingError(err) || redis.IsClusterDownError(err) || redis.IsMasterDownError(err) {
		return false
	}
	_, reply := errors.AsType[redis.Error](err)
	return reply
}

type hook struct {
	breaker *gobreaker.CircuitBreaker[struct{}]
	refused func(context.Context)
}

// DialHook returns next: what a dial costs is counted with its command.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook guards one command.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if handshake(cmd) {
			return next(ctx, cmd)
		}
		_, err := h.breaker.Execute(func() (struct{}, error) { return struct{}{}, next(ctx, cmd) })
		return h.away(ctx, err)
	}
}

// ProcessPipelineHook guards a pipeline or transaction.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if len(cmds) > 0 && handshake(cmds[0]) {
			return next(ctx, cmds)
		}
		ran := false
		_, err := h.breaker.Execute(func() (struct{}, error) {
			ran = true
			return struct{}{}, next(ctx, cmds)
		})
		err = h.away(ctx, err)
		if !ran {
			for _, cmd := range cmds {
				cmd.SetErr(err)
			}
		}
		return err
	}
}

// handshake reports whether cmd opens a connection. Those run inside the command that needs the connection: counted twice, the
// one caller who tries a server that was away would be refused by its own attempt.
func handshake(cmd redis.Cmder) bool {
	switch cmd.Name() {
	case "hello", "auth", "select", "client", "readonly":
		return true
	default:
		return false
	}
}

// away gives what the breaker says the house's form.
func (h hook) away(ctx context.Context, err error) error {
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		h.refused(ctx)
		return fault.New(fault.Unavailable, ReasonUnavailable, "The shared state cannot be reached.").After(retryAfter).Because(err)
	}
	return err
}
