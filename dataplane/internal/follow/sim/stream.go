// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/pack"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

const (
	maxFetch     = 1000 // hashes of one FetchBlobs
	fetchTimeout = time.Minute
)

// intercept puts [stream] under the Follow stream of a node's client. It is a grpc.StreamClientInterceptor.
func (t *tracked) intercept(
	ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if method != distributionv1.DistributionService_Follow_FullMethodName {
		return next(ctx, desc, conn, method, opts...)
	}
	var theirs encoding.CodecV2
	for _, o := range opts {
		if force, ok := o.(grpc.ForceCodecV2CallOption); ok {
			theirs = force.CodecV2
		}
	}
	if theirs == nil {
		return nil, errors.New("the client reads messages in another way than this package knows")
	}
	under, err := next(ctx, desc, conn, method, append(opts, grpc.ForceCodecV2(codec{theirs, t.pool}))...)
	if err != nil {
		return nil, err
	}
	return &stream{ClientStream: under, tracked: t, codec: theirs, blobs: distributionv1.NewDistributionServiceClient(conn)}, nil
}

// stream keeps the state in the client's place. The client above it is the real one and does everything else: it connects,
// says Hello, keeps the cursor, enforces denials, acknowledges, comes back. What it is told to hold is nothing, at each
// revision. A message in is a message out, so that it hears its control plane when a real node does.
type stream struct {
	grpc.ClientStream

	tracked *tracked
	codec   encoding.CodecV2 // the client's
	blobs   distributionv1.DistributionServiceClient

	begin *distributionv1.SnapshotBegin // of a snapshot that is coming
	added uint64                        // resources of it
	parts []*message                    // of the snapshot or of a delta

	content *content       // of a snapshot that came and lacks bodies
	missing []replica.Hash // those bodies, in order
	came    int            // of them
	fetched int            // chunks of them
}

// SendMsg implements grpc.ClientStream: Hello has the digest of the state.
func (s *stream) SendMsg(v any) error {
	if m, ok := v.(*distributionv1.FollowRequest); ok && m.GetHello() != nil {
		sum, err := s.tracked.resume(m.GetHello().GetEpoch(), m.GetHello().GetRevision())
		if err != nil {
			return err
		}
		m.GetHello().Digest = sum
	}
	return s.ClientStream.SendMsg(v)
}

// RecvMsg implements grpc.ClientStream.
func (s *stream) RecvMsg(v any) error {
	out, err := s.next()
	if err != nil {
		return err
	}
	return s.codec.Unmarshal(mem.BufferSlice{mem.SliceBuffer(out)}, v)
}

// next returns what the client hears next, encoded.
func (s *stream) next() ([]byte, error) {
	if s.content != nil {
		return s.complete()
	}
	var in received[*message]
	if err := s.ClientStream.RecvMsg(&in); err != nil {
		return nil, err
	}
	m := in.value
	switch {
	case m.part != nil:
		return s.part(m)
	case m.delta != nil:
		return s.delta(m)
	case m.other.GetSnapshotBegin() != nil:
		return s.snapshot(m.other.GetSnapshotBegin())
	case m.other.GetSnapshotEnd() != nil:
		return s.end(m.other.GetSnapshotEnd())
	case m.other.GetHeartbeat() != nil:
		return s.heartbeat(m.other.GetHeartbeat())
	default:
		return m.plain, nil
	}
}

func (s *stream) snapshot(m *distributionv1.SnapshotBegin) ([]byte, error) {
	if s.begin != nil || len(s.parts) > 0 {
		return nil, fmt.Errorf("%w: a snapshot begins inside another message", replica.ErrMalformed)
	}
	s.begin, s.added = m, 0
	return proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotBegin{
		SnapshotBegin: &distributionv1.SnapshotBegin{Epoch: m.GetEpoch(), Revision: m.GetRevision()},
	}})
}

func (s *stream) part(m *message) ([]byte, error) {
	s.added += uint64(len(m.part))
	if s.begin == nil || s.added > s.begin.GetResources() {
		return nil, fmt.Errorf("%w: a part of no snapshot, or more than was announced", replica.ErrMalformed)
	}
	s.parts = append(s.parts, m)
	return alive()
}

func (s *stream) end(m *distributionv1.SnapshotEnd) (_ []byte, err error) {
	if s.begin == nil || s.added != s.begin.GetResources() {
		return nil, fmt.Errorf("%w: an incomplete snapshot ends", replica.ErrMalformed)
	}
	if s.content, s.missing, err = s.tracked.snapshot(s.begin.GetRevision(), s.parts, m.GetDigest()); err != nil {
		return nil, err
	}
	s.parts, s.came, s.fetched = nil, 0, 0
	return s.complete()
}

