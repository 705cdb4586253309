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

// pieces are one encoded message in pieces, which are sent one after the other as they are.
type pieces [][]byte

// Codec returns the codec that a gRPC server needs to serve this room.
func Codec() encoding.CodecV2 { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case frame:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil // a SliceBuffer is never returned to a pool
	case pieces:
		out := make(mem.BufferSlice, len(v))
		for i, p := range v {
			out[i] = mem.SliceBuffer(p)
		}
		return out, nil
	}
	return c.CodecV2.Marshal(v)
}
