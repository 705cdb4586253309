// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Target is one stdio server, resolved for one call. It is immutable.
type Target struct {
	// Server and Connection are names for errors and logs; Connection is what [Pool.Drop] goes by.
	Server, Connection string
	// Command is an absolute path, or a name that is looked up in the node's own PATH when the process starts.
	Command string
	Args    []string
	// Env and SecretEnv together are the whole environment of the process; SecretEnv wins. Nothing is inherited.
	Env       map[string]string
	SecretEnv map[string]obs.Secret
	// Version is the legacy version to ask for; any other value means the latest legacy one.
	Version wire.Version
	// Key is the identity of connection and credential: it separates processes.
	Key string
	// PrincipalKey owns the process, unless Stateless (M-59).
	PrincipalKey string
	// Stateless says that the server keeps nothing about its callers, so that they may share a process.
	Stateless bool
	// CallTimeout is restarted by progress (M-49). Default 60 s.
	CallTimeout time.Duration
	// MaxResponse bounds one message of the server in bytes. Default [Config].MaxMessage.
	MaxResponse int64
	// MaxConcurrent bounds calls under way for the process; 0 is no bound.
	MaxConcurrent int
}

// Config makes a [Pool]. Every zero field means its default.
type Config struct {
	// ClientName and ClientVersion are the clientInfo that servers see. Defaults "penstock" and "0".
	ClientName, ClientVersion string
	// Dir is the working directory of the processes. Default the system's directory for temporary files.
	Dir string
	// MaxProcesses bounds the processes of the node, those that are ending included. Default 64.
	MaxProcesses int
	// MaxMessage bounds one line of a server, in bytes. Default 10 MiB.
	MaxMessage int64
	// Idle is how long an unused process is kept. Default 10 min.
	Idle time.Duration
	// StartTimeout bounds the time from the start of a process to its answer to initialize. Default 30 s.
	StartTimeout time.Duration
	// StopGrace is how long a process may take to end after its standard input was closed, and again after SIGTERM.
	// Default 5 s.
	StopGrace time.Duration
	// WriteTimeout is how long a server may leave its input unread before it counts as hung. Default 10 s.
	WriteTimeout time.Duration
	// HungAfter is how long a process may leave a ping unanswered after a call timed out; then it is ended. Default 30 s.
	HungAfter time.Duration
	// CallCeiling ends a call whatever progress it makes. Default 15 min.
	CallCeiling time.Duration
	// FirstPause and MaxPause bound the pauses between starts of a process that keeps failing. Defaults 0.5 s and 1 min.
	FirstPause, MaxPause time.Duration
	// Log may be nil.
	Log *slog.Logger
	// Meter may be nil.
	Meter metric.MeterProvider
}

const (
	defaultCallTimeout = 60 * time.Second
	// evictTimeout bounds the wait for the end of an idle process that makes room for another.
	evictTimeout = 15 * time.Second
	// stableAfter is how long a process must live for its end not to count as one of a row of failures.
	stableAfter = 30 * time.Second
)

