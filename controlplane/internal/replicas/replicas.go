// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	beatEvery   = 5 * time.Second
	beatTimeout = 3 * time.Second
	lingerMost  = 5 * time.Second // beyond the drain window, for streams that do not end
)

// Row is one control plane in the table.
type Row struct {
	ID, Address string
	Streams     int
}

// Table is the list of the control planes, in the database.
type Table interface {
	// Beat renews the own row and returns all control planes that live, and the time of the database; first is true for the
	// first one of a process.
	Beat(ctx context.Context, own Row, first bool) (live []Row, now time.Time, err error)
	// Live returns all control planes that live.
	Live(ctx context.Context) ([]Row, error)
	// Leave removes a row.
	Leave(ctx context.Context, id string) error
}

// Ledger is what the followers of this control plane enforce, and what is known of those of the others.
type Ledger interface {
	// Followers returns the followers here that changed after a position, all for 0, the position up to which that is so,
	// and a channel that is closed when there is more.
	Followers(after uint64) (list []*replicav1.Follower, position uint64, changed <-chan struct{})
	// Merge takes what another control plane tells; with whole, others that it told before have left.
	Merge(replica string, followers []*replicav1.Follower, whole bool)
	// Forget takes the followers of a control plane that is gone for disconnected.
	Forget(replica string)
	// Streams returns how many followers there are here, and how many of them were not asked to leave.
	Streams() (all, staying int)
	// Dispatch gives a task to a node here and stays until ctx ends, which is no error, or no node is left.
	Dispatch(ctx context.Context, t *distributionv1.Task) error
}

// Log is the revision log as far as this control plane knows it.
type Log interface {
	// Head returns the latest point seen.
	Head() catalog.Head
	// Witness takes a point that somebody else has seen: one that the log lost freezes it (D-72).
	Witness(ctx context.Context, who string, seen catalog.Head)
}

// Config is what New needs. Everything is required unless it says otherwise.
type Config struct {
	// ID of this process among the control planes, from [NewID].
	ID string
	// Address is where nodes and other control planes reach this one, host:port.
	Address string
	// Credentials are those of a client that accepts control planes only.
	Credentials credentials.TransportCredentials
	Table       Table
	Ledger      Ledger
	Log         Log
	// Deliver takes the result of a task of this control plane.
	Deliver func(*nodev1.ReportDiscoveryRequest)
	// DeliverExplanation takes that of an ExplainTask.
	DeliverExplanation func(*nodev1.ReportExplanationRequest)
	Logger             *slog.Logger
	// Window is how long nodes take to leave when this control plane stops.
	Window time.Duration
	// Beat is how often the row is renewed; 0 means 5 s.
	Beat time.Duration
}

// Replicas is the other control planes of the deployment, and what they are told. It is safe for concurrent use.
type Replicas struct {
	c      Config
	id     string
	offset atomic.Int64  // of the database's clock to ours, nanoseconds
	stop   chan struct{} // closed when this control plane begins to stop
	over   chan struct{} // closed when its nodes have left
	loops  sync.WaitGroup

	mu      sync.Mutex
	running context.Context //nolint:containedctx // the life of Run: peers found by a call live as long
	peers   map[string]*peer
}

// New returns the view of a control plane that does not know of others yet. Nothing is started.
func New(c Config) (*Replicas, error) {
	if c.ID == "" || c.Address == "" || c.Credentials == nil || c.Table == nil || c.Ledger == nil || c.Log == nil || c.Deliver == nil || c.DeliverExplanation == nil || c.Logger == nil {
		return nil, errors.New("replicas: everything in the configuration is required")
	}
	c.Beat = cmp.Or(c.Beat, beatEvery)
	return &Replicas{
		c: c, id: c.ID, stop: make(chan struct{}), over: make(chan struct{}), peers: make(map[string]*peer),
	}, nil
}

