// SPDX-License-Identifier: Apache-2.0

package invite

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Rounds is how often a client that says yes is asked again before it is told in words (EL-8).
const Rounds = 3

// life is how long a requestState is good for (EL-7).
const life = 10 * time.Minute

// key is the one question's among inputRequests.
const key = "connect"

// The errors of [State.Check].
var (
	// ErrInvalid: given to another client, for another request or to another user.
	ErrInvalid = errors.New("request state is not valid")
	// ErrExpired: it was valid once.
	ErrExpired = errors.New("request state has expired")
)

// Sealer seals and opens what requestState holds, bound to a gateway. OpenInvite reports false for everything that SealInvite,
// on any node of the fleet, did not make for that gateway.
type Sealer interface {
	SealInvite(gatewayUID string, plain []byte) string
	OpenInvite(gatewayUID, token string) (plain []byte, ok bool)
}

// State is what a requestState holds.
type State struct {
	Round     uint8  // of the question, from 1
	Principal string // ident.Principal.Key
	Client    string // OAuth client id, empty for none
	Digest    wire.Digest

	expires time.Time // to the second
}

// head is the length of what stands before the texts; the nonce is the sealer's.
const head = 1 + 8 + len(wire.Digest{})

// Seal returns the state, good for ten minutes from now on, as a JSON string.
func (s State) Seal(by Sealer, gatewayUID string, now time.Time) []byte {
	plain := append(make([]byte, 0, head+len(s.Principal)+len(s.Client)+4), s.Round)
	plain = binary.BigEndian.AppendUint64(plain, uint64(now.Add(life).Unix()))
	plain = append(plain, s.Digest[:]...)
	plain = append(binary.AppendUvarint(plain, uint64(len(s.Principal))), s.Principal...)
	return wire.Quote(by.SealInvite(gatewayUID, append(plain, s.Client...)))
}

// Open opens a raw JSON string. ok is false if it is no state of this package.
func Open(by Sealer, gatewayUID string, raw []byte) (s State, ok bool) {
	text, ok := wire.DecodeString(raw)
	if !ok {
		return s, false
	}
	plain, ok := by.OpenInvite(gatewayUID, text)
	if !ok || len(plain) < head {
		return s, false
	}
	s.Round = plain[0]
	s.expires = time.Unix(int64(binary.BigEndian.Uint64(plain[1:9])), 0)
	s.Digest = wire.Digest(plain[9:head])
	n, used := binary.Uvarint(plain[head:])
	rest := plain[head:]
	if used <= 0 || n > uint64(len(rest)-used) {
		return s, false
	}
	s.Principal, s.Client = string(rest[used:used+int(n)]), string(rest[used+int(n):])
	return s, true
}

// Check compares the state with the request that brought it.
func (s *State) Check(principal, client string, digest wire.Digest, now time.Time) error {
	switch {
	case s.Principal != principal || s.Client != client || s.Digest != digest:
		return ErrInvalid
	case !now.Before(s.expires):
		return ErrExpired
	}
	return nil
}

// Declined reports whether one of the raw inputResponses is another than yes.
func Declined(responses []byte) bool {
	var room [4]wire.Field
	fields, err := wire.Fields(room[:0], responses)
	if err != nil {
		return false // none came: whether it is connected will show
	}
	for i := range fields {
		if !wire.EqualString(wire.Get(fields[i].Of(responses), "action"), "accept") {
			return true
		}
	}
	return false
}

// Page is a page to open.
type Page struct {
	Message string // for the person
	URL     string
}

// Asked returns the result that asks a modern client to show the page. state is raw JSON.
func (p Page) Asked(state []byte) []byte {
	b := []byte(`{"resultType":"input_required","inputRequests":{"` + key + `":{"method":"elicitation/create","params":{"mode":"url","url":`)
	b = wire.AppendString(b, p.URL)
	b = wire.AppendString(append(b, `,"message":`...), p.Message)
	b = append(append(b, `}}},"requestState":`...), state...)
	return append(b, '}')
}

// Required returns the error object that asks a client of 2025-11-25 to show the page.
func (p Page) Required() []byte {
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails: it ends the process instead
	data := wire.AppendString([]byte(`{"elicitations":[{"mode":"url","elicitationId":`), hex.EncodeToString(id[:]))
	data = wire.AppendString(append(data, `,"url":`...), p.URL)
	data = wire.AppendString(append(data, `,"message":`...), p.Message)
	return wire.AppendErrorObject(nil, wire.CodeURLElicitation, p.Message, append(data, `}]}`...))
}

// Shown reports whether a client can be asked to show a page: by its version, and by the raw ClientCapabilities object that it
// declared.
func Shown(v wire.Version, capabilities []byte) bool {
	return v.AtLeast(wire.V20251125) && wire.IsObject(wire.Get(capabilities, "elicitation", "url"))
}
