// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// maxFetch is the most bodies asked for in one FetchBlobs.
const maxFetch = 1000

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// apply handles the messages in the order in which they were sent. It is the only loop that changes the state.
func (s *stream) apply(ctx, outer context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case it := <-s.work:
			if err := s.step(ctx, outer, it); err != nil {
				if errors.Is(err, replica.ErrDrift) {
					s.c.metrics.drift.Add(ctx, 1)
					s.c.cfg.Log.Error("state differs from the control plane's, a full state is asked for", "error", err)
				}
				return err
			}
		}
	}
}

func (s *stream) step(ctx, outer context.Context, it item) error {
	other := it.msg.Other
	switch {
	case it.msg.Delta != nil:
		return s.delta(ctx, outer, it.msg.Delta, it.size)
	case it.msg.Part != nil:
		return s.snapshotPart(it.msg.Part)
	case other.GetSnapshotBegin() != nil:
		return s.snapshotBegin(other.GetSnapshotBegin())
	case other.GetSnapshotEnd() != nil:
		return s.snapshotEnd(ctx, outer, other.GetSnapshotEnd())
	default:
		return s.heartbeat(outer, other.GetHeartbeat())
	}
}

func (s *stream) snapshotBegin(m *distributionv1.SnapshotBegin) error {
	if s.builder != nil || s.pending.Open() {
		return fmt.Errorf("%w: a snapshot begins inside another message", replica.ErrMalformed)
	}
	b, err := replica.NewBuilder(s.c.bodies, s.c.state, m.GetEpoch(), m.GetRevision())
	if err != nil {
		return err
	}
	s.builder, s.begin, s.added = b, m, 0
	return nil
}

func (s *stream) snapshotPart(part []replica.Resource) error {
	if s.builder == nil {
		return fmt.Errorf("%w: a part of no snapshot", replica.ErrMalformed)
	}
	s.added += uint64(len(part))
	if s.added > s.begin.GetResources() {
		return fmt.Errorf("%w: more resources than announced", replica.ErrMalformed)
	}
	for _, r := range part {
		if err := s.builder.Add(r); err != nil {
			return err
		}
	}
	return nil
}

// snapshotEnd fetches the bodies the disk lacks and swaps (D-21, D-24).
func (s *stream) snapshotEnd(ctx, outer context.Context, m *distributionv1.SnapshotEnd) error {
	b := s.builder
	if b == nil || s.added != s.begin.GetResources() {
		return fmt.Errorf("%w: an incomplete snapshot ends", replica.ErrMalformed)
	}
	if err := b.Verify(m.GetDigest()); err != nil {
		return err
	}
	err := s.fetch(ctx, b.Missing(s.c.pool), func(hash replica.Hash, body []byte) error {
		kept, err := b.PutBlob(body)
		if err != nil {
			return err
		}
		// For the next try should the stream break.
		if s.c.pool == nil {
			s.c.pool = make(map[replica.Hash]*bodies.Body)
		}
		s.c.pool[hash] = kept
		return nil
	})
	if err != nil {
		return err
	}
	state, err := b.Build()
	if err != nil {
		return err
	}
	s.builder, s.begin = nil, nil
	s.c.metrics.snapshots.Add(ctx, 1)
	s.report(s.c.swap(outer, state))
	return nil
}

func (s *stream) delta(ctx, outer context.Context, part *replica.Delta, size int) error {
	if s.builder != nil {
		return fmt.Errorf("%w: a delta inside a snapshot", replica.ErrMalformed)
	}
	d, err := s.pending.Add(part, size)
	if d == nil || err != nil {
		return err
	}
	if s.c.state == nil {
		return fmt.Errorf("%w: a delta without a state", replica.ErrCursor)
	}
	missing, err := s.c.state.Check(d)
	if err != nil {
		return err
	}
	// Nothing is missing unless the control plane counted wrong; then asking is better than starting over.
	fetched := make(map[replica.Hash][]byte, len(missing))
	if err := s.fetch(ctx, missing, func(h replica.Hash, body []byte) error {
		fetched[h] = body
		return nil
	}); err != nil {
		return err
	}
	rejects, err := s.c.change(outer, d, fetched)
	if err != nil {
		return err
	}
	s.report(rejects)
	return nil
}

// heartbeat moves the cursor over what does not concern the node, and compares digests.
func (s *stream) heartbeat(ctx context.Context, m *distributionv1.Heartbeat) error {
	if s.builder != nil || s.pending.Open() || s.c.state == nil {
		return nil
	}
	if m.GetAdvanceTo() > s.c.state.Revision() {
		if err := s.c.advance(ctx, m.GetEpoch(), m.GetAdvanceTo()); err != nil {
			return err
		}
		s.poke()
	}
	if len(m.GetDigest()) > 0 && m.GetEpoch() == s.c.state.Epoch() && !s.c.state.Digest().Equal(m.GetDigest()) {
		return fmt.Errorf("%w at revision %d", replica.ErrDrift, s.c.state.Revision())
	}
	return nil
}

// report sends the acknowledgement, after the rejects.
func (s *stream) report(rejects []Reject) {
	s.mu.Lock()
	s.rejects = append(s.rejects, rejects...)
	s.mu.Unlock()
	s.poke()
}

// fetch gets bodies by hash. What arrives is checked against the hash that was asked for.
func (s *stream) fetch(ctx context.Context, hashes []replica.Hash, take func(replica.Hash, []byte) error) error {
	client := distributionv1.NewDistributionServiceClient(s.conn)
	for len(hashes) > 0 {
		n := min(len(hashes), maxFetch)
		if err := s.fetchSome(ctx, client, hashes[:n], take); err != nil {
			return fmt.Errorf("fetch bodies: %w", err)
		}
		hashes = hashes[n:]
	}
	return nil
}

func (s *stream) fetchSome(ctx context.Context, client distributionv1.DistributionServiceClient, hashes []replica.Hash, take func(replica.Hash, []byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req := &distributionv1.FetchBlobsRequest{Dictionary: pack.Dictionary}
	for _, h := range hashes {
		req.Hashes = append(req.Hashes, h[:])
	}
	stream, err := client.FetchBlobs(ctx, req)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if isEOF(err) {
			if len(hashes) > 0 {
				return fmt.Errorf("%w: %d bodies did not come", replica.ErrMissingBlob, len(hashes))
			}
			return nil
		}
		if err != nil {
			return err
		}
		plain := m.GetBlobs()
		for _, frame := range m.GetPacked() {
			body, err := s.c.unpacker.Body(frame)
			if err != nil {
				return err
			}
			plain = append(plain, body)
		}
		for _, body := range plain {
			if len(hashes) == 0 || sha256.Sum256(body) != hashes[0] {
				return fmt.Errorf("%w: a body that is not the one asked for", replica.ErrMalformed)
			}
			if err := take(hashes[0], body); err != nil {
				return err
			}
			hashes = hashes[1:]
		}
	}
}