// complete fetches some of the bodies that a snapshot lacks. The last ones end it.
func (s *stream) complete() ([]byte, error) {
	if s.came < len(s.missing) {
		// Real nodes ask in any order; if all of these began with the same bodies, the control plane would pack each of them
		// for each node.
		chunks := (len(s.missing) + maxFetch - 1) / maxFetch
		from := (s.tracked.first + s.fetched) % chunks * maxFetch
		chunk := s.missing[from:min(len(s.missing), from+maxFetch)]
		n, err := s.fetch(chunk)
		s.came += n
		if err != nil {
			s.keep(chunk[:n])
			return nil, err
		}
		s.fetched++
		return alive()
	}
	s.tracked.complete(s.begin.GetEpoch(), s.begin.GetRevision(), s.content)
	s.begin, s.content, s.missing = nil, nil, nil
	return proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_SnapshotEnd{
		SnapshotEnd: &distributionv1.SnapshotEnd{Digest: nothing()},
	}})
}

// keep saves what has come of the bodies, for the next stream: whole chunks, which begin somewhere and go on from the start,
// and a part of one.
func (s *stream) keep(part []replica.Hash) {
	chunks := (len(s.missing) + maxFetch - 1) / maxFetch
	from := s.tracked.first % chunks * maxFetch
	to := from + s.fetched*maxFetch
	s.tracked.keep(s.missing[from:min(to, len(s.missing))])
	s.tracked.keep(s.missing[:max(0, to-chunks*maxFetch)])
	s.tracked.keep(part)
}

func (s *stream) delta(m *message) ([]byte, error) {
	if s.begin != nil {
		return nil, fmt.Errorf("%w: a delta inside a snapshot", replica.ErrMalformed)
	}
	s.parts = append(s.parts, m)
	d := m.delta
	if d.More {
		return alive()
	}
	err := s.tracked.delta(s.parts, func(missing []replica.Hash) error {
		for chunk := range slices.Chunk(missing, maxFetch) {
			if _, err := s.fetch(chunk); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.parts = nil
	return proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Delta{Delta: &distributionv1.Delta{
		Epoch: d.Epoch, From: d.From, To: d.To, Atomic: d.Atomic, Digest: nothing(),
	}}})
}

func (s *stream) heartbeat(m *distributionv1.Heartbeat) ([]byte, error) {
	if s.begin == nil && len(s.parts) == 0 {
		if err := s.tracked.heartbeat(m.GetEpoch(), m.GetAdvanceTo(), m.GetDigest()); err != nil {
			return nil, err
		}
	} else {
		m.AdvanceTo = 0 // as a real node, which moves no cursor inside a delta
	}
	m.Digest = nil
	return proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: m}})
}

// nothing is the digest of no resources.
func nothing() []byte { return digest.Digest{}.Bytes() }

// alive is a sign of life and nothing else.
func alive() ([]byte, error) {
	return proto.Marshal(&distributionv1.FollowResponse{Kind: &distributionv1.FollowResponse_Heartbeat{Heartbeat: &distributionv1.Heartbeat{}}})
}

// fetch asks for bodies and checks that what arrives is what was asked for. It returns how many came.
func (s *stream) fetch(hashes []replica.Hash) (came int, err error) {
	ctx, cancel := context.WithTimeout(s.Context(), fetchTimeout)
	defer cancel()
	ask := &distributionv1.FetchBlobsRequest{Dictionary: pack.Dictionary, Hashes: make([][]byte, len(hashes))}
	for i := range hashes {
		ask.Hashes[i] = hashes[i][:]
	}
	bodies, err := s.blobs.FetchBlobs(ctx, ask, grpc.ForceCodecV2(codec{encoding.GetCodecV2(grpcproto.Name), s.tracked.pool}))
	if err != nil {
		return came, fmt.Errorf("fetch bodies: %w", err)
	}
	for len(hashes) > 0 {
		var in received[[]replica.Hash]
		if err := bodies.RecvMsg(&in); err != nil {
			return came, fmt.Errorf("fetch bodies: %w, %d did not come", err, len(hashes))
		}
		n := len(in.value)
		if n == 0 || n > len(hashes) || !slices.Equal(in.value, hashes[:n]) {
			return came, fmt.Errorf("%w: a body that is not the one asked for", replica.ErrMalformed)
		}
		hashes = hashes[n:]
		came += n
	}
	return came, nil
}

// received is a message as the pool has it.
type received[T any] struct{ value T }

// codec reads what a [stream] receives out of the buffers in which it came. For everything else it is another one.
type codec struct {
	encoding.CodecV2

	pool *pool
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) (err error) {
	switch in := v.(type) {
	case *received[*message]:
		in.value, err = c.pool.message(data)
	case *received[[]replica.Hash]:
		in.value, err = c.pool.hashes(data)
	default:
		err = c.CodecV2.Unmarshal(data, v)
	}
	return err
}
