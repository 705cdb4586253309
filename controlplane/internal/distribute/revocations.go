// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Revocation takes access tokens away before they expire (D-32). Kind is a number of distributionv1.RevocationKind.
type Revocation struct {
	Kind         int32
	KeySHA256    [32]byte
	IssuedBefore time.Time // zero: every token of the key
	ExpireTime   time.Time
	Seq          uint64 // in the sequence; not set by who publishes
}

// RevocationPage is a part of the sequence of revocations.
type RevocationPage struct {
	Epoch   string
	Head    uint64 // end of the whole sequence
	Entries []Revocation
}

// Revocations keeps the sequence of revocations.
type Revocations interface {
	// Revoke stores entries; what is known already makes no new one.
	Revoke(ctx context.Context, list []Revocation) error
	// Revocations returns up to limit entries after a sequence number that have not expired, in order, and the end of the
	// sequence: a reader who goes on from the last number seen misses none.
	Revocations(ctx context.Context, after uint64, limit int) (RevocationPage, error)
	// WatchRevocations sends a hint after the sequence has moved, here or at another control plane, until ctx ends.
	WatchRevocations(ctx context.Context) (<-chan struct{}, error)
}

const (
	revocationPage = 1000 // entries of one message: about 90 KB
	// mergeAfter is how many messages of the newest revocations are kept as they came. Older ones are put together, so that
	// a node that was away gets few and large ones.
	mergeAfter  = 64
	expireEvery = 10 * time.Second
	retryRead   = 250 * time.Millisecond
	retryMost   = 5 * time.Second
)

// message is some revocations as they are sent: to, the number of the last one, is the cursor of who has it.
type message struct {
	to      uint64
	expire  time.Time // of the entry that lives longest
	entries []*distributionv1.Revocation
	frame   frame // nil until somebody gets it
}

// revoked is the revocations that live, each encoded once for all streams. Streams keep a cursor (D-25).
type revoked struct {
	store   Revocations
	reading sync.Mutex // one reader at a time: a page goes in once

	mu       sync.Mutex
	ready    bool
	epoch    string
	head     uint64 // up to which all are here
	messages []message
	moved    chan struct{} // closed when there is something new
}

func newRevoked(store Revocations) *revoked {
	return &revoked{store: store, ready: store == nil, moved: make(chan struct{})}
}

// isReady reports whether all revocations of before the start are here.
func (r *revoked) isReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

// changed returns a channel that is closed when there are new ones. Take it before looking.
func (r *revoked) changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.moved
}

// after returns the messages that hold everything after a cursor, and the next cursor. A cursor of another epoch, or one
// that the sequence has not reached, gets all.
func (r *revoked) after(c revokedCursor) ([]frame, revokedCursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := revokedCursor{epoch: r.epoch, seq: r.head}
	if c == next {
		return nil, next
	}
	first := 0
	if c.epoch == r.epoch && c.seq < r.head {
		first, _ = slices.BinarySearchFunc(r.messages, c.seq+1, func(m message, seq uint64) int {
			if m.to < seq {
				return -1
			}
			return 1
		})
	}
	var frames []frame
	for i := first; i < len(r.messages); i++ {
		frames = append(frames, r.messages[i].encoded(r.epoch))
	}
	return frames, next
}

// revokedCursor is how far somebody has followed the sequence.
type revokedCursor struct {
	epoch string
	seq   uint64
}

// followRevocations reads the sequence until ctx ends. What cannot be read now is tried again.
func (s *Server) followRevocations(ctx context.Context) {
	r := s.revoked
	if r.store == nil {
		return
	}
	hints, err := r.store.WatchRevocations(ctx)
	if err != nil {
		s.log.ErrorContext(ctx, "revocations cannot be watched, they are looked for", obs.AttrError, err)
	}
	expire := time.NewTicker(expireEvery)
	defer expire.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for delay := retryRead; ; {
		select {
		case <-ctx.Done():
			return
		case _, open := <-hints:
			if !open {
				hints = nil // the store is being closed, or was never watched
			}
		case <-retry.C:
		case <-expire.C:
			r.expire(s.now())
		}
		if err := s.readRevocations(ctx); err != nil && ctx.Err() == nil {
			if delay == retryRead {
				s.log.WarnContext(ctx, "revocations cannot be read now", obs.AttrError, err)
			}
			retry.Reset(delay)
			delay = min(2*delay, retryMost)
			continue
		}
		delay = retryRead
		if hints == nil {
			retry.Reset(delay)
		}
	}
}

