// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/penstockhq/penstock/sdk/node/digest"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

// stateName reads the names of state files. An epoch is a UUID; other characters would leave the folder.
var stateName = regexp.MustCompile(`^state\.([0-9A-Za-z-]{1,64})\.([0-9]{1,20})$`)

var epochName = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)

const (
	headerSize  = digest.Size + 8 // digest, number of resources
	maxResource = 16 << 20        // bytes of one encoded resource
	windowSize  = 1 << 20         // of zstd: what the decoder must hold
)

// stateFile is one file on disk.
type stateFile struct {
	name     string
	epoch    string
	revision uint64
	written  time.Time
}

func parseStateName(name string) (stateFile, bool) {
	m := stateName.FindStringSubmatch(name)
	if m == nil {
		return stateFile{}, false
	}
	revision, err := strconv.ParseUint(m[2], 10, 64)
	if err != nil {
		return stateFile{}, false
	}
	return stateFile{name: name, epoch: m[1], revision: revision}, true
}

// writeState writes header, resources and the SHA-256 of both: zstd inside, sealed outside.
func (s *Store) writeState(f *replica.Frozen) (string, error) {
	if !epochName.MatchString(f.Epoch) {
		return "", fmt.Errorf("write state: the epoch is not a UUID")
	}
	name := fmt.Sprintf("state.%s.%d", f.Epoch, f.Revision)
	return name, writeFile(s.dir, name, func(w io.Writer) error {
		sealed := &streamWriter{sealer: s.sealer, w: w, name: name}
		packed, err := zstd.NewWriter(sealed, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(windowSize), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return err
		}
		if err := writeRecords(packed, f); err != nil {
			return errors.Join(err, packed.Close())
		}
		if err := packed.Close(); err != nil {
			return err
		}
		return sealed.Close()
	})
}

func writeRecords(w io.Writer, f *replica.Frozen) error {
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	header := make([]byte, 0, headerSize)
	header = append(header, f.Digest...)
	header = binary.BigEndian.AppendUint64(header, uint64(len(f.Wires)))
	if len(header) != headerSize {
		return fmt.Errorf("the digest has %d bytes", len(f.Digest))
	}
	if _, err := out.Write(header); err != nil {
		return err
	}
	var prefix [binary.MaxVarintLen64]byte
	for _, wire := range f.Wires {
		n := binary.PutUvarint(prefix[:], uint64(len(wire)))
		if _, err := out.Write(prefix[:n]); err != nil {
			return err
		}
		if _, err := out.Write(wire); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// readState reads a state file back; the bodies are still missing. Anything not as it was written is errDamaged.
func (s *Store) readState(f stateFile) (_ *replica.Builder, err error) {
	file, err := os.Open(filepath.Join(s.dir, f.name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sealed := &streamReader{sealer: s.sealer, r: bufio.NewReader(file), name: f.name}
	unpacked, err := zstd.NewReader(sealed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowSize), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer unpacked.Close()
	b, err := replica.NewBuilder(s.packs.bodies, nil, f.epoch, f.revision)
	if err != nil {
		return nil, err
	}
	return b, readRecords(bufio.NewReaderSize(unpacked, 64<<10), b)
}

func readRecords(r *bufio.Reader, b *replica.Builder) error {
	in := &summed{r: r, sum: sha256.New()}
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(in, header); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	for range binary.BigEndian.Uint64(header[digest.Size:]) {
		n, err := binary.ReadUvarint(in)
		if err != nil || n > maxResource {
			return fmt.Errorf("%w: a resource of %d bytes", errDamaged, n)
		}
		wire := make([]byte, n)
		if _, err := io.ReadFull(in, wire); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err := b.AddEncoded(wire); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, want); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if !bytes.Equal(in.sum.Sum(nil), want) {
		return fmt.Errorf("%w: the SHA-256 differs", errDamaged)
	}
	if err := b.Verify(header[:digest.Size]); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// summed hashes what is read through it.
type summed struct {
	r   *bufio.Reader
	sum hash.Hash
	one [1]byte
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	return n, err
}

func (s *summed) ReadByte() (byte, error) {
	c, err := s.r.ReadByte()
	if err == nil {
		s.one[0] = c
		s.sum.Write(s.one[:])
	}
	return c, err
}
