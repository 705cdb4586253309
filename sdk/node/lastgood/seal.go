// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is the length of the key that seals the files, in bytes.
const KeySize = chacha20poly1305.KeySize

// errDamaged is a file that is not what was written: cut off, changed, of another key or of another name.
var errDamaged = errors.New("the file is damaged or sealed with another key")

const (
	magic        = "PSTKLKG2" // first bytes of each file; the digit is the version of the format
	chunkSize    = 1 << 20    // plain bytes in a chunk of a stream
	maxChunk     = 64 << 20   // sealed bytes in a chunk; a body has at most 10 MiB
	lengthPrefix = 4
)

// sealer seals and opens chunks. The associated data names the file and the chunk's place in it, so that chunks cannot
// be moved, dropped or taken from another file.
type sealer struct {
	aead cipher.AEAD
}

func newSealer(key []byte) (*sealer, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("make seal: %w", err)
	}
	return &sealer{aead: aead}, nil
}

func place(name string, index uint64, last bool) []byte {
	b := append([]byte(magic), name...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, index)
	if last {
		return append(b, 1)
	}
	return append(b, 0)
}

// seal returns a chunk as it is written: length, nonce, sealed bytes.
func (s *sealer) seal(plain []byte, name string, index uint64, last bool) []byte {
	n := s.aead.NonceSize() + len(plain) + s.aead.Overhead()
	out := make([]byte, lengthPrefix+s.aead.NonceSize(), lengthPrefix+n)
	binary.BigEndian.PutUint32(out, uint32(n))
	nonce := out[lengthPrefix:]
	_, _ = rand.Read(nonce)                                         // never fails: crypto/rand
	return s.aead.Seal(out, nonce, plain, place(name, index, last)) //nolint:gosec // the nonce is random, two lines above
}

// chunks reads the chunks of a file one after the other.
type chunks struct {
	sealer *sealer
	r      io.Reader
	name   string
	index  uint64 // of the next one

	sealed, plain []byte // room for one
}

// next reads one chunk, which is valid until the next call. io.EOF is the clean end of the file between two chunks;
// anything unreadable is errDamaged.
func (c *chunks) next() (plain []byte, last bool, err error) {
	var prefix [lengthPrefix]byte
	if _, err := io.ReadFull(c.r, prefix[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, false, io.EOF
		}
		return nil, false, fmt.Errorf("%w: %w", errDamaged, err)
	}
	n, aead := binary.BigEndian.Uint32(prefix[:]), c.sealer.aead
	if n > maxChunk || int(n) < aead.NonceSize()+aead.Overhead() {
		return nil, false, fmt.Errorf("%w: a chunk of %d bytes", errDamaged, n)
	}
	c.sealed = slices.Grow(c.sealed[:0], int(n))[:n]
	if _, err := io.ReadFull(c.r, c.sealed); err != nil {
		return nil, false, fmt.Errorf("%w: %w", errDamaged, err)
	}
	nonce, body := c.sealed[:aead.NonceSize()], c.sealed[aead.NonceSize():]
	for _, last := range []bool{false, true} {
		if plain, err := aead.Open(c.plain[:0], nonce, body, place(c.name, c.index, last)); err == nil {
			c.plain = plain
			c.index++
			return plain, last, nil
		}
	}
	return nil, false, fmt.Errorf("%w: chunk %d", errDamaged, c.index)
}

// streamWriter seals a stream of bytes as chunks.
type streamWriter struct {
	sealer *sealer
	w      io.Writer
	name   string
	index  uint64
	room   []byte
}

func (w *streamWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(w.room) == chunkSize {
			if err := w.flush(false); err != nil {
				return 0, err
			}
		}
		take := min(chunkSize-len(w.room), len(p))
		w.room = append(w.room, p[:take]...)
		p = p[take:]
	}
	return n, nil
}

// Close writes the last chunk, perhaps an empty one: a stream without it was cut off.
func (w *streamWriter) Close() error { return w.flush(true) }

func (w *streamWriter) flush(last bool) error {
	_, err := w.w.Write(w.sealer.seal(w.room, w.name, w.index, last))
	w.index++
	w.room = w.room[:0]
	return err
}

// streamReader opens what a streamWriter sealed. It ends with io.EOF only after the last chunk.
type streamReader struct {
	chunks
	room []byte
	last bool
}

func newStreamReader(s *sealer, r io.Reader, name string) *streamReader {
	return &streamReader{chunks: chunks{sealer: s, r: r, name: name}}
}

func (r *streamReader) Read(p []byte) (int, error) {
	for len(r.room) == 0 {
		if r.last {
			return 0, io.EOF
		}
		plain, last, err := r.next()
		if errors.Is(err, io.EOF) {
			return 0, fmt.Errorf("%w: the end is missing", errDamaged)
		}
		if err != nil {
			return 0, err
		}
		r.room, r.last = plain, last
	}
	n := copy(p, r.room)
	r.room = r.room[n:]
	return n, nil
}
