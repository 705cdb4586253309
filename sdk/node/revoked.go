// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// revokedKey is what a revocation is about.
type revokedKey struct {
	kind distributionv1.RevocationKind
	sha  [sha256.Size]byte
}

// revoked is the revocations that have not expired, and the cursor in their sequence. What is known is never dropped for
// another epoch: an entry is true whatever the sequence it came in.
type revoked struct {
	now  func() time.Time
	tell func(context.Context, []*distributionv1.Revocation) // nil tells nobody

	mu    sync.Mutex
	epoch string
	seq   uint64
	known map[revokedKey]*distributionv1.Revocation

	changes uint64 // to what is on disk
	pruned  time.Time
}

func newRevoked(now func() time.Time, tell func(context.Context, []*distributionv1.Revocation)) *revoked {
	return &revoked{now: now, tell: tell, known: make(map[revokedKey]*distributionv1.Revocation)}
}

// take has new entries enforced and then moves the cursor. It reports whether there is something to write.
func (r *revoked) take(ctx context.Context, m *distributionv1.Revocations) (changed bool, err error) {
	fresh, err := r.fresh(m.GetEntries())
	if err != nil {
		return false, err
	}
	if len(fresh) > 0 && r.tell != nil {
		r.tell(ctx, fresh)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range fresh {
		r.known[keyOf(e)] = e
	}
	if changed = len(fresh) > 0 || r.epoch != m.GetEpoch() || r.seq != m.GetToSeq(); changed {
		r.changes++
	}
	r.epoch, r.seq = m.GetEpoch(), m.GetToSeq()
	if now := r.now(); now.Sub(r.pruned) >= pruneEvery {
		r.prune(now)
	}
	return changed, nil
}

// fresh returns the entries that say more than what is known, as they are with it.
func (r *revoked) fresh(entries []*distributionv1.Revocation) ([]*distributionv1.Revocation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*distributionv1.Revocation
	for _, e := range entries {
		if len(e.GetKeySha256()) != sha256.Size || e.GetExpireTime() == nil {
			return nil, fmt.Errorf("%w: a revocation without a key or an end", replica.ErrMalformed)
		}
		if !e.GetExpireTime().AsTime().After(r.now()) {
			continue
		}
		if old := r.known[keyOf(e)]; old != nil {
			if e = further(old, e); e == old {
				continue
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// further returns what two revocations of a key say together: old, if that is what it says.
func further(old, e *distributionv1.Revocation) *distributionv1.Revocation {
	longer := e.GetExpireTime().AsTime().After(old.GetExpireTime().AsTime())
	more := e.GetIssuedBefore() != nil && e.GetIssuedBefore().AsTime().After(old.GetIssuedBefore().AsTime())
	if !longer && !more {
		return old
	}
	both := &distributionv1.Revocation{
		Kind: old.GetKind(), KeySha256: old.GetKeySha256(), ExpireTime: old.GetExpireTime(), IssuedBefore: old.GetIssuedBefore(),
	}
	if longer {
		both.ExpireTime = e.GetExpireTime()
	}
	if more {
		both.IssuedBefore = e.GetIssuedBefore()
	}
	return both
}

func keyOf(e *distributionv1.Revocation) revokedKey {
	return revokedKey{kind: e.GetKind(), sha: [sha256.Size]byte(e.GetKeySha256())}
}

// cursor returns what is enforced of the sequence.
func (r *revoked) cursor() (epoch string, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch, r.seq
}

// freeze drops what has expired and returns the rest encoded as one message, and the number of changes it has.
func (r *revoked) freeze() (encoded []byte, changes uint64, err error) {
	r.mu.Lock()
	r.prune(r.now())
	m := &distributionv1.Revocations{Epoch: r.epoch, ToSeq: r.seq, Entries: make([]*distributionv1.Revocation, 0, len(r.known))}
	for _, e := range r.known {
		m.Entries = append(m.Entries, e)
	}
	changes = r.changes
	r.mu.Unlock()
	encoded, err = proto.Marshal(m)
	return encoded, changes, err
}

// pruneEvery is how often what has expired is looked for.
const pruneEvery = time.Minute

// prune drops what has expired. The caller holds mu.
func (r *revoked) prune(now time.Time) {
	r.pruned = now
	for k, e := range r.known {
		if !e.GetExpireTime().AsTime().After(now) {
			delete(r.known, k)
		}
	}
}

// counts returns how many entries there are, and how often that has changed.
func (r *revoked) counts() (entries int, changes uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.known), r.changes
}

// revocations handles those that arrive, in the receive loop: they wait for nothing (D-32).
func (c *Client) revocations(ctx context.Context, m *distributionv1.Revocations) error {
	changed, err := c.revoked.take(ctx, m)
	if changed && c.disk != nil {
		c.disk.revoked()
	}
	return err
}

// loadRevoked brings the revocations on disk into force, with or without a state.
func (c *Client) loadRevoked(ctx context.Context, encoded []byte) {
	m := &distributionv1.Revocations{}
	err := proto.Unmarshal(encoded, m)
	if err == nil {
		_, err = c.revoked.take(ctx, m)
	}
	if err != nil {
		c.cfg.Log.Warn("damaged file of revocations is skipped", "error", err)
		return
	}
	n, changes := c.revoked.counts()
	c.disk.written = changes
	c.cfg.Log.Info("revocations loaded", "count", n)
}

// maxPublish is the most revocations of one call.
const maxPublish = 1000

// PublishRevocations hands revocations to the control plane that is followed, at most 1,000 in a call, and returns when all
// are stored there. It may be repeated. The caller must be an authserver; without a control plane it fails with
// Unavailable.
func (c *Client) PublishRevocations(ctx context.Context, list []*distributionv1.Revocation) error {
	service := distributionv1.NewDistributionServiceClient(c.link)
	for len(list) > 0 {
		n := min(len(list), maxPublish)
		if _, err := service.PublishRevocations(ctx, &distributionv1.PublishRevocationsRequest{Revocations: list[:n]}); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// DirectoryService returns a client of penstock.directory.v1 at the control plane that is followed at the time of each
// call, for authservers; without one, calls fail with Unavailable.
func (c *Client) DirectoryService() directoryv1.DirectoryServiceClient {
	return directoryv1.NewDirectoryServiceClient(c.link)
}
