// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"google.golang.org/protobuf/proto"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/feed/scope"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/node/pack"
)

// Reasons of this package's faults.
const (
	ReasonNotReady      = "FEED_NOT_READY"
	ReasonTooManyScopes = "TOO_MANY_SCOPES"
	// ReasonRevisionUnknown is a revision whose changes are not in the ring: a snapshot is due.
	ReasonRevisionUnknown = "REVISION_UNKNOWN"
)

// Config is what a Feed needs.
type Config struct {
	// Store is the revision log. Required.
	Store catalog.Store
	// Log takes life-cycle lines. Required.
	Log *slog.Logger
	// Meter makes the metrics; nil makes none.
	Meter metric.MeterProvider
	// MaxChanges and MaxOps bound the ring of changes; 0 means 65,536 changes of 262,144 resources together.
	MaxChanges, MaxOps int
	// MaxAge is how far back the log is read at the start (D-44); 0 means 1 h.
	MaxAge time.Duration
	// BlobCache is the most bytes of bodies kept in memory, three quarters of them packed; 0 means 128 MiB.
	BlobCache int
}

// Feed follows a store. Its methods are safe for concurrent use.
type Feed struct {
	store  catalog.Store
	log    *slog.Logger
	limits limits
	blobs  *blobCache
	packer *pack.Packer
	packed *blobCache // the same, as nodes that know the dictionary get them
	head   metric.Int64Gauge

	missing metric.Int64Gauge // revisions that were lost

	mu      sync.RWMutex
	ready   bool
	lost    lost // revisions that were seen and are not in the log: nothing is sent (D-72)
	noted   lost // what of it the database knows
	epoch   string
	exact   catalog.Revision // revision of the load: digests before it are unknown
	world   *scope.World
	ring    ring
	prompt  catalog.Revision // latest change that is not held back
	denied  catalog.Revision // latest change with denials
	staged  catalog.Revision // latest change that is rolled out in stages
	classes map[scope.Scope]*Class
	changed chan struct{} // closed at the next change of any of the above
}

// New returns a feed. Nothing is started or read.
func New(cfg Config) *Feed {
	l := limits{changes: cmp.Or(cfg.MaxChanges, 1<<16), ops: cmp.Or(cfg.MaxOps, 1<<18), age: cmp.Or(cfg.MaxAge, time.Hour)}
	if cfg.Meter == nil {
		cfg.Meter = noop.NewMeterProvider()
	}
	meter := cfg.Meter.Meter("github.com/penstockhq/penstock/controlplane/feed")
	head, err := meter.Int64Gauge(obs.MetricFeedHead, metric.WithDescription("Latest revision that this control plane sends."))
	missing, errMissing := meter.Int64Gauge("penstock_feed_lost_revisions",
		metric.WithDescription("Revisions that were seen and are not in the database: not 0 freezes writes and streams."))
	if err := errors.Join(err, errMissing); err != nil {
		cfg.Log.Error("metric cannot be made", obs.AttrError, err) // both are usable in any case
	}
	cache := cmp.Or(cfg.BlobCache, 128<<20)
	packer, err := pack.NewPacker(runtime.GOMAXPROCS(0))
	if err != nil {
		panic(err) // its settings are constants
	}
	return &Feed{
		store: cfg.Store, log: cfg.Log, limits: l, blobs: newBlobCache(cfg.Store, cache/4, nil), packer: packer,
		packed: newBlobCache(cfg.Store, cache-cache/4, packer.Body), head: head, missing: missing,
		world: scope.NewWorld(), classes: make(map[scope.Scope]*Class), changed: make(chan struct{}),
	}
}

// Ready reports whether the feed has reached the head it found at its start, with the recent log in the ring (D-44),
// and the log is sound.
func (f *Feed) Ready() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.ready && f.lost == (lost{})
}

