// SPDX-License-Identifier: Apache-2.0

package confirm

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Life is how long a requestState is good for (EL-7).
const Life = 10 * time.Minute

// Kind says what a state stands for.
type Kind uint8

const (
	// Confirmation is a call whose caller is asked whether it may run.
	Confirmation Kind = iota + 1
	// Waiting is a call that waits for others.
	Waiting
	// Running is a call that was approved, and in which its client was then asked by the server, or to connect it. It is good for one
	// retry, at the node that runs the call.
	Running
	// Confirmed is a call that its caller has confirmed, and that could not run before its client was asked for something else.
	Confirmed
)

// The errors of [State.Check].
var (
	// ErrInvalid: given to another client, for another request or to another user.
	ErrInvalid = errors.New("request state is not valid")
	// ErrExpired: it was valid once.
	ErrExpired = errors.New("request state has expired")
)

// ID tells a state from all others. Nobody can guess it.
type ID [16]byte

// String returns 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Sealer seals and opens what requestState holds, bound to a gateway. OpenApproval reports false for everything that SealApproval, on any
// node of the fleet, did not make for that gateway.
type Sealer interface {
	SealApproval(gatewayUID string, plain []byte) string
	OpenApproval(gatewayUID, token string) (plain []byte, ok bool)
}

// State is what a requestState holds.
type State struct {
	Kind      Kind
	Round     uint8  // of the question, from 1
	ID        ID     // of a Confirmation, a Running or a Confirmed
	Principal string // ident.Principal.Key
	Client    string // OAuth client id, empty for none
	Digest    wire.Digest
	Tool      string // "<server>/<upstream name>"
	Policy    string // uid
	Approval  string // identifier, of a Waiting
	Node      string // of a Running
	Inner     []byte // raw JSON string: the requestState that a Running or a Confirmed stands for; nil for none

	expires time.Time // to the second
}

// head is the length of what stands before the texts.
const head = 2 + len(ID{}) + 8 + len(wire.Digest{})

// Seal returns the state, good for ten minutes from now on, as a JSON string.
func (s *State) Seal(by Sealer, gatewayUID string, now time.Time) []byte {
	plain := append(make([]byte, 0, 256+len(s.Inner)), byte(s.Kind), s.Round)
	plain = append(plain, s.ID[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(now.Add(Life).Unix()))
	plain = append(plain, s.Digest[:]...)
	for _, text := range [...]string{s.Principal, s.Client, s.Tool, s.Policy, s.Approval, s.Node} {
		plain = append(binary.AppendUvarint(plain, uint64(len(text))), text...)
	}
	return wire.Quote(by.SealApproval(gatewayUID, append(plain, s.Inner...)))
}

// Open opens a raw JSON string. ok is false if it is no state of this package.
func Open(by Sealer, gatewayUID string, raw []byte) (s *State, ok bool) {
	text, ok := wire.DecodeString(raw)
	if !ok {
		return nil, false
	}
	plain, ok := by.OpenApproval(gatewayUID, text)
	if !ok || len(plain) < head {
		return nil, false
	}
	s = &State{Kind: Kind(plain[0]), Round: plain[1], ID: ID(plain[2:18])}
	s.expires = time.Unix(int64(binary.BigEndian.Uint64(plain[18:26])), 0)
	s.Digest = wire.Digest(plain[26:head])
	rest := plain[head:]
	for _, into := range [...]*string{&s.Principal, &s.Client, &s.Tool, &s.Policy, &s.Approval, &s.Node} {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return nil, false
		}
		*into, rest = string(rest[used:used+int(n)]), rest[used+int(n):]
	}
	if len(rest) > 0 {
		s.Inner = rest
	}
	return s, s.Kind >= Confirmation && s.Kind <= Confirmed
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
