// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Digest is what a request is about.
type Digest [sha256.Size]byte

// DigestOf returns the digest of a request: of texts, which say where it goes, and of its params but for _meta, requestState
// and inputResponses, which differ in a retry. The order of the members of params and white space do not matter. ok is false
// if params is neither nil nor an object.
func DigestOf(params []byte, texts ...string) (d Digest, ok bool) {
	h := sha256.New()
	write := func(part []byte) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	for _, text := range texts {
		write([]byte(text))
	}
	if params != nil {
		fields, err := Fields(nil, params)
		if err != nil {
			return d, false
		}
		slices.SortFunc(fields, func(a, b Field) int { return bytes.Compare(a.Name, b.Name) })
		var room []byte
		for i := range fields {
			switch string(fields[i].Name) {
			case "_meta", "requestState", "inputResponses":
				continue
			}
			write(fields[i].Name)
			room = appendCompact(room[:0], fields[i].Of(params))
			write(room)
		}
	}
	h.Sum(d[:0])
	return d, true
}

// appendCompact appends scanned JSON without the white space between its tokens.
func appendCompact(dst, raw []byte) []byte {
	quoted, escaped := false, false
	for _, c := range raw {
		switch {
		case quoted:
			if escaped {
				escaped = false
			} else if c == '\\' {
				escaped = true
			} else if c == '"' {
				quoted = false
			}
		case c == '"':
			quoted = true
		case c == ' ' || c == '\n' || c == '\r' || c == '\t':
			continue
		}
		dst = append(dst, c)
	}
	return dst
}
