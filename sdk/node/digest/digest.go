// SPDX-License-Identifier: Apache-2.0

// Package digest computes the digest of a set of resources: the sum modulo 2^128 of a hash of (kind, name, version) over
// its members (D-14). It is independent of order, updated in O(change), and computable backwards.
//
// It is called by the control plane's feed and by the node's replica, which must agree to the bit. It finds drift, not
// forgery. It must never know what a resource holds.
package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Size is the length of a digest's bytes.
const Size = 16

// Digest is the digest of a set; the zero value is that of the empty set. It is a value: copy it at will.
type Digest struct {
	hi, lo uint64
}

// Add puts a resource into the set. The version is the resource's SHA-256.
func (d *Digest) Add(kind, name string, version []byte) {
	hi, lo := element(kind, name, version)
	var carry uint64
	d.lo, carry = bits.Add64(d.lo, lo, 0)
	d.hi, _ = bits.Add64(d.hi, hi, carry)
}

// Remove takes a resource out of the set: the inverse of Add with the same arguments.
func (d *Digest) Remove(kind, name string, version []byte) {
	hi, lo := element(kind, name, version)
	var borrow uint64
	d.lo, borrow = bits.Sub64(d.lo, lo, 0)
	d.hi, _ = bits.Sub64(d.hi, hi, borrow)
}

// Bytes returns the digest as it travels: 16 bytes, big-endian.
func (d Digest) Bytes() []byte {
	b := make([]byte, Size)
	binary.BigEndian.PutUint64(b, d.hi)
	binary.BigEndian.PutUint64(b[8:], d.lo)
	return b
}

// Equal reports whether b is the digest as it travels.
func (d Digest) Equal(b []byte) bool {
	other, ok := Parse(b)
	return ok && other == d
}

// Parse reads a digest as it travels; ok is false if b has not 16 bytes.
func Parse(b []byte) (d Digest, ok bool) {
	if len(b) != Size {
		return Digest{}, false
	}
	return Digest{hi: binary.BigEndian.Uint64(b), lo: binary.BigEndian.Uint64(b[8:])}, true
}

// element is the first 128 bits of SHA-256 over the length-prefixed parts: without the lengths, two different triples
// could be the same bytes.
func element(kind, name string, version []byte) (hi, lo uint64) {
	var room [256]byte
	b := room[:0]
	for _, part := range [...]string{kind, name} {
		b = binary.AppendUvarint(b, uint64(len(part)))
		b = append(b, part...)
	}
	b = binary.AppendUvarint(b, uint64(len(version)))
	b = append(b, version...)
	sum := sha256.Sum256(b)
	return binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])
}