// readRevocations takes in what is new.
func (s *Server) readRevocations(ctx context.Context) error {
	r := s.revoked
	r.reading.Lock()
	defer r.reading.Unlock()
	for {
		r.mu.Lock()
		epoch, after := r.epoch, r.head
		r.mu.Unlock()
		page, err := r.store.Revocations(ctx, after, revocationPage)
		if err != nil {
			return err
		}
		if page.Epoch != epoch || page.Head < after {
			// Another lineage (D-73): its sequence is read from the begin. Nodes keep what they know.
			if epoch != "" {
				s.log.WarnContext(ctx, "revocations have a new epoch or went back, they are read again", obs.AttrEpoch, page.Epoch)
			}
			r.reset(page.Epoch)
			if after > 0 {
				continue
			}
		}
		if whole := len(page.Entries) < revocationPage; r.take(page, whole) {
			return nil
		}
	}
}

// reset begins another lineage.
func (r *revoked) reset(epoch string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch, r.head, r.messages = epoch, 0, nil
}

// take adds a page; whole says that it reaches the end of the sequence.
func (r *revoked) take(p RevocationPage, whole bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.head
	if n := len(p.Entries); n > 0 {
		m := message{}
		for _, e := range p.Entries {
			m.add(wireRevocation(e), e.Seq)
		}
		r.messages = append(r.messages, m)
		r.head = m.to
		r.merge()
	}
	if whole {
		r.head = max(r.head, p.Head) // what is missing before it has expired
	}
	if r.head != before || whole && !r.ready {
		r.ready = r.ready || whole
		close(r.moved)
		r.moved = make(chan struct{})
	}
	return whole
}

// merge puts the oldest of the messages that were kept as they came to those before. The caller holds mu.
func (r *revoked) merge() {
	at := len(r.messages) - mergeAfter - 1
	if at < 1 || len(r.messages[at-1].entries)+len(r.messages[at].entries) > revocationPage {
		return
	}
	m := &r.messages[at-1]
	for _, e := range r.messages[at].entries {
		m.add(e, r.messages[at].to)
	}
	m.frame = nil
	r.messages = slices.Delete(r.messages, at, at+1)
}

// expire forgets messages of which no entry lives.
func (r *revoked) expire(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = slices.DeleteFunc(r.messages, func(m message) bool { return !m.expire.After(now) })
}

func (m *message) add(e *distributionv1.Revocation, seq uint64) {
	m.entries = append(m.entries, e)
	m.to = seq
	if t := e.GetExpireTime().AsTime(); t.After(m.expire) {
		m.expire = t
	}
}

// encoded returns the bytes that are sent, made when they are asked for first and then for all streams.
func (m *message) encoded(epoch string) frame {
	if m.frame != nil {
		return m.frame
	}
	b, err := proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Revocations{
		Revocations: &distributionv1.Revocations{Epoch: epoch, ToSeq: m.to, Entries: m.entries},
	}})
	if err != nil {
		return nil // cannot be: the only text in it is the epoch, a UUID
	}
	m.frame = b
	return b
}

func wireRevocation(e Revocation) *distributionv1.Revocation {
	m := &distributionv1.Revocation{
		Kind: distributionv1.RevocationKind(e.Kind), KeySha256: e.KeySHA256[:], ExpireTime: timestamppb.New(e.ExpireTime),
	}
	if !e.IssuedBefore.IsZero() {
		m.IssuedBefore = timestamppb.New(e.IssuedBefore)
	}
	return m
}
