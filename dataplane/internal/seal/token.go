// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// Prefix is what every sealed token starts with. A string from elsewhere that starts so is never taken for one that
// verifies (M-75).
const Prefix = "pst1."

// Kind says what a token is for. A token opens only as the kind it was sealed as.
type Kind string

// The kinds of sealed tokens.
const (
	// Session is a legacy Mcp-Session-Id (M-34).
	Session Kind = "session"
	// Cursor is the position in a list (M-70).
	Cursor Kind = "cursor"
	// Task is the id of a task of an upstream (M-55).
	Task Kind = "task"
	// RequestState is what a modern client gives back with its answers (M-78).
	RequestState Kind = "request_state"
	// Invite is the same where the node itself asked, to connect a server (EL-7).
	Invite Kind = "invite"
	// Context is the handle of a context (G-33).
	Context Kind = "context"
	// Approval is the same where the node itself asked whether a call may run, or what a call that may was asked by others (G-34).
	Approval Kind = "approval"
)

// The kinds of what nodes share through a store, which is not to read it (M-89). They are sealed as bytes, not as text.
const (
	// Record is a part of a session's record.
	Record Kind = "session_record"
	// Upstream is the session id of an upstream.
	Upstream Kind = "upstream_session"
	// Event is what a stream has sent, or what is known of the stream.
	Event Kind = "stream_event"
)

// ErrNotOpened is returned by [Keyset.Open] for everything that is not a token of this kind and gateway sealed with one
// of the two keys. It does not say which of these it is.
var ErrNotOpened = errors.New("sealed token does not open")

const (
	headSize = keyIDSize + chacha20poly1305.NonceSizeX
	// maxToken is the longest token that is looked at. The longest that is made are cursors, far below it.
	maxToken = 4 << 10
	// maxState is the same for request states, which may wrap one of an upstream of up to 32 KiB (mcp.md §2.1).
	maxState = 48 << 10
	// maxApproval is the same for what wraps a request state of the node in turn.
	maxApproval = 68 << 10
)

func (k Kind) limit() int {
	if k == Approval {
		return maxApproval
	}
	if k == RequestState {
		return maxState
	}
	return maxToken
}

// scratch is what one operation needs besides its result. It is pooled, because arguments of an interface method
// always escape.
type scratch struct {
	text  []byte // base64url
	raw   []byte // key id, nonce, ciphertext, tag
	bound []byte // associated data
}

func (s *scratch) bind(kind Kind, gatewayUID string) []byte {
	s.bound = append(s.bound[:0], kind...)
	s.bound = append(s.bound, 0) // no kind holds a NUL: kind and gateway cannot run into each other
	s.bound = append(s.bound, gatewayUID...)
	return s.bound
}

// Seal appends a token that holds plain to dst: "pst1." and base64url without padding of key id (4 bytes), random nonce
// (24), ciphertext and tag (16). It is len(plain)·4/3 + 66 characters long at most.
func (k *Keyset) Seal(dst []byte, kind Kind, gatewayUID string, plain []byte) []byte {
	var nonce [chacha20poly1305.NonceSizeX]byte
	_, _ = rand.Read(nonce[:]) // crypto/rand never fails: it ends the process instead
	return k.seal(dst, kind, gatewayUID, plain, nonce)
}

// SealSame is Seal, but the same plain has the same token as long as the current key does: what a client compares, such as
// the id of a task, must not change from message to message. The nonce is a keyed hash of everything that is sealed, so two
// tokens share one only if they are equal, and equality is all that they tell.
func (k *Keyset) SealSame(dst []byte, kind Kind, gatewayUID string, plain []byte) []byte {
	s, _ := k.scratch.Get().(*scratch)
	sum := hmac.New(sha256.New, k.current.nonces[:])
	_, _ = sum.Write(s.bind(kind, gatewayUID)) // a hash never fails
	k.scratch.Put(s)
	_, _ = sum.Write([]byte{0}) // no uid of a gateway holds a NUL
	_, _ = sum.Write(plain)
	return k.seal(dst, kind, gatewayUID, plain, [chacha20poly1305.NonceSizeX]byte(sum.Sum(nil)))
}

