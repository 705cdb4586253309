// SPDX-License-Identifier: Apache-2.0

package taint

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// readTime and markTime bound what calls wait for. A mark may take longer: the call has run by then.
	readTime = 250 * time.Millisecond
	markTime = time.Second
	// pauseTime is how long the store is not asked after it failed.
	pauseTime = time.Second
)

// Prefixes of keys, by what they are of.
const (
	prefixSession = "s-" // a legacy session
	prefixCaller  = "c-" // a gateway, a principal and its client
	prefixHandle  = "h-"
	// ofHandles ends the key of what calls with handles have marked in a session, or for a caller.
	ofHandles = "~"
)

// Why a context counts as untrusted although no mark says so: values of the metric attribute "cause".
const (
	causeAway = "away" // the store does not answer
	causeLost = "lost" // it may have forgotten a mark
)

// Config is what a Tracker needs.
type Config struct {
	Store Store
	Keys  *seal.Keyset
	Log   *slog.Logger
	Meter metric.Meter
}

// Tracker says which contexts are untrusted. It is safe for concurrent use.
type Tracker struct {
	store   Store
	keys    *seal.Keyset
	log     *slog.Logger
	unknown metric.Int64Counter
	causes  map[string]metric.MeasurementOption

	mu   sync.Mutex
	away time.Time // since when the store does not answer; zero if it does
	// complete is since when the store has lost nothing; zero before it was asked.
	complete time.Time
	paused   time.Time // until when it is not asked
	uses     map[string]span
}

// New returns a tracker. It starts nothing: see [Tracker.Run]. It fails only if the meter refuses an instrument.
func New(c Config) (*Tracker, error) {
	t := &Tracker{store: c.Store, keys: c.Keys, log: c.Log, uses: make(map[string]span), causes: make(map[string]metric.MeasurementOption)}
	for _, cause := range []string{causeAway, causeLost} {
		t.causes[cause] = metric.WithAttributeSet(attribute.NewSet(attribute.String("cause", cause)))
	}
	var err error
	t.unknown, err = c.Meter.Int64Counter(obs.MetricContextUnknown, metric.WithUnit("{call}"),
		metric.WithDescription("Calls whose context counted as untrusted because nobody could tell, by cause."))
	return t, err
}

// Find says what context a call belongs to. sent is the raw member io.penstock/context of its _meta, nil if there is none: a handle, or
// true or an empty string to be given one. A new handle begins as untrusted as what it is taken out of, by whatever calls, so that
// asking for one helps nobody. The fault is Invalid, CONTEXT_HANDLE_INVALID or CONTEXT_HANDLE_EXPIRED.
func (t *Tracker) Find(ctx context.Context, c *call.Caller, sent []byte) (*call.Context, error) {
	x := &call.Context{Base: prefixSession + c.Client.Session, Session: true, Began: c.Client.Began}
	if c.Client.Session == "" {
		bound := bind(c)
		x = &call.Context{Base: prefixCaller + hex.EncodeToString(bound[:])}
	}
	switch {
	case sent == nil:
	case asksForHandle(sent):
		h := newHandle()
		if c.Gateway.Contexts != compile.ContextsTrusted {
			h.Trust = t.Trust(ctx, x)
		}
		x.Handle = h
	default:
		h, err := t.openHandle(c, sent)
		if err != nil {
			return nil, err
		}
		x.Handle = h
	}
	return x, nil
}

// Handle returns the text of a handle that [Tracker.Find] made or opened for the caller.
func (t *Tracker) Handle(c *call.Caller, x *call.Context) string { return t.sealHandle(c, x.Handle) }

// part is one key of a context with when what it is of began; zero for what has a window in place of a beginning.
type part struct {
	Key

	began time.Time
}

func base(x *call.Context) part { return part{Key{x.Base, !x.Session}, x.Began} }

func ofOthers(x *call.Context) part { return part{Key{x.Base + ofHandles, !x.Session}, x.Began} }

// Trust says what is known of a context, and uses it. Of calls without a handle, all of the session or of the caller counts; of those
// with one, the handle and what came without any: that might have been meant for whatever the client does.
func (t *Tracker) Trust(ctx context.Context, x *call.Context) call.Trust {
	if x.Handle == nil {
		return t.read(ctx, base(x), ofOthers(x))
	}
	known := x.Handle.Trust
	if x.Handle.New {
		return known
	}
	now := t.read(ctx, part{Key{x.Handle.Key, false}, x.Handle.Began}, base(x))
	return join(known, now)
}

