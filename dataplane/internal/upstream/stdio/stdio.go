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

	"github.com/penstockhq/penstock/dataplane/internal/upstream/stdio/talk"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

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
	// StartTimeout bounds the time from the start of a process to its answer to initialize or server/discover. Default 30 s.
	StartTimeout time.Duration
	// ProbeTimeout is the silence after server/discover that makes a server a legacy one. Default 5 s, at most half of
	// StartTimeout.
	ProbeTimeout time.Duration
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
	def(&c.ProbeTimeout, 5*time.Second)
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
	cfg      Config
	talks    talk.Config
	log      *slog.Logger
	seed     maphash.Seed
	restarts metric.Int64Counter
	dropped  metric.Int64Counter

	room    chan struct{}   // one element for each process that is not over
	group   sync.WaitGroup  // what runs beside calls
	life    context.Context //nolint:containedctx // of what runs beside calls; Close ends it
	endLife context.CancelFunc

	mu        sync.Mutex // guards what follows, and the sites
	sites     map[siteKey]*site
	processes map[*talk.Talk]*site // that are not over
	versions  map[string]wire.Version
	attached  map[string]*attachment // by session
	attaches  int
	closed    bool
}

// New checks the configuration and returns a Pool. It starts nothing: processes start with the calls that need them.
func New(c Config) (*Pool, error) {
	if c.MaxProcesses < 0 || c.MaxMessage < 0 || min(c.Idle, c.StartTimeout, c.ProbeTimeout, c.StopGrace, c.HungAfter, c.WriteTimeout, c.CallCeiling,
		c.FirstPause, c.MaxPause) < 0 {
		return nil, errors.New("stdio pool: limits must not be negative")
	}
	c = c.withDefaults()
	info := wire.AppendString([]byte(`{"name":`), c.ClientName)
	info = wire.AppendString(append(info, `,"version":`...), c.ClientVersion)
	p := &Pool{
		cfg: c, log: c.Log, seed: maphash.MakeSeed(), room: make(chan struct{}, c.MaxProcesses),
		sites: make(map[siteKey]*site), processes: make(map[*talk.Talk]*site), versions: make(map[string]wire.Version),
		attached: make(map[string]*attachment),
	}
	p.life, p.endLife = context.WithCancel(context.Background()) //nolint:forbidigo // processes outlive every call; Close ends them
	p.talks = talk.Config{
		ClientInfo: append(info, '}'), StartTimeout: c.StartTimeout, ProbeTimeout: c.ProbeTimeout, StopGrace: c.StopGrace,
		WriteTimeout: c.WriteTimeout, HungAfter: c.HungAfter, CallCeiling: c.CallCeiling, Go: p.group.Go, Drop: p.drop,
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

func (p *Pool) drop() { p.dropped.Add(context.Background(), 1) } //nolint:forbidigo // a count belongs to no call

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
	clear(p.versions)
	p.endAll(func(x *talk.Talk) bool {
		_, of := x.Names()
		return of == connection
	}, "its connection was denied")
}

// Close ends what watches and is attached, and all processes (standard input closed, 5 s, SIGTERM, 5 s, SIGKILL) and waits for them; when ctx ends first, with
// SIGKILL at once. Calls that come later fail.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	p.endLife()
	p.endAll(func(*talk.Talk) bool { return true }, whyStopping)
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
			x.Kill()
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
	var latest *site
	for other, s := range p.sites { // whatever it is declared
		other.capabilities, other.describing = k.capabilities, false
		if other == k && (latest == nil || s.used.After(latest.used)) {
			latest = s
		}
	}
	p.mu.Unlock()
	if latest == nil {
		return ""
	}
	return latest.errors.Text(t.SecretEnv)
}
