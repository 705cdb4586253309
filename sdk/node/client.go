// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/lastgood"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

const (
	sealKeySize = lastgood.KeySize

	minBackoff = 100 * time.Millisecond // D-40
	maxBackoff = 15 * time.Second
	staleAfter = 60 * time.Second // D-62
	maxSkew    = 30 * time.Second // D-54
	silence    = 15 * time.Second // D-43
	ackEvery   = 5 * time.Second
	maxTasks   = 8
	maxWaiting = 256 // tasks that wait for one of those to end
)

// Client follows a control plane.
type Client struct {
	cfg      Config
	metrics  *metrics
	bodies   *bodies.Store
	unpacker *pack.Unpacker
	disk     *disk // nil without a folder
	link     *link
	revoked  *revoked
	tasks    chan struct{} // one token per task that runs
	waiting  atomic.Int32  // tasks that run or wait to

	// stateMu guards what state holds against the disk writer. The state is changed by the apply loop alone, which
	// therefore reads it without the lock.
	stateMu sync.Mutex
	state   *replica.State
	pool    map[replica.Hash]*bodies.Body // bodies without a state, from disk or an unfinished snapshot

	mu        sync.Mutex
	started   time.Time
	status    Status
	denials   []denial       // newer than what is enforced, or else than what is on disk
	denyEpoch string         // lineage of the denials that arrive
	rejects   map[Key]Reject // newest versions that did not compile

	held    []heldBack // of the apply loop
	tasksWG sync.WaitGroup
}

// New checks the configuration. Nothing is started, read or dialed.
func New(cfg Config) (*Client, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Jitter == nil {
		cfg.Jitter = func(limit time.Duration) time.Duration {
			return rand.N(limit) //nolint:gosec // jitter is no secret
		}
	}
	m, err := newMetrics(cfg.Meter)
	if err != nil {
		return nil, fmt.Errorf("make node client: %w", err)
	}
	store, err := bodies.New()
	if err != nil {
		return nil, fmt.Errorf("make node client: %w", err)
	}
	unpacker, err := pack.NewUnpacker(maxMessage)
	if err != nil {
		return nil, fmt.Errorf("make node client: %w", err)
	}
	return &Client{
		cfg: cfg, unpacker: unpacker, bodies: store, metrics: m, link: &link{}, tasks: make(chan struct{}, maxTasks),
		rejects: make(map[Key]Reject), revoked: newRevoked(cfg.Now, cfg.Revocations),
	}, nil
}

// Run loads the last known good state, has it enforced, and then follows a control plane until ctx ends, which is no
// error. It fails only if the folder cannot be used. Run is called once.
func (c *Client) Run(ctx context.Context) (err error) {
	c.mu.Lock()
	c.started = time.Now()
	c.mu.Unlock()
	watch, err := c.metrics.watch(c.silentFor)
	if err != nil {
		return fmt.Errorf("watch the age of the last news: %w", err)
	}
	defer func() { err = errors.Join(err, watch.Unregister()) }()
	var writer sync.WaitGroup
	if c.cfg.Dir != "" {
		if err := c.load(ctx); err != nil {
			return err
		}
		// The writer outlives the streams a little: its last act is to write what they brought.
		writer.Go(func() { c.disk.run(context.WithoutCancel(ctx)) })
	}
	c.follow(ctx)
	c.tasksWG.Wait()
	if c.disk != nil {
		close(c.disk.done)
	}
	writer.Wait()
	return nil
}

// Status returns what the client knows of itself. It is safe for concurrent use.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Stale = c.sinceNews() > staleAfter
	s.Connected = s.Connected && time.Since(s.LastHeartbeat) <= silence
	s.Skew = s.SkewBy.Abs() > maxSkew
	s.Rejects = len(c.rejects)
	_, s.RevocationSeq = c.revoked.cursor()
	s.Revocations, _ = c.revoked.counts()
	return s
}

