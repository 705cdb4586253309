// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/controlplane/internal/enroll"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/node/pack"
)

const (
	blobsAtOnce = 64        // bodies read together for FetchBlobs
	blobsBytes  = 256 << 10 // bytes of one FetchBlobsResponse, unless one body is larger
	maxHashes   = 1000      // of one FetchBlobsRequest, as its contract says

	// Numbers of the fields of FetchBlobsResponse.
	fieldBlobs  protowire.Number = 1
	fieldPacked protowire.Number = 2
)

// FetchBlobs implements DistributionService.
func (s *Server) FetchBlobs(r *distributionv1.FetchBlobsRequest, g distributionv1.DistributionService_FetchBlobsServer) error {
	w, err := enroll.Peer(g.Context(), ident.RoleNode, ident.RoleAuthserver) // of which the scope of the latter has no bodies
	if err != nil {
		return toStatus(err)
	}
	// Not by the rules of the contract, which take longer for a thousand hashes than to send what they name.
	if n := len(r.GetHashes()); n == 0 || n > maxHashes {
		return status.Errorf(codes.InvalidArgument, "ask for 1 to %d hashes at a time, not for %d", maxHashes, n)
	}
	class, err := s.feed.Class(scopeOf(w))
	if err != nil {
		return toStatus(err)
	}
	hashes := make([]catalog.Hash, 0, len(r.GetHashes()))
	for _, h := range r.GetHashes() {
		if len(h) != len(catalog.Hash{}) {
			return status.Error(codes.InvalidArgument, "a hash has 32 bytes")
		}
		hash := catalog.Hash(h)
		// What is out of scope does not exist for this node (D-82).
		if !class.HoldsBlob(hash) {
			return status.Errorf(codes.NotFound, "there is no body %x in the scope of this node", h)
		}
		hashes = append(hashes, hash)
	}
	packs := r.GetDictionary() >= pack.Dictionary
	for some := range slices.Chunk(hashes, blobsAtOnce) {
		read := s.feed.Blobs
		if packs {
			read = s.feed.PackedBlobs
		}
		bodies, err := read(g.Context(), some)
		if err != nil {
			return toStatus(err)
		}
		if err := s.sendBlobs(g, bodies, packs); err != nil {
			return err
		}
	}
	return nil
}

// sendBlobs sends bodies in messages that are put together of them, without a copy: thousands of nodes get the same ones.
func (s *Server) sendBlobs(g distributionv1.DistributionService_FetchBlobsServer, bodies [][]byte, packed bool) error {
	field := fieldBlobs
	if packed {
		field = fieldPacked
	}
	var m pieces
	size := 0
	for i, b := range bodies {
		m = append(m, protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.BytesType), uint64(len(b))), b)
		size += len(b)
		if size < blobsBytes && i < len(bodies)-1 {
			continue
		}
		if err := g.SendMsg(m); err != nil {
			return err
		}
		s.metrics.sent(g.Context(), laneBlobs, size)
		m, size = nil, 0
	}
	return nil
}