func join(a, b call.Trust) call.Trust {
	sources := append(slices.Clone(a.Sources), b.Sources...)
	slices.Sort(sources)
	return call.Trust{Untrusted: a.Untrusted || b.Untrusted, Unknown: a.Unknown || b.Unknown, Sources: slices.Compact(sources)}
}

func (t *Tracker) read(ctx context.Context, parts ...part) (trust call.Trust) {
	keys := make([]Key, len(parts))
	for i, p := range parts {
		keys[i] = p.Key
	}
	marks, ok := t.ask(ctx, keys)
	if !ok {
		t.count(ctx, causeAway)
		t.use(keys)
		return call.Trust{Untrusted: true, Unknown: true}
	}
	now := time.Now()
	lost := false
	for i, p := range parts {
		m := marks[i]
		trust = join(trust, call.Trust{Untrusted: m.Untrusted, Sources: m.Sources, Unknown: len(m.Sources) >= MaxSources})
		lost = lost || !p.known(now, m.Reach)
	}
	if lost {
		trust.Untrusted, trust.Unknown = true, true
		t.count(ctx, causeLost)
	}
	return trust
}

// known reports whether a store that has lost nothing for as long as reach knows all marks of the part.
func (p *part) known(now time.Time, reach time.Duration) bool {
	if p.Window {
		return reach >= Window
	}
	return !p.began.Before(now.Add(-reach))
}

func (t *Tracker) ask(ctx context.Context, keys []Key) (marks []Mark, ok bool) {
	t.mu.Lock()
	paused := time.Now().Before(t.paused)
	t.mu.Unlock()
	if paused {
		return nil, false
	}
	within, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	marks, err := t.store.Read(within, keys)
	if err == nil || ctx.Err() == nil { // else the client has gone, which says nothing of the store
		t.heard(ctx, err)
	}
	return marks, err == nil && len(marks) == len(keys)
}

// Doubt says why a caller without a session counts as untrusted now, whatever it has seen; empty if it does not. It asks nobody, and is
// by what the store answered last.
func (t *Tracker) Doubt() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := time.Until(t.complete.Add(Window))
	switch {
	case !t.away.IsZero() || t.complete.IsZero():
		return "the store of contexts does not answer this node"
	case left > 0:
		return fmt.Sprintf("the store of contexts is empty, or may have lost data, since less than half an hour, as after a start; "+
			"this ends in %s unless it happens again", (left + time.Second).Truncate(time.Second))
	}
	return ""
}

// Mark notes that an untrusted result of a server is about to be delivered in a context. When it returns nil, every node sees that. The
// fault is Unavailable.
func (t *Tracker) Mark(ctx context.Context, x *call.Context, server string) error {
	keys := []Key{base(x).Key}
	if x.Handle != nil {
		keys = []Key{{x.Handle.Key, false}, ofOthers(x).Key}
	}
	within, cancel := context.WithTimeout(ctx, markTime)
	defer cancel()
	err := t.store.Mark(within, keys, server)
	if err == nil || ctx.Err() == nil {
		t.heard(ctx, err)
	}
	return err //nolint:wrapcheck // the store's own fault
}

// Used notes that a context was used, and does not wait.
func (t *Tracker) Used(x *call.Context) {
	if !x.Session {
		t.use([]Key{base(x).Key, ofOthers(x).Key})
	}
}

func (t *Tracker) count(ctx context.Context, cause string) { t.unknown.Add(ctx, 1, t.causes[cause]) }

// heard notes whether the store answers.
func (t *Tracker) heard(ctx context.Context, err error) {
	now := time.Now()
	t.mu.Lock()
	was := t.away
	if err == nil {
		t.away, t.paused = time.Time{}, time.Time{}
	} else {
		t.paused = now.Add(pauseTime)
		if was.IsZero() {
			t.away = now
		}
	}
	t.mu.Unlock()
	switch {
	case err != nil && was.IsZero():
		t.log.WarnContext(ctx, "contexts count as untrusted: their store does not answer", obs.Fault(err))
	case err == nil && !was.IsZero():
		t.log.InfoContext(ctx, "the store of contexts answers again")
	}
}
