// SPDX-License-Identifier: Apache-2.0

// Package state makes and opens the requestState that modern clients carry back to the node (mcp.md M-75, M-76, M-78;
// auth.md EL-7): sealed, and bound to gateway, principal, client and request, for ten minutes.
//
// bridge uses it. It must never know held calls or how a call is made.
package state

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// Kind says what a state stands for.
type Kind uint8

const (
	// Hold is a call that waits at a node for answers (M-76).
	Hold Kind = iota + 1
	// Resend is a call that ended with a page to open, and is to be sent anew (-32042).
	Resend
	// Wrapped is a state of the upstream that starts as ours do (M-75).
	Wrapped
)

// State is what a requestState holds.
type State struct {
	Kind      Kind
	ID        [16]byte // of the held call and round; of a Hold
	Node      string   // that holds the call; of a Hold
	Round     uint8
	Expires   time.Time // to the second
	Principal string    // ident.Principal.Key
	Client    string    // OAuth client id, empty for none
	Digest    Digest
	Upstream  []byte // raw JSON string, the state of the upstream; of a Wrapped
}

// Digest is what a request is about.
type Digest = wire.Digest

// The errors of [Book.Open] and [State.Check]. Neither says more to a client.
var (
	// ErrInvalid: not sealed here, changed, or given by another client, for another request or of another user.
	ErrInvalid = errors.New("request state is not valid")
	// ErrExpired: it was valid once.
	ErrExpired = errors.New("request state has expired")
)

// Sealer seals and opens tokens, each bound to a gateway (M-86). Open reports false for everything that Seal, on any node
// of the fleet, did not make for that gateway. Tokens start with "pst1.".
type Sealer interface {
	Seal(gatewayUID string, plain []byte) string
	Open(gatewayUID, token string) (plain []byte, ok bool)
}

// Book makes and opens states.
type Book struct{ Sealer Sealer }

// prefix is what sealed tokens start with.
const prefix = "pst1."

// IsOurs reports whether a raw JSON string starts as the states of nodes do.
func IsOurs(raw []byte) bool {
	text, ok := wire.DecodeString(raw)
	return ok && strings.HasPrefix(text, prefix)
}

// Seal returns the state as a JSON string.
func (b Book) Seal(gatewayUID string, t *State) []byte {
	plain := append(make([]byte, 0, 256+len(t.Upstream)), byte(t.Kind), t.Round)
	plain = append(plain, t.ID[:]...)
	plain = binary.BigEndian.AppendUint64(plain, uint64(t.Expires.Unix()))
	plain = append(plain, t.Digest[:]...)
	for _, text := range [...]string{t.Node, t.Principal, t.Client} {
		plain = binary.AppendUvarint(plain, uint64(len(text)))
		plain = append(plain, text...)
	}
	plain = append(plain, t.Upstream...)
	return wire.Quote(b.Sealer.Seal(gatewayUID, plain))
}

// Open opens a raw JSON string. The error is [ErrInvalid].
func (b Book) Open(gatewayUID string, raw []byte) (*State, error) {
	text, ok := wire.DecodeString(raw)
	if !ok {
		return nil, ErrInvalid
	}
	plain, ok := b.Sealer.Open(gatewayUID, text)
	if !ok {
		return nil, ErrInvalid
	}
	t, ok := parse(plain)
	if !ok {
		return nil, ErrInvalid
	}
	return t, nil
}

// head is the length of what stands before the texts.
const head = 2 + 16 + 8 + len(Digest{})

func parse(plain []byte) (*State, bool) {
	if len(plain) < head {
		return nil, false
	}
	t := &State{Kind: Kind(plain[0]), Round: plain[1], ID: [16]byte(plain[2:18])}
	t.Expires = time.Unix(int64(binary.BigEndian.Uint64(plain[18:26])), 0)
	t.Digest = Digest(plain[26:head])
	rest := plain[head:]
	for _, into := range [...]*string{&t.Node, &t.Principal, &t.Client} {
		n, used := binary.Uvarint(rest)
		if used <= 0 || n > uint64(len(rest)-used) {
			return nil, false
		}
		*into = string(rest[used : used+int(n)])
		rest = rest[used+int(n):]
	}
	if len(rest) > 0 {
		t.Upstream = rest
	}
	return t, t.Kind >= Hold && t.Kind <= Wrapped && (t.Kind == Wrapped) == (t.Upstream != nil)
}

// Check compares the state with the request that brought it. principal and client are those of the caller.
func (t *State) Check(principal, client string, digest Digest, now time.Time) error {
	switch {
	case t.Principal != principal || t.Client != client || t.Digest != digest:
		return ErrInvalid
	case !now.Before(t.Expires):
		return ErrExpired
	}
	return nil
}

// DigestOf returns what a request is about: where it goes, its method and its params, see [wire.DigestOf]. ok is false if
// params is neither nil nor an object.
func DigestOf(server, connection, method string, params []byte) (d Digest, ok bool) {
	return wire.DigestOf(params, server, connection, method)
}
