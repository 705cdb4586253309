// SPDX-License-Identifier: Apache-2.0

package pack

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
)

// Dictionary is the newest dictionary: Hello.dictionary and Packed.dictionary of penstock.distribution.v1. A dictionary is
// never changed, because the other end may be of another build: a better one gets the next number.
const Dictionary = 1

//go:embed dictionary1.txt
var dictionary1 []byte

// Field numbers of penstock.distribution.v1.
const (
	responsePacked   = 10 // of FollowResponse
	packedDictionary = 1  // of Packed
	packedZstd       = 2
)

// least is the fewest bytes that are packed: a frame and its message take about 25 by themselves.
const least = 64

// window is how far back a repetition is looked for: more would cost memory, and most messages are smaller.
const window = 512 << 10

// ErrMalformed is what cannot be unpacked.
var ErrMalformed = errors.New("malformed packed message")

// Packer compresses. It is safe for concurrent use.
type Packer struct{ encoder *zstd.Encoder }

// NewPacker returns a Packer that keeps up to a number of compressions under way.
func NewPacker(concurrency int) (*Packer, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderDictRaw(Dictionary, dictionary1), zstd.WithEncoderConcurrency(concurrency),
		zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true),
		zstd.WithWindowSize(window))
	if err != nil {
		return nil, fmt.Errorf("make packer: %w", err)
	}
	return &Packer{e}, nil
}

// Body returns a body as one Zstandard frame. It takes up no more memory than it needs: bodies are kept.
func (p *Packer) Body(plain []byte) []byte { return bytes.Clone(p.encoder.EncodeAll(plain, nil)) }

// Message returns an encoded FollowResponse as another one that holds the first, packed; or as it is, if that is not
// smaller.
func (p *Packer) Message(plain []byte) []byte {
	if len(plain) < least {
		return plain
	}
	frame := p.encoder.EncodeAll(plain, nil)
	body := protowire.AppendVarint(protowire.AppendTag(make([]byte, 0, len(frame)+12), packedDictionary, protowire.VarintType), Dictionary)
	body = protowire.AppendBytes(protowire.AppendTag(body, packedZstd, protowire.BytesType), frame)
	if len(body)+8 >= len(plain) {
		return plain
	}
	return protowire.AppendBytes(protowire.AppendTag(make([]byte, 0, len(body)+8), responsePacked, protowire.BytesType), body)
}

// Unpacker decompresses. It is safe for concurrent use.
type Unpacker struct{ decoder *zstd.Decoder }

// NewUnpacker returns an Unpacker that makes no more than limit bytes of one frame (D-87).
func NewUnpacker(limit int) (*Unpacker, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderDictRaw(Dictionary, dictionary1), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		return nil, fmt.Errorf("make unpacker: %w", err)
	}
	return &Unpacker{d}, nil
}

// Body returns what [Packer.Body] was given. The error is ErrMalformed.
func (u *Unpacker) Body(frame []byte) ([]byte, error) {
	plain, err := u.decoder.DecodeAll(frame, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return plain, nil
}

// Message returns what [Packer.Message] was given: b itself, unless it is packed. The error is ErrMalformed.
func (u *Unpacker) Message(b []byte) ([]byte, error) {
	num, kind, n := protowire.ConsumeTag(b)
	if n < 0 || num != responsePacked || kind != protowire.BytesType {
		return b, nil
	}
	body, m := protowire.ConsumeBytes(b[n:])
	if m < 0 || n+m != len(b) {
		return nil, fmt.Errorf("%w: it is not alone", ErrMalformed)
	}
	for len(body) > 0 {
		num, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		}
		if num == packedZstd && kind == protowire.BytesType {
			frame, m := protowire.ConsumeBytes(body[n:])
			if m < 0 {
				return nil, fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(m))
			}
			return u.Body(frame)
		}
		m := protowire.ConsumeFieldValue(num, kind, body[n:])
		if m < 0 {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(m))
		}
		body = body[n+m:]
	}
	return nil, fmt.Errorf("%w: it is empty", ErrMalformed)
}