func (k *Keyset) seal(dst []byte, kind Kind, gatewayUID string, plain []byte, nonce [chacha20poly1305.NonceSizeX]byte) []byte {
	s, _ := k.scratch.Get().(*scratch)
	defer k.scratch.Put(s)
	s.raw = append(s.raw[:0], k.current.id[:]...)
	s.raw = append(s.raw, nonce[:]...)
	s.raw = k.current.aead.Seal(s.raw, s.raw[keyIDSize:headSize], plain, s.bind(kind, gatewayUID))
	return k.text.AppendEncode(append(dst, Prefix...), s.raw)
}

// Open appends the bytes that were sealed in token to dst. The error is [ErrNotOpened].
func (k *Keyset) Open(dst []byte, kind Kind, gatewayUID, token string) ([]byte, error) {
	body, ok := strings.CutPrefix(token, Prefix)
	if !ok || len(token) > kind.limit() {
		return dst, ErrNotOpened
	}
	s, _ := k.scratch.Get().(*scratch)
	defer k.scratch.Put(s)
	s.text = append(s.text[:0], body...)
	s.raw = slices.Grow(s.raw[:0], k.text.DecodedLen(len(body)))
	n, err := k.text.Decode(s.raw[:cap(s.raw)], s.text)
	// The decoder skips line breaks; the length shows them: a token has one spelling only.
	if err != nil || n < headSize+chacha20poly1305.Overhead || k.text.EncodedLen(n) != len(body) {
		return dst, ErrNotOpened
	}
	raw := s.raw[:n]
	use := k.keyOf(raw)
	if use == nil {
		return dst, ErrNotOpened
	}
	out, err := use.aead.Open(dst, raw[keyIDSize:headSize], raw[headSize:], s.bind(kind, gatewayUID))
	if err != nil {
		return dst, ErrNotOpened
	}
	return out, nil
}

// SealBytes appends plain to dst, sealed as bytes: key id, nonce, ciphertext and tag, 44 bytes more than plain. owner is
// what they belong to: they open for the same owner only. It has no bound.
func (k *Keyset) SealBytes(dst []byte, kind Kind, owner string, plain []byte) []byte {
	var nonce [chacha20poly1305.NonceSizeX]byte
	_, _ = rand.Read(nonce[:]) // crypto/rand never fails: it ends the process instead
	dst = slices.Grow(dst, headSize+len(plain)+chacha20poly1305.Overhead)
	dst = append(append(dst, k.current.id[:]...), nonce[:]...)
	return k.current.aead.Seal(dst, nonce[:], plain, bound(kind, owner))
}

// OpenBytes appends what [Keyset.SealBytes] has sealed for the owner to dst. The error is [ErrNotOpened].
func (k *Keyset) OpenBytes(dst []byte, kind Kind, owner string, sealed []byte) ([]byte, error) {
	if len(sealed) < headSize+chacha20poly1305.Overhead {
		return dst, ErrNotOpened
	}
	use := k.keyOf(sealed)
	if use == nil {
		return dst, ErrNotOpened
	}
	out, err := use.aead.Open(dst, sealed[keyIDSize:headSize], sealed[headSize:], bound(kind, owner))
	if err != nil {
		return dst, ErrNotOpened
	}
	return out, nil
}

// bound is [scratch.bind] with memory of its own.
func bound(kind Kind, owner string) []byte { return append(append([]byte(kind), 0), owner...) }

// keyOf picks the key by the id in front. Ids are public, so this need not be constant-time; all that depends on a key
// happens inside the AEAD, which is.
func (k *Keyset) keyOf(raw []byte) *key {
	switch id := [keyIDSize]byte(raw[:keyIDSize]); {
	case id == k.current.id:
		return k.current
	case k.previous != nil && id == k.previous.id:
		return k.previous
	}
	return nil
}