// withDefaults returns c with its zero fields filled in.
func (c Config) withDefaults() Config {
	def(&c.ClientName, "penstock")
	def(&c.ClientVersion, "0")
	def(&c.Dir, os.TempDir())
	def(&c.MaxProcesses, 64)
	def(&c.MaxMessage, 10<<20)
	def(&c.Idle, 10*time.Minute)
	def(&c.StartTimeout, 30*time.Second)
	def(&c.StopGrace, 5*time.Second)
	def(&c.WriteTimeout, 10*time.Second)
	def(&c.HungAfter, 30*time.Second)
	def(&c.CallCeiling, 15*time.Minute)
	def(&c.FirstPause, 500*time.Millisecond)
	def(&c.MaxPause, time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Meter == nil {
		c.Meter = noop.NewMeterProvider()
	}
	return c
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Pool runs stdio servers. It is safe for concurrent use.
type Pool struct {
	cfg        Config
	log        *slog.Logger
	clientInfo []byte // raw object
	seed       maphash.Seed
	restarts   metric.Int64Counter
	dropped    metric.Int64Counter

	room  chan struct{}  // one element for each process that is not over
	group sync.WaitGroup // starts and stops under way

	mu        sync.Mutex // guards what follows
	sites     map[siteKey]*site
	processes map[*process]struct{} // that are not over
	closed    bool
}

// New checks the configuration and returns a Pool. It starts nothing: processes start with the calls that need them.
func New(c Config) (*Pool, error) {
	if c.MaxProcesses < 0 || c.MaxMessage < 0 || min(c.Idle, c.StartTimeout, c.StopGrace, c.HungAfter, c.WriteTimeout, c.CallCeiling,
		c.FirstPause, c.MaxPause) < 0 {
		return nil, errors.New("stdio pool: limits must not be negative")
	}
	c = c.withDefaults()
	info := wire.AppendString([]byte(`{"name":`), c.ClientName)
	info = wire.AppendString(append(info, `,"version":`...), c.ClientVersion)
	p := &Pool{
		cfg: c, log: c.Log, clientInfo: append(info, '}'), seed: maphash.MakeSeed(),
		room: make(chan struct{}, c.MaxProcesses), sites: make(map[siteKey]*site), processes: make(map[*process]struct{}),
	}
	if err := p.instrument(c.Meter.Meter("github.com/penstockhq/penstock/dataplane/internal/upstream/stdio")); err != nil {
		return nil, fmt.Errorf("stdio pool: %w", err)
	}
	return p, nil
}

func (p *Pool) instrument(m metric.Meter) error {
	var err error
	if p.restarts, err = m.Int64Counter(obs.MetricStdioRestarts,
		metric.WithDescription("Starts of stdio servers after one that failed.")); err != nil {
		return err
	}
	if p.dropped, err = m.Int64Counter("penstock_stdio_dropped_messages_total",
		metric.WithDescription("Lines of stdio servers that are no messages or belong to no call, and messages that did not fit a queue.")); err != nil {
		return err
	}
	_, err = m.Int64ObservableGauge(obs.MetricStdioProcesses,
		metric.WithDescription("Processes of stdio servers."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(int64(len(p.room)))
			return nil
		}))
	return err
}

// Run ends idle processes until ctx is cancelled and then returns nil. What runs then is ended by [Pool.Close].
func (p *Pool) Run(ctx context.Context) error {
	tick := time.NewTicker(min(p.cfg.Idle, time.Minute) / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			p.stopIdle()
		}
	}
}

// Drop ends the processes of a connection, by name: it was denied, or its credential must not be used any more. Calls
// under way on them fail.
func (p *Pool) Drop(connection string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endAll(func(x *process) bool { return x.connection == connection }, "its connection was denied")
}

// Close ends all processes (standard input closed, 5 s, SIGTERM, 5 s, SIGKILL) and waits for them; when ctx ends first, with
// SIGKILL at once. Calls that come later fail.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.endAll(func(*process) bool { return true }, whyStopping)
	p.mu.Unlock()
	over := make(chan struct{})
	go func() {
		p.group.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
		p.mu.Lock()
		for x := range p.processes {
			x.run.Kill()
		}
		p.mu.Unlock()
		<-over
	}
	return nil
}

// Stderr returns what the process of a target wrote to standard error lately, at most 64 KiB, for a person who looks
// for the reason of a failure. Secrets of its environment are redacted. It may hold arguments and results of calls, so it
// must not be logged.
func (p *Pool) Stderr(t Target) string {
	k := p.keyOf(&t)
	p.mu.Lock()
	s := p.sites[k]
	if k.listing = true; s == nil {
		s = p.sites[k]
	}
	p.mu.Unlock()
	if s == nil {
		return ""
	}
	return s.errors.Text(t.SecretEnv)
}
