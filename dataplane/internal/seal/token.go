// SPDX-License-Identifier: Apache-2.0

package seal

import (
	"crypto/rand"
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
)

// ErrNotOpened is returned by [Keyset.Open] for everything that is not a token of this kind and gateway sealed with one
// of the two keys. It does not say which of these it is.
var ErrNotOpened = errors.New("sealed token does not open")

const (
	headSize = keyIDSize + chacha20poly1305.NonceSizeX
	// maxToken is the longest token that is looked at. The longest that is made are cursors, far below it.
	maxToken = 4 << 10
)

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
	s, _ := k.scratch.Get().(*scratch)
	defer k.scratch.Put(s)
	var nonce [chacha20poly1305.NonceSizeX]byte
	_, _ = rand.Read(nonce[:]) // crypto/rand never fails: it ends the process instead
	s.raw = append(s.raw[:0], k.current.id[:]...)
	s.raw = append(s.raw, nonce[:]...)
	s.raw = k.current.aead.Seal(s.raw, s.raw[keyIDSize:headSize], plain, s.bind(kind, gatewayUID))
	return k.text.AppendEncode(append(dst, Prefix...), s.raw)
}

// Open appends the bytes that were sealed in token to dst. The error is [ErrNotOpened].
func (k *Keyset) Open(dst []byte, kind Kind, gatewayUID, token string) ([]byte, error) {
	body, ok := strings.CutPrefix(token, Prefix)
	if !ok || len(token) > maxToken {
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
