// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// maxMessage is the most bytes of one message, unpacked: 16 times the 1 MB that a control plane fills (D-29, D-87), so
// that a body of 10 MiB, the largest there is, fits.
const maxMessage = 16 << 20

// link is the connection of the stream that is open now.
type link struct {
	mu   sync.Mutex
	conn *grpc.ClientConn
}

var errNotConnected = errors.New("no control plane is connected")

func (l *link) set(conn *grpc.ClientConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
}

func (l *link) get() (*grpc.ClientConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil, status.Error(codes.Unavailable, errNotConnected.Error())
	}
	return l.conn, nil
}

// Invoke implements grpc.ClientConnInterface.
func (l *link) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	conn, err := l.get()
	if err != nil {
		return err
	}
	return conn.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface.
func (l *link) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	conn, err := l.get()
	if err != nil {
		return nil, err
	}
	return conn.NewStream(ctx, desc, method, opts...)
}

// encoded is a message that is received as its bytes: resources are read out of them without being decoded (section 1
// of the distribution design: decoded, a full scope would not fit).
type encoded struct {
	b []byte
}

// rawCodec is protobuf, except that it leaves an encoded message as it is.
type rawCodec struct {
	encoding.CodecV2
}

func newRawCodec() rawCodec { return rawCodec{encoding.GetCodecV2(proto.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*encoded); ok {
		m.b = data.Materialize()
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}
