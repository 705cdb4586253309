// SPDX-License-Identifier: Apache-2.0

package taint

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/call"
	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// Reasons of faults (Invalid) about handles that clients send.
const (
	// ReasonHandle: it is none that this gateway gave to this caller and client.
	ReasonHandle = "CONTEXT_HANDLE_INVALID"
	// ReasonHandleExpired: it was, more than a day ago.
	ReasonHandleExpired = "CONTEXT_HANDLE_EXPIRED"
)

const (
	format      = 1 // first sealed byte
	idSize      = 16
	bindingSize = 16
	boundAt     = 1 + idSize
	beganAt     = boundAt + bindingSize
	flagsAt     = beganAt + 8
	headSize    = flagsAt + 1

	flagUntrusted = 1 << 0
	flagUnknown   = 1 << 1
)

// binding is who may present a handle: a principal and its client at a gateway.
type binding [bindingSize]byte

// methodBearerToken is authn's word. The id of a static token is that of what presents it; those of other tokens change all the time.
const methodBearerToken = "bearer_token"

// bind allocates nothing for ordinary lengths.
func bind(c *call.Caller) binding {
	client := c.Principal.ClientID
	if client == "" && c.Principal.Method == methodBearerToken {
		client = c.Principal.TokenID
	}
	var room [256]byte
	b := append(append(room[:0], c.Gateway.UID...), 0)
	b = append(append(b, c.Principal.Kind...), 0)
	b = append(append(b, c.Principal.UID...), 0)
	sum := sha256.Sum256(append(b, client...))
	return binding(sum[:bindingSize])
}

// asksForHandle reports whether a client asks for a new handle: by true, or by the handle that it has none of yet.
func asksForHandle(sent []byte) bool { return string(sent) == "true" || string(sent) == `""` }

// sealHandle makes the text that the client gets.
func (t *Tracker) sealHandle(c *call.Caller, h *call.Handle) string {
	id, _ := hex.DecodeString(h.Key[len(prefixHandle):]) // made by newHandle or openHandle
	bound := bind(c)
	b := append(append([]byte{format}, id...), bound[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Began.UnixMilli()))
	var flags byte
	if h.Trust.Untrusted {
		flags |= flagUntrusted
	}
	if h.Trust.Unknown {
		flags |= flagUnknown
	}
	b = append(b, flags)
	for _, s := range h.Trust.Sources {
		if len(s) > 255 { // no server has such a name
			b[flagsAt] |= flagUnknown
			continue
		}
		b = append(append(b, byte(len(s))), s...)
	}
	return string(t.keys.Seal(nil, seal.Context, c.Gateway.UID, b))
}

func newHandle() *call.Handle {
	var id [idSize]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails: it ends the process instead
	return &call.Handle{Key: prefixHandle + hex.EncodeToString(id[:]), Began: time.Now(), New: true}
}

// openHandle reads what a client sent. Whatever is wrong with it, the call is not taken for one of a fresh context.
func (t *Tracker) openHandle(c *call.Caller, sent []byte) (*call.Handle, error) {
	invalid := fault.New(fault.Invalid, ReasonHandle, "params._meta[\""+wire.MetaContext+"\"] is no handle that this gateway gave to "+
		"this caller and client. Send true in its place to be given a new one.")
	text, ok := wire.DecodeString(sent)
	if !ok {
		return nil, invalid
	}
	b, err := t.keys.Open(nil, seal.Context, c.Gateway.UID, text)
	if err != nil || len(b) < headSize || b[0] != format {
		return nil, invalid
	}
	bound := bind(c)
	if subtle.ConstantTimeCompare(bound[:], b[boundAt:beganAt]) != 1 {
		return nil, invalid
	}
	h := &call.Handle{
		Key: prefixHandle + hex.EncodeToString(b[1:boundAt]), Began: time.UnixMilli(int64(binary.BigEndian.Uint64(b[beganAt:]))),
		Trust: call.Trust{Untrusted: b[flagsAt]&flagUntrusted != 0, Unknown: b[flagsAt]&flagUnknown != 0},
	}
	for rest := b[headSize:]; len(rest) > 0; {
		n := int(rest[0])
		if len(rest) <= n {
			return nil, invalid
		}
		h.Trust.Sources = append(h.Trust.Sources, string(rest[1:1+n]))
		rest = rest[1+n:]
	}
	if !time.Now().Before(h.Began.Add(Life)) {
		return nil, fault.New(fault.Invalid, ReasonHandleExpired, "The handle in params._meta[\""+wire.MetaContext+"\"] has expired. "+
			"Send true in its place to be given a new one.")
	}
	return h, nil
}
