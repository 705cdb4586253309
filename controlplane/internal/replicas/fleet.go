// SPDX-License-Identifier: Apache-2.0

package replicas

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/controlplane/internal/replicas/balance"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	nodev1 "github.com/penstockhq/penstock/proto/gen/penstock/node/v1"
	replicav1 "github.com/penstockhq/penstock/proto/gen/penstock/replica/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

const (
	syncTimeout   = 2 * time.Second
	reportTimeout = 10 * time.Second
)

// ReasonNoNode is the reason of a task that no node of another control plane can be given.
const ReasonNoNode = "NO_NODE"

// Sync returns when the ledger knows everything that was so at the other control planes when it was called, or after 2 s,
// and names those that did not answer, sorted. The database is asked who they are; while it does not answer, those count that
// were known before.
func (r *Replicas) Sync(ctx context.Context) (silent []string) {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if live, err := r.c.Table.Live(ctx); err == nil {
		r.found(live)
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, p := range r.all() {
		asking.Go(func() {
			if !p.sync(ctx) {
				mu.Lock()
				defer mu.Unlock()
				silent = append(silent, p.row.ID)
			}
		})
	}
	asking.Wait()
	slices.Sort(silent)
	return silent
}

// Silent names the other control planes whose followers are not known as they are now, sorted.
func (r *Replicas) Silent() (ids []string) {
	for _, p := range r.all() {
		if !p.current() {
			ids = append(ids, p.row.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// Endpoints returns the addresses of the other control planes that take nodes, the one that should get the next node first:
// those that have fewer than their share come first more often, the more they lack.
func (r *Replicas) Endpoints() []string {
	own, others := r.loads()
	return balance.Order(own, others, rand.N[int])
}

// Surplus returns how many of the followers here would have to go so that all control planes have as many.
func (r *Replicas) Surplus() int {
	own, others := r.loads()
	return balance.Surplus(own, others)
}

// loads returns the followers here that stay, and those of the others that take nodes.
func (r *Replicas) loads() (own int, others []balance.Load) {
	for _, p := range r.all() {
		p.mu.Lock()
		if p.known && !p.draining {
			others = append(others, balance.Load{Address: p.row.Address, Streams: p.staying})
		}
		p.mu.Unlock()
	}
	slices.SortFunc(others, func(a, b balance.Load) int { return strings.Compare(a.Address, b.Address) })
	_, own = r.c.Ledger.Streams()
	return own, others
}

// Dispatch gives a task to a node of another control plane, and to the next one if that leaves, and stays until ctx ends,
// which is no error. When there is none left the fault is Unavailable, NO_NODE.
func (r *Replicas) Dispatch(ctx context.Context, t *distributionv1.Task) error {
	for _, p := range r.all() {
		p.mu.Lock()
		usable := p.known && p.staying > 0
		p.mu.Unlock()
		if !usable {
			continue
		}
		_, err := p.client.Dispatch(ctx, &replicav1.DispatchRequest{Task: t})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller has what it wanted, or has given up
		}
		if c := status.Code(err); err != nil && c != codes.Unavailable && c != codes.Canceled {
			r.c.Logger.WarnContext(ctx, "task not taken by another control plane", attrReplica, p.row.ID, "status", c.String())
		}
	}
	return fault.New(fault.Unavailable, ReasonNoNode, "No node is connected that could do it. Start a data plane and try again.")
}

// Mark returns what ends the ids of this control plane's tasks, by which the others know where a result belongs.
func (r *Replicas) Mark() string { return r.id[strings.LastIndexByte(r.id, '-'):] }

// Report hands the result of a task to the control plane that waits for it, by the mark of its id; false if it is not known.
func (r *Replicas) Report(ctx context.Context, m *nodev1.ReportDiscoveryRequest) (bool, error) {
	return r.hand(ctx, m.GetTaskId(), &replicav1.ReportRequest{Report: m})
}

// ReportExplanation is Report for the result of an ExplainTask.
func (r *Replicas) ReportExplanation(ctx context.Context, m *nodev1.ReportExplanationRequest) (bool, error) {
	return r.hand(ctx, m.GetTaskId(), &replicav1.ReportRequest{Explanation: m})
}

func (r *Replicas) hand(ctx context.Context, task string, m *replicav1.ReportRequest) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	p := r.marked(task)
	if p == nil { // perhaps it has just started
		live, err := r.c.Table.Live(ctx)
		if err != nil {
			return false, err
		}
		r.found(live)
		if p = r.marked(task); p == nil {
			return false, nil
		}
	}
	_, err := p.client.Report(ctx, m, grpc.WaitForReady(true))
	return true, err
}

// marked returns the control plane whose mark ends the id of a task, nil if none is known.
func (r *Replicas) marked(task string) *peer {
	at := strings.LastIndexByte(task, '-')
	if at < 0 || task[at:] == r.Mark() {
		return nil
	}
	for _, p := range r.all() {
		if strings.HasSuffix(p.row.ID, task[at:]) {
			return p
		}
	}
	return nil
}
