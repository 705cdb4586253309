// SPDX-License-Identifier: Apache-2.0

package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// UID names a session. It is random, and never leaves the node in clear but in telemetry.
type UID [16]byte

// String returns the UID as 32 hexadecimal digits.
func (u UID) String() string { return hex.EncodeToString(u[:]) }

const (
	maxIDLength = 512 // longest Mcp-Session-Id (M-34)
	format      = 1   // first sealed byte; a new layout gets a new number, and old tokens open for their 24 hours
	bindingSize = 16
	issuedAt    = 1 + len(UID{}) + bindingSize
	abilitiesAt = issuedAt + 8
	versionAt   = abilitiesAt + 2
	nodeAt      = versionAt + versionSize
	versionSize = len(wire.V20251125)
	maxNode     = 63 // bytes of a node's name
	plainSize   = nodeAt + maxNode
)

// binding ties a session to a principal and a client. It is a digest because client ids may be URLs of any length, and
// an Mcp-Session-Id may not.
type binding [bindingSize]byte

// bind allocates nothing for ordinary lengths: it runs on every legacy request.
func bind(p ident.Principal) binding {
	var room [256]byte
	b := append(room[:0], p.Kind...)
	b = append(append(b, 0), p.UID...)
	b = append(append(b, 0), p.ClientID...)
	sum := sha256.Sum256(b)
	return binding(sum[:bindingSize])
}

// claims is what an Mcp-Session-Id says.
type claims struct {
	uid     UID
	bound   binding
	issued  time.Time // whole seconds
	began   time.Time // the same, or when exactly
	able    abilities
	version wire.Version // empty for HTTP+SSE, where it is negotiated later
	node    string       // that has the stream of an HTTP+SSE session; empty for others
}

func (c *claims) append(dst []byte) []byte {
	dst = append(append(dst, format), c.uid[:]...)
	dst = append(dst, c.bound[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(c.issued.Unix()))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.able))
	version := c.version
	if version == "" {
		version = noVersion
	}
	return append(append(dst, version...), c.node...)
}

// noVersion stands in the id of an HTTP+SSE session.
const noVersion = "0000-00-00"

// parse reads sealed bytes; false means a layout that this build does not know.
func (c *claims) parse(b []byte) bool {
	if len(b) < nodeAt || len(b) > plainSize || b[0] != format {
		return false
	}
	copy(c.uid[:], b[1:])
	copy(c.bound[:], b[1+len(UID{}):])
	c.issued = time.Unix(int64(binary.BigEndian.Uint64(b[issuedAt:])), 0)
	c.began = c.issued
	c.able = abilities(binary.BigEndian.Uint16(b[abilitiesAt:]))
	v := b[versionAt:nodeAt]
	if c.node = string(b[nodeAt:]); c.node != "" {
		return string(v) == noVersion
	}
	for _, known := range wire.Supported() {
		if string(v) == string(known) {
			c.version = known // the constant: nothing of b is kept
		}
	}
	return c.version.Era() == wire.Legacy
}

func (c *claims) belongsTo(p ident.Principal) bool {
	bound := bind(p)
	return subtle.ConstantTimeCompare(bound[:], c.bound[:]) == 1
}
