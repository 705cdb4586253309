// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// frame is one encoded FollowResponse, shared by all streams that send it.
type frame []byte

// codec is protobuf, except that it sends frames as they are (D-10).
type codec struct{ encoding.CodecV2 }

// Codec returns the codec that a gRPC server needs to serve this room.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(frame); ok {
		return mem.BufferSlice{mem.SliceBuffer(f)}, nil // a SliceBuffer is never returned to a pool
	}
	return c.CodecV2.Marshal(v)
}