// Head returns the newest point that the feed has; the zero Head before it is ready.
func (f *Feed) Head() catalog.Head {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return catalog.Head{Epoch: f.epoch, Revision: f.ring.head()}
}

// Changed returns a channel that is closed when the head moves or readiness changes. Take it before reading either, so
// that nothing falls between.
func (f *Feed) Changed() <-chan struct{} {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.changed
}

// Info is what is known of one revision.
type Info struct {
	Revision catalog.Revision
	Time     time.Time // of the commit
	// Denial is a change whose denials take away everything it takes away: it is enforced as soon as they are.
	Denial bool
}

// Info returns what is known of a revision; ok is false outside the ring.
func (f *Feed) Info(rev catalog.Revision) (info Info, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if rev <= f.ring.base || rev > f.ring.head() {
		return Info{}, false
	}
	return f.ring.info(rev), true
}

func (r *ring) info(rev catalog.Revision) Info {
	c := r.at(rev)
	return Info{Revision: rev, Time: c.time, Denial: c.denial}
}

// Prompt returns the latest revision that may narrow somebody's rights and is therefore not held back to be coalesced
// (D-31); 0 if none was seen.
func (f *Feed) Prompt() catalog.Revision {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.prompt
}

// Denied returns the latest revision with denials, which wait for nothing (D-30); 0 if none was seen.
func (f *Feed) Denied() catalog.Revision {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.denied
}

// Staged returns the latest revision that is rolled out in stages; 0 if none was seen.
func (f *Feed) Staged() catalog.Revision {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.staged
}

// Resources returns the resources of a kind at one revision, in no order.
func (f *Feed) Resources(kind catalog.Kind) iter.Seq[*distributionv1.Resource] {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var list []*scope.Entry
	for k, e := range f.world.Entries {
		if k.Kind == kind {
			list = append(list, e)
		}
	}
	return func(yield func(*distributionv1.Resource) bool) {
		for _, e := range list {
			r := &distributionv1.Resource{}
			if err := proto.Unmarshal(e.Wire, r); err != nil {
				continue // cannot be: this package encoded it
			}
			if !yield(r) {
				return
			}
		}
	}
}

// Blobs returns bodies in the order of their hashes. A body that does not exist is fault.NotFound.
func (f *Feed) Blobs(ctx context.Context, hashes []catalog.Hash) ([][]byte, error) {
	return f.blobs.get(ctx, hashes)
}

// PackedBlobs returns the same for nodes that know the dictionary of package pack, each packed.
func (f *Feed) PackedBlobs(ctx context.Context, hashes []catalog.Hash) ([][]byte, error) {
	return f.packed.get(ctx, hashes)
}

// signal tells everybody who waits. The caller holds mu.
func (f *Feed) signal() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// push makes one change the newest. The caller holds mu.
func (f *Feed) push(ch change, rev catalog.Revision) {
	t := make(map[*Class]*scope.Touched, len(f.classes))
	for _, c := range f.classes {
		t[c] = scope.NewTouched()
	}
	for _, op := range ch.ops {
		f.world.Set(op.Key(), op.After)
		for c, touched := range t {
			c.members.Step(f.world, op.Before, op.After, touched)
		}
	}
	for c, touched := range t {
		c.finish(f.world, touched, rev, ch.denials)
	}
	f.ring.push(ch)
	if ch.prompt {
		f.prompt = rev
	}
	if len(ch.denials) > 0 {
		f.denied = rev
	}
	if ch.staged {
		f.staged = rev
	}
}

// trim drops what is beyond the limits of the ring. The caller holds mu.
func (f *Feed) trim() {
	n := f.ring.excess(f.limits)
	if n == 0 {
		return
	}
	for _, c := range f.classes {
		c.trim(n, f.ring.base)
	}
	f.ring.drop(n)
}

func revisionUnknown(rev catalog.Revision) error {
	return fault.Newf(fault.Stale, ReasonRevisionUnknown, "The changes since revision %d are not kept any more.", rev)
}
