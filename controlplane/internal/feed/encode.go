// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
)

// Field numbers of penstock.distribution.v1. Messages are put together from resources that are encoded already, so that
// each resource is encoded once in its life.
const (
	responseSnapshotBegin = 1 // of FollowResponse
	responseSnapshotPart  = 2
	responseSnapshotEnd   = 3
	responseDelta         = 4
	responseDeny          = 5

	beginEpoch     = 1 // of SnapshotBegin
	beginRevision  = 2
	beginResources = 3
	partResources  = 1 // of SnapshotPart
	endDigest      = 1 // of SnapshotEnd

	deltaEpoch      = 1 // of Delta
	deltaFrom       = 2
	deltaTo         = 3
	deltaBlobs      = 4
	deltaUpserts    = 5
	deltaTombstones = 6
	deltaAtomic     = 7
	deltaMore       = 8
	deltaDigest     = 9

	denyRevision = 1 // of Deny
	denyKeys     = 2

	keyKind = 1 // of ResourceKey
	keyName = 2
)

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendString(b []byte, field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), v)
}

func appendNumber(b []byte, field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
}

func appendKey(b []byte, field protowire.Number, k catalog.Key) []byte {
	key := appendString(nil, keyKind, string(k.Kind))
	return appendBytes(b, field, appendString(key, keyName, k.Name))
}

// response wraps the body of one kind of FollowResponse.
func response(field protowire.Number, body []byte) []byte {
	return appendBytes(make([]byte, 0, len(body)+8), field, body)
}

func encodeDeny(revision catalog.Revision, keys []catalog.Key) []byte {
	b := appendNumber(nil, denyRevision, uint64(revision))
	for _, k := range keys {
		b = appendKey(b, denyKeys, k)
	}
	return response(responseDeny, b)
}
