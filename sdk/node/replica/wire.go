// SPDX-License-Identifier: Apache-2.0

package replica

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
)

// ErrMalformed is a message that breaks the protocol: not protobuf, or against what its fields promise.
var ErrMalformed = errors.New("malformed message")

// Field numbers of penstock.distribution.v1 that are read without decoding what stands in them.
const (
	fieldSnapshotPart  = 2 // of FollowResponse
	fieldDelta         = 4
	fieldPartResources = 1 // of SnapshotPart

	fieldDeltaBlobs      = 4 // of Delta
	fieldDeltaUpserts    = 5
	fieldResourceKind    = 1 // of Resource
	fieldResourceName    = 2
	fieldResourceVersion = 3
	fieldResourceBlobs   = 4
)

// Key names one resource.
type Key struct {
	Kind, Name string
}

// Hash is the SHA-256 of a body.
type Hash = [sha256.Size]byte

// Resource is an encoded resource and what the replica needs to know of it. Wire is the encoded Resource message;
// Version and Blobs are read from it. It aliases the message it was read from.
type Resource struct {
	Key     Key
	Version []byte // 32 bytes
	Blobs   []Hash
	Wire    []byte
}

// Delta is one Delta message, or all parts of one joined by [Pending].
type Delta struct {
	Epoch      string
	From, To   uint64
	Blobs      map[Hash][]byte
	Upserts    []Resource
	Tombstones []Key
	Atomic     bool
	More       bool
	Digest     []byte
}

// Message is one FollowResponse. Part and Delta hold encoded resources; every other kind, and kinds this build does not
// know, are in Other.
type Message struct {
	Part  []Resource
	Delta *Delta
	Other *distributionv1.FollowResponse
}

// ParseMessage reads a FollowResponse. The result aliases b. Anything but a well-formed message is ErrMalformed.
func ParseMessage(b []byte) (Message, error) {
	num, body := only(b)
	if num != fieldSnapshotPart && num != fieldDelta {
		m := &distributionv1.FollowResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if m.GetSnapshotPart() != nil || m.GetDelta() != nil {
			return Message{}, fmt.Errorf("%w: two kinds in one message", ErrMalformed)
		}
		return Message{Other: m}, nil
	}
	if num == fieldDelta {
		d, err := parseDelta(body)
		if err != nil {
			return Message{}, err
		}
		return Message{Delta: d}, nil
	}
	part := []Resource{}
	err := fields(body, func(num protowire.Number, v, _ []byte) error {
		if num != fieldPartResources || v == nil {
			return nil
		}
		r, err := ParseResource(v)
		part = append(part, r)
		return err
	})
	if err != nil {
		return Message{}, err
	}
	return Message{Part: part}, nil
}

// ParseResource reads an encoded Resource and checks that it decodes. The result aliases wire.
func ParseResource(wire []byte) (Resource, error) {
	r, err := scanResource(wire)
	if err != nil {
		return Resource{}, err
	}
	if err := proto.Unmarshal(wire, &distributionv1.Resource{}); err != nil {
		return Resource{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return r, nil
}

// scanResource is ParseResource without the check of the body.
func scanResource(wire []byte) (Resource, error) {
	r := Resource{Wire: wire}
	err := fields(wire, func(num protowire.Number, v, _ []byte) error {
		if v == nil {
			return nil
		}
		switch int(num) {
		case fieldResourceKind:
			r.Key.Kind = kindName(v)
		case fieldResourceName:
			r.Key.Name = string(v)
		case fieldResourceVersion:
			r.Version = v
		case fieldResourceBlobs:
			if len(v) != sha256.Size {
				return fmt.Errorf("%w: a blob hash of %d bytes", ErrMalformed, len(v))
			}
			r.Blobs = append(r.Blobs, Hash(v))
		}
		return nil
	})
	switch {
	case err != nil:
		return Resource{}, err
	case r.Key.Kind == "" || r.Key.Name == "":
		return Resource{}, fmt.Errorf("%w: a resource without kind or name", ErrMalformed)
	case len(r.Version) != sha256.Size:
		return Resource{}, fmt.Errorf("%w: a version of %d bytes", ErrMalformed, len(r.Version))
	}
	return r, nil
}

// kindName is string(v) without an allocation for the kinds that there are.
func kindName(v []byte) string {
	switch string(v) {
	case "assignment":
		return "assignment"
	case "tool":
		return "tool"
	case "gateway":
		return "gateway"
	case "user":
		return "user"
	case "bearer_token":
		return "bearer_token"
	case "oauth_client":
		return "oauth_client"
	default:
		return string(v)
	}
}

func parseDelta(b []byte) (*Delta, error) {
	d := &Delta{Blobs: make(map[Hash][]byte)}
	var rest []byte // the small fields, left to protobuf
	err := fields(b, func(num protowire.Number, v, field []byte) error {
		switch {
		case num == fieldDeltaBlobs && v != nil:
			d.Blobs[sha256.Sum256(v)] = v
		case num == fieldDeltaUpserts && v != nil:
			r, err := ParseResource(v)
			d.Upserts = append(d.Upserts, r)
			return err
		default:
			rest = append(rest, field...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m := &distributionv1.Delta{}
	if err := proto.Unmarshal(rest, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	d.Epoch, d.From, d.To, d.Atomic, d.More = m.GetEpoch(), m.GetFrom(), m.GetTo(), m.GetAtomic(), m.GetMore()
	d.Digest = m.GetDigest()
	for _, k := range m.GetTombstones() {
		d.Tombstones = append(d.Tombstones, Key{Kind: k.GetKind(), Name: k.GetName()})
	}
	return d, nil
}

// only returns the number and the bytes of the single length-delimited field that b consists of; 0 if b is anything else.
func only(b []byte) (protowire.Number, []byte) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || typ != protowire.BytesType {
		return 0, nil
	}
	v, m := protowire.ConsumeBytes(b[n:])
	if m < 0 || n+m != len(b) {
		return 0, nil
	}
	return num, v
}

// fields calls fn for each field of an encoded message: v is what a length-delimited field holds, nil for one of another
// type; field is the whole field as it stands in b. Both alias b.
func fields(b []byte, fn func(num protowire.Number, v, field []byte) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		switch {
		case n < 0:
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(n))
		case num > protowire.MaxValidNumber: // which ConsumeTag lets pass
			return fmt.Errorf("%w: a field number above %d", ErrMalformed, protowire.MaxValidNumber)
		}
		var v []byte
		m := 0
		if typ == protowire.BytesType {
			v, m = protowire.ConsumeBytes(b[n:])
		} else {
			m = protowire.ConsumeFieldValue(num, typ, b[n:])
		}
		if m < 0 {
			return fmt.Errorf("%w: %w", ErrMalformed, protowire.ParseError(m))
		}
		if err := fn(num, v, b[:n+m]); err != nil {
			return err
		}
		b = b[n+m:]
	}
	return nil
}