// NewID returns an id for one process of a control plane: its name and something random, since certificates may be shared.
func NewID(name string) string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return name + "-" + hex.EncodeToString(b[:])
}

// Run says that this control plane lives, and follows the others, until ctx ends and the nodes have left.
func (r *Replicas) Run(ctx context.Context) error {
	// Detached: while this control plane drains, it still tells and is told who is where.
	alive, end := context.WithCancel(context.WithoutCancel(ctx))
	defer r.loops.Wait()
	defer end()
	defer r.leave(alive)
	r.mu.Lock()
	r.running = alive
	r.mu.Unlock()
	tick := time.NewTicker(r.c.Beat)
	defer tick.Stop()
	stop, failing := ctx.Done(), false
	var late <-chan time.Time
	for first := true; ; {
		err := r.beat(alive, first)
		if err != nil && !failing {
			r.c.Logger.WarnContext(ctx, "other control planes cannot be looked up now", obs.AttrError, err)
		}
		failing, first = err != nil, first && err != nil
		for again := false; !again; {
			_, _, changed := r.c.Ledger.Followers(^uint64(0))
			if all, _ := r.c.Ledger.Streams(); stop == nil && all == 0 {
				return nil
			}
			if stop != nil {
				changed = nil // only somebody who stops looks at who leaves
			}
			select {
			case <-stop:
				stop = nil
				close(r.stop)
				timer := time.NewTimer(r.c.Window + lingerMost)
				defer timer.Stop()
				late = timer.C
			case <-late:
				return nil
			case <-changed:
			case <-tick.C:
				again = true
			}
		}
	}
}

// leave removes the row and ends what others follow here.
func (r *Replicas) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	if err := r.c.Table.Leave(ctx, r.id); err != nil {
		r.c.Logger.WarnContext(ctx, "row of this control plane not removed", obs.AttrError, err)
	}
	close(r.over)
}

// beat renews the row and takes in who lives.
func (r *Replicas) beat(ctx context.Context, first bool) error {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	_, staying := r.c.Ledger.Streams()
	began := time.Now()
	live, now, err := r.c.Table.Beat(ctx, Row{ID: r.id, Address: r.c.Address, Streams: staying}, first)
	if err != nil {
		return fmt.Errorf("renew row: %w", err)
	}
	r.offset.Store(int64(now.Sub(began.Add(time.Since(began) / 2))))
	r.found(live)
	return nil
}

// found follows control planes that are new and lets go of those that are gone. One that still tells its followers is not
// gone, whatever the table says: after an outage of the database all rows are old.
func (r *Replicas) found(live []Row) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil || r.running.Err() != nil {
		return
	}
	listed := make(map[string]bool, len(live))
	for _, row := range live {
		if row.ID == r.id {
			continue
		}
		listed[row.ID] = true
		if r.peers[row.ID] == nil {
			p, err := newPeer(r, row)
			if err != nil {
				r.c.Logger.ErrorContext(r.running, "another control plane cannot be dialed", attrReplica, row.ID, obs.AttrAddress, row.Address, obs.AttrError, err)
				continue
			}
			r.peers[row.ID] = p
			var ctx context.Context
			ctx, p.end = context.WithCancel(r.running)
			r.loops.Go(func() { p.run(ctx) })
			r.c.Logger.InfoContext(r.running, "another control plane", attrReplica, row.ID, obs.AttrAddress, row.Address)
		}
	}
	for id, p := range r.peers {
		if !listed[id] && !p.current() {
			delete(r.peers, id)
			p.end()
			r.c.Ledger.Forget(id)
			r.c.Logger.InfoContext(r.running, "control plane is gone", attrReplica, id, obs.AttrAddress, p.row.Address)
		}
	}
}

// attrReplica is a control plane in logs.
const attrReplica = "replica"

// all returns the others.
func (r *Replicas) all() []*peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*peer, 0, len(r.peers))
	for _, p := range r.peers {
		list = append(list, p)
	}
	return list
}
