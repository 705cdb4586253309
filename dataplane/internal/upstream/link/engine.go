// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/httpclient"
	"github.com/penstockhq/penstock/dataplane/internal/upstream/peer"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Config makes an [Engine]. All of it is required but the functions.
type Config struct {
	HTTP *httpclient.Client
	// ClientName and ClientVersion are the clientInfo that upstreams see.
	ClientName, ClientVersion string
	// ProbeTimeout is how long a server may be silent to initialize, and to
	// other requests of the node's own.
	ProbeTimeout time.Duration
	// CallCeiling ends a call whatever progress it makes.
	CallCeiling time.Duration
	// MaxStreams bounds the streams open for messages outside of calls.
	MaxStreams int
	// Dropped counts messages that belong to no request, and what was not sent.
	Dropped metric.Int64Counter
	// Attached gets an event for who is attached to a client's session, and
	// reports whether somebody is. nil if nobody ever is.
	Attached func(uid, connection string, e peer.Event) bool
	// Elsewhere reports whether another node hears what the session says outside of calls, so that this one must not; Heard
	// does as well, and waits a moment until that is so. nil if none ever does.
	Elsewhere func(*Session) bool
	Heard     func(context.Context, *Session) bool
	// Reached is told the id of an event of a session's stream when what came until then has been given to who is attached.
	// May be nil.
	Reached func(ses *Session, eventID string)
	// Lost is told on a goroutine of its own, for which [Engine.Close] waits,
	// that an upstream session is lost that is attached. May be nil.
	Lost func(*Session)
}

const (
	defaultCallTimeout = 60 * time.Second
	defaultMaxResponse = 10 << 20
	// shortTimeout bounds what is sent beside a call: cancellations, the end of
	// sessions.
	shortTimeout = 2 * time.Second
	// replyTimeout bounds the sending of an answer to an upstream's question.
	replyTimeout = 30 * time.Second
	// maxBackground bounds requests beside calls; beyond it they are dropped.
	maxBackground = 64
)

// Engine sends and receives. It is safe for concurrent use.
type Engine struct {
	cfg        Config
	clientInfo []byte // raw object
	agent      string // User-Agent
	ids        atomic.Int64
	messengers sync.Pool
	streams    atomic.Int64 // open for messages outside of calls

	life context.Context //nolint:containedctx // of what runs beside calls
	end  context.CancelFunc

	mu     sync.RWMutex
	closed bool
	group  sync.WaitGroup // what runs beside calls
	slots  chan struct{}  // bounds background requests
}

// New returns an Engine. It starts nothing.
func New(cfg Config) *Engine {
	e := &Engine{cfg: cfg, slots: make(chan struct{}, maxBackground), agent: cfg.ClientName + "/" + cfg.ClientVersion}
	e.life, e.end = context.WithCancel(context.Background()) //nolint:forbidigo // streams outlive every call; Close ends them
	e.messengers.New = func() any { return &Messenger{} }
	info := wire.AppendString([]byte(`{"name":`), cfg.ClientName)
	info = wire.AppendString(append(info, `,"version":`...), cfg.ClientVersion)
	e.clientInfo = append(info, '}')
	return e
}

// Life ends when the engine is closed.
func (e *Engine) Life() context.Context { return e.life }

// Close ends all streams and waits for what runs beside calls. What is to begin
// later does not; requests on callers' goroutines still go out.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.end()
	e.group.Wait()
}

// Spawn runs f on a goroutine of its own, under a context that ends with the engine; Close waits for it. It reports false
// if the engine is closing.
func (e *Engine) Spawn(f func(context.Context)) bool { return e.spawn(f) }

// spawn runs f beside calls, under a context that ends with the engine. Close
// waits for it. It reports false if the engine is closing.
func (e *Engine) spawn(f func(context.Context)) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return false
	}
	e.group.Go(func() { f(e.life) })
	return true
}

// Background runs f beside the call that asks for it, under a context of its
// own that ends after 2 s. Close waits for it. If too many run or the engine is
// closing, f is dropped and counted, and the result is false.
func (e *Engine) Background(ctx context.Context, f func(context.Context)) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if !e.closed {
		select {
		case e.slots <- struct{}{}:
			// Detached: it is sent because the call's context has ended.
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), shortTimeout)
			e.group.Go(func() {
				defer func() { cancel(); <-e.slots }()
				f(short)
			})
			return true
		default:
		}
	}
	e.Drop(ctx)
	return false
}

// Drop counts a message that belongs to no request.
func (e *Engine) Drop(ctx context.Context) { e.cfg.Dropped.Add(ctx, 1) }

// OpenStream counts one more stream for messages outside of calls, and reports
// whether there may be one; then CloseStream takes it back.
func (e *Engine) OpenStream() bool {
	if e.streams.Add(1) > int64(e.cfg.MaxStreams) {
		e.streams.Add(-1)
		return false
	}
	return true
}

// CloseStream ends what [Engine.OpenStream] began.
func (e *Engine) CloseStream() { e.streams.Add(-1) }

// Streams returns how many streams are open for messages outside of calls.
func (e *Engine) Streams() int64 { return e.streams.Load() }

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}
