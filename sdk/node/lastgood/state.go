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
	maxResource = 16 << 20  // bytes of one encoded resource
	maxNumber   = 100 << 20 // resources or bodies of a state
	frameSize   = 256 << 10 // plain bytes of a frame, unless one resource is larger
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

// writeState writes the records in sealed chunks, each a zstd frame of its own, so that reading needs one copy: from the
// frame to where the resources stay.
func (s *Store) writeState(f *replica.Frozen) (string, error) {
	if !epochName.MatchString(f.Epoch) {
		return "", fmt.Errorf("write state: the epoch is not a UUID")
	}
	name := fmt.Sprintf("state.%s.%d", f.Epoch, f.Revision)
	return name, writeFile(s.dir, name, func(w io.Writer) error {
		encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(frameSize), zstd.WithLowerEncoderMem(true))
		if err != nil {
			return err
		}
		out := bufio.NewWriterSize(w, chunkSize)
		index := uint64(0)
		var packed []byte
		err = writeRecords(f, func(frame []byte, last bool) error {
			packed = encoder.EncodeAll(frame, packed[:0])
			_, err := out.Write(s.sealer.seal(packed, name, index, last))
			index++
			return err
		})
		return errors.Join(err, out.Flush())
	})
}

// writeRecords makes frames of the digest, the numbers of bodies and of resources by kind, each resource with its length
// in front, and the SHA-256 of the frames before the last. No record is in two frames.
func writeRecords(f *replica.Frozen, write func(frame []byte, last bool) error) error {
	if len(f.Digest) != digest.Size {
		return fmt.Errorf("the digest has %d bytes", len(f.Digest))
	}
	frame := binary.AppendUvarint(bytes.Clone(f.Digest), uint64(len(f.Blobs)))
	frame = binary.AppendUvarint(frame, uint64(len(f.Kinds)))
	for kind, n := range f.Kinds {
		frame = binary.AppendUvarint(frame, uint64(len(kind)))
		frame = binary.AppendUvarint(append(frame, kind...), uint64(n))
	}
	sum := sha256.New()
	flush := func() error {
		sum.Write(frame)
		err := write(frame, false)
		frame = frame[:0]
		return err
	}
	for _, wire := range f.Wires {
		if len(frame)+len(wire) > frameSize {
			if err := flush(); err != nil {
				return err
			}
		}
		frame = append(binary.AppendUvarint(frame, uint64(len(wire))), wire...)
	}
	if err := flush(); err != nil {
		return err
	}
	return write(sum.Sum(nil), true)
}

// readState reads a state file back; the bodies are still missing. Anything not as it was written is errDamaged.
func (s *Store) readState(f stateFile) (_ *replica.Builder, err error) {
	file, err := os.Open(filepath.Join(s.dir, f.name))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxChunk))
	if err != nil {
		return nil, err
	}
	defer decoder.Close()
	b, err := replica.NewBuilder(s.packs.bodies, nil, f.epoch, f.revision)
	if err != nil {
		return nil, err
	}
	in := frames{chunks: chunks{sealer: s.sealer, r: bufio.NewReaderSize(file, 256<<10), name: f.name}, decoder: decoder, sum: sha256.New()}
	return b, in.readInto(b)
}

// frames reads the frames of a state file.
type frames struct {
	chunks
	decoder *zstd.Decoder
	sum     hash.Hash
	frame   []byte // what is left of the present one; resources stay in it
	broken  error
}

// more makes the next frame the present one; last says that it is the checksum.
func (f *frames) more() (last bool, err error) {
	packed, last, err := f.next()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the end is missing", errDamaged)
	}
	if err != nil {
		return false, err
	}
	if f.frame, err = f.decoder.DecodeAll(packed, make([]byte, 0, frameSize)); err != nil {
		return false, fmt.Errorf("%w: %w", errDamaged, err)
	}
	if !last {
		f.sum.Write(f.frame)
	}
	return last, nil
}

// number takes a number of at most limit off the frame.
func (f *frames) number(limit uint64) int {
	n, used := binary.Uvarint(f.frame)
	if used <= 0 || n > limit {
		f.broken = fmt.Errorf("%w: a number that cannot be", errDamaged)
		return 0
	}
	f.frame = f.frame[used:]
	return int(n)
}

// bytes takes bytes off the frame, of which they stay a part.
func (f *frames) bytes(n int) []byte {
	if n > len(f.frame) {
		f.broken = fmt.Errorf("%w: half a record", errDamaged)
		return nil
	}
	b := f.frame[:n:n]
	f.frame = f.frame[n:]
	return b
}

func (f *frames) readInto(b *replica.Builder) error {
	if _, err := f.more(); err != nil {
		return err
	}
	want, count := f.header(b)
	for ; count > 0 && f.broken == nil; count-- {
		if len(f.frame) == 0 {
			if _, err := f.more(); err != nil {
				return err
			}
		}
		if err := b.AddEncoded(f.bytes(f.number(maxResource))); err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
	}
	last, err := f.more()
	switch {
	case f.broken != nil:
		return f.broken
	case err != nil:
		return err
	case !last || !bytes.Equal(f.sum.Sum(nil), f.frame):
		return fmt.Errorf("%w: the SHA-256 differs", errDamaged)
	}
	if err := b.Verify(want); err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return nil
}

// header returns the digest and the number of resources, for which it makes room in the builder.
func (f *frames) header(b *replica.Builder) (sum []byte, count int) {
	sum = f.bytes(digest.Size)
	blobs, kinds := f.number(maxNumber), f.number(maxNumber)
	sizes := make(map[string]int)
	for ; kinds > 0 && f.broken == nil; kinds-- {
		kind := string(f.bytes(f.number(maxResource)))
		sizes[kind] = f.number(maxNumber)
		count += sizes[kind]
	}
	if f.broken == nil {
		b.Grow(sizes, blobs)
	}
	return sum, count
}
