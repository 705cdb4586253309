// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
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
	maxResource = 16 << 20  // bytes of one encoded resource
	maxNumber   = 100 << 20 // resources or bodies of a state
	maxKind     = 64        // bytes of the name of a kind
	roomSize    = 256 << 10 // bytes that resources share an allocation of
	windowSize  = 1 << 20   // of zstd: what the decoder must hold
)

var errNumber = errors.New("a number that cannot be")

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

// writeRecords writes the digest, the numbers of bodies and of resources by kind, each resource with its length in front,
// and the SHA-256 of the resources.
func writeRecords(w io.Writer, f *replica.Frozen) error {
	if len(f.Digest) != digest.Size {
		return fmt.Errorf("the digest has %d bytes", len(f.Digest))
	}
	header := binary.AppendUvarint(bytes.Clone(f.Digest), uint64(len(f.Blobs)))
	header = binary.AppendUvarint(header, uint64(len(f.Kinds)))
	for kind, n := range f.Kinds {
		header = binary.AppendUvarint(header, uint64(len(kind)))
		header = binary.AppendUvarint(append(header, kind...), uint64(n))
	}
	out := bufio.NewWriterSize(w, 64<<10)
	if _, err := out.Write(header); err != nil {
		return err
	}
	sum := sha256.New()
	var prefix [binary.MaxVarintLen64]byte
	for _, wire := range f.Wires {
		n := binary.PutUvarint(prefix[:], uint64(len(wire)))
		if _, err := out.Write(prefix[:n]); err != nil {
			return err
		}
		if _, err := out.Write(wire); err != nil {
			return err
		}
		sum.Write(wire)
	}
	if _, err := out.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return out.Flush()
}

// readState reads a state file back; the bodies are still missing. Anything not as it was written is errDamaged.
func (s *Store) readState(f stateFile) (_ *replica.Builder, err error) {
	file, err := os.Open(filepath.Join(s.dir, f.name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	sealed := newStreamReader(s.sealer, bufio.NewReaderSize(file, 256<<10), f.name)
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
	sum, count, err := readHeader(r, b)
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	hash := sha256.New()
	var room []byte // many resources in one allocation
	for range count {
		n, err := binary.ReadUvarint(r)
		if err != nil || n > maxResource {
			return fmt.Errorf("%w: a resource of %d bytes", errDamaged, n)
		}
		start := len(room)
		if start+int(n) > cap(room) {
			hash.Write(room)
			room, start = make([]byte, 0, max(roomSize, int(n))), 0
		}
		room = room[:start+int(n)]
		if _, err := io.ReadFull(r, room[start:]); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err := b.AddEncoded(room[start:len(room):len(room)]); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	hash.Write(room)
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, want); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if !bytes.Equal(hash.Sum(nil), want) {
		return fmt.Errorf("%w: the SHA-256 differs", errDamaged)
	}
	if err := b.Verify(sum); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// readHeader returns the digest and the number of resources, for which it makes room in the builder.
func readHeader(r *bufio.Reader, b *replica.Builder) (sum []byte, count int, err error) {
	sum = make([]byte, digest.Size)
	if _, err := io.ReadFull(r, sum); err != nil {
		return nil, 0, err
	}
	number := func() int {
		n, readErr := binary.ReadUvarint(r)
		if readErr != nil || n > maxNumber {
			err = errors.Join(readErr, errNumber)
			return 0
		}
		return int(n)
	}
	blobs, kinds := number(), number()
	sizes := make(map[string]int)
	for range kinds {
		n := number()
		if n > maxKind {
			return nil, 0, errNumber
		}
		name := make([]byte, n)
		if _, readErr := io.ReadFull(r, name); readErr != nil || err != nil {
			return nil, 0, errors.Join(err, readErr)
		}
		sizes[string(name)] = number()
		count += sizes[string(name)]
	}
	if err == nil {
		b.Grow(sizes, blobs)
	}
	return sum, count, err
}