// sinceNews returns how long ago a control plane was last heard, or since when one was looked for; 0 before Run. The
// caller holds mu.
func (c *Client) sinceNews() time.Duration {
	since := c.status.LastHeartbeat
	if since.IsZero() {
		since = c.started
	}
	if since.IsZero() {
		return 0
	}
	return time.Since(since)
}

func (c *Client) silentFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sinceNews()
}

// NodeService returns a client of penstock.node.v1 at the control plane that is followed at the time of each call;
// without one, calls fail with Unavailable.
func (c *Client) NodeService() nodev1.NodeServiceClient { return nodev1.NewNodeServiceClient(c.link) }

// AuditService returns a client of the audit of penstock.node.v1, likewise.
func (c *Client) AuditService() nodev1.AuditServiceClient {
	return nodev1.NewAuditServiceClient(c.link)
}

// load brings the last known good state into force (D-61).
func (c *Client) load(ctx context.Context) error {
	store, err := lastgood.Open(c.cfg.Dir, c.cfg.SealKey, c.bodies, c.cfg.Log)
	if err != nil {
		return err
	}
	loaded, err := store.Load()
	if err != nil {
		return err
	}
	c.disk = newDisk(c, store)
	if loaded.Revocations != nil {
		c.loadRevoked(ctx, loaded.Revocations)
	}
	c.pool = loaded.Pool
	if loaded.State == nil {
		c.cfg.Log.Info("no last known good state on disk")
		return nil
	}
	c.mu.Lock()
	c.status.LastHeartbeat = loaded.Recent.Heard
	c.status.DenyRevision = loaded.Recent.DenyRevision
	c.denyEpoch = loaded.State.Epoch()
	for _, d := range loaded.Recent.Denials {
		c.denials = append(c.denials, denial{epoch: c.denyEpoch, Denial: d})
	}
	c.status.Epoch = c.denyEpoch
	c.mu.Unlock()
	c.disk.saved(loaded.State.Epoch(), loaded.State.Revision(), loaded.State.Digest())
	c.swap(ctx, loaded.State)
	c.cfg.Log.Info("last known good state loaded", "revision", loaded.State.Revision(), "count", loaded.State.Len())
	return nil
}

// follow opens one stream after the other until ctx ends.
func (c *Client) follow(ctx context.Context) {
	endpoints := c.cfg.Endpoints
	attempt, next := 0, 0
	for ctx.Err() == nil {
		endpoint := endpoints[next%len(endpoints)]
		s := newStream(c, endpoint)
		err := s.run(ctx)
		if ctx.Err() != nil {
			return
		}
		c.metrics.reconnects.Add(ctx, 1)
		if s.useful() && !errors.Is(err, replica.ErrDrift) && !errors.Is(err, replica.ErrMalformed) {
			attempt = 0
		}
		next++
		if d := s.drained(); d != nil {
			// Asked to leave: the others first, at once.
			c.cfg.Log.Info("asked to leave the control plane", "address", endpoint)
			endpoints, next = preferred(d.GetEndpoints(), c.cfg.Endpoints, endpoint), 0
		} else {
			c.cfg.Log.Warn("stream ended", "address", endpoint, "error", err)
		}
		if wait(ctx, c.cfg.Jitter(backoffLimit(attempt))) != nil {
			return
		}
		attempt++
	}
}

// preferred puts the endpoints a control plane named first and the one that is left last.
func preferred(named, configured []string, left string) []string {
	var list []string
	seen := map[string]bool{left: true}
	for _, e := range append(append([]string(nil), named...), configured...) {
		if !seen[e] {
			seen[e] = true
			list = append(list, e)
		}
	}
	return append(list, left)
}

// backoffLimit is the longest wait before an attempt; the wait itself is anything below it (full jitter).
func backoffLimit(attempt int) time.Duration {
	return min(maxBackoff, minBackoff<<min(attempt, 10))
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
