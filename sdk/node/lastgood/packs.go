// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/penstockhq/penstock/sdk/node/replica"
)

var packName = regexp.MustCompile(`^blobs\.([0-9]{1,9})$`)

// minDead is minDead of a new store.
const minDead = 16 << 20

// packs are the files that hold bodies. Bodies are appended to the newest one.
type packs struct {
	dir    string
	sealer *sealer
	log    *slog.Logger

	numbers  []int                    // existing packs, oldest first
	index    map[replica.Hash]*stored // bodies that can be relied on
	next     uint64                   // index of the next chunk of the newest pack
	damaged  bool                     // the newest pack has a broken end: begin another one
	rewrite  bool                     // a pack has a broken part: write all anew at the next save
	total    int                      // plain bytes in all packs, also dead ones
	obsolete []int                    // packs that only the older of the two states may need
	minDead  int                      // dead bytes that are worth writing the packs anew
}

// stored is one body on disk. Save is the number of the last save whose state needs it.
type stored struct {
	size int
	save uint64
}

func packFile(number int) string { return "blobs." + strconv.Itoa(number) }

// load reads the bodies that want holds, or all of them if want is nil.
func (p *packs) load(want map[replica.Hash]struct{}) map[replica.Hash][]byte {
	p.index = make(map[replica.Hash]*stored)
	p.total, p.next, p.damaged = 0, 0, false
	bodies := make(map[replica.Hash][]byte, len(want))
	for i, number := range p.numbers {
		chunks, err := p.read(number, want, bodies)
		if err != nil {
			p.rewrite = true
			p.log.Warn("damaged file of bodies is skipped from its broken part on", "file", packFile(number), "error", err)
		}
		if i == len(p.numbers)-1 {
			p.next, p.damaged = chunks, err != nil
		}
	}
	return bodies
}

// read reads one pack up to its end or its first broken chunk and returns the number of good chunks.
func (p *packs) read(number int, want map[replica.Hash]struct{}, into map[replica.Hash][]byte) (chunks uint64, err error) {
	name := packFile(number)
	f, err := os.Open(filepath.Join(p.dir, name))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxChunk))
	if err != nil {
		return 0, err
	}
	defer decoder.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	var room []byte
	for {
		packed, _, err := p.sealer.next(in, name, chunks)
		if errors.Is(err, io.EOF) {
			return chunks, nil
		}
		if err != nil {
			return chunks, err
		}
		room, err = decoder.DecodeAll(packed, room[:0])
		if err != nil {
			return chunks, fmt.Errorf("%w: %w", errDamaged, err)
		}
		if err := p.take(room, want, into); err != nil {
			return chunks, err
		}
		chunks++
	}
}

// take reads the bodies of one chunk. Their hashes are not computed again: the seal vouches for both.
func (p *packs) take(chunk []byte, want map[replica.Hash]struct{}, into map[replica.Hash][]byte) error {
	for len(chunk) > 0 {
		if len(chunk) < sha256.Size {
			return fmt.Errorf("%w: half a hash", errDamaged)
		}
		hash := replica.Hash(chunk[:sha256.Size])
		chunk = chunk[sha256.Size:]
		size, n := binary.Uvarint(chunk)
		if n <= 0 || size > uint64(len(chunk)-n) {
			return fmt.Errorf("%w: half a body", errDamaged)
		}
		body := chunk[n : n+int(size)]
		chunk = chunk[n+int(size):]
		p.total += len(body)
		p.index[hash] = &stored{size: len(body)}
		if want != nil {
			if _, ok := want[hash]; !ok {
				continue
			}
		}
		into[hash] = append(make([]byte, 0, len(body)), body...)
	}
	return nil
}

// save makes sure that all bodies are on disk. They are marked with the number of the save; what neither this save nor
// the one before marked is dead. When most is dead, a new pack gets all bodies, and the old packs go with the next save:
// until then the older state needs them.
func (p *packs) save(bodies map[replica.Hash][]byte, number uint64) error {
	live := 0
	var fresh []replica.Hash
	for hash, body := range bodies {
		if e := p.index[hash]; e != nil {
			e.save = number
			live += len(body)
		} else {
			fresh = append(fresh, hash)
		}
	}
	for _, e := range p.index {
		if e.save+1 == number {
			live += e.size
		}
	}
	if dead := p.total - live; (p.rewrite || dead > max(live, p.minDead)) && len(p.obsolete) == 0 {
		p.obsolete = p.numbers
		p.index, p.total, p.damaged, p.rewrite = make(map[replica.Hash]*stored), 0, true, false
		fresh = fresh[:0]
		for hash := range bodies {
			fresh = append(fresh, hash)
		}
		return p.append(fresh, bodies, number)
	}
	return p.append(fresh, bodies, number)
}

// append adds bodies in sealed chunks, begins a new pack if the newest has a broken end, and syncs.
func (p *packs) append(hashes []replica.Hash, bodies map[replica.Hash][]byte, number uint64) (err error) {
	if len(hashes) == 0 {
		return nil
	}
	if len(p.numbers) == 0 || p.damaged {
		last := 0
		if len(p.numbers) > 0 {
			last = p.numbers[len(p.numbers)-1]
		}
		p.numbers = append(slices.Clip(p.numbers), last+1)
		p.next, p.damaged = 0, false
	}
	name := packFile(p.numbers[len(p.numbers)-1])
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("append bodies: %w", err)
	}
	defer func() {
		if err != nil {
			// What was written may be half a chunk: nothing is appended behind it.
			p.damaged = true
			err = fmt.Errorf("append bodies: %w", err)
		}
	}()
	if err := p.write(f, name, hashes, bodies); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Close(), syncDir(p.dir)); err != nil {
		return err
	}
	for _, hash := range hashes {
		p.index[hash] = &stored{size: len(bodies[hash]), save: number}
		p.total += len(bodies[hash])
	}
	return nil
}

func (p *packs) write(w io.Writer, name string, hashes []replica.Hash, bodies map[replica.Hash][]byte) error {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowSize))
	if err != nil {
		return err
	}
	defer encoder.Close() //nolint:errcheck // an encoder without a stream has nothing to flush
	var room []byte
	flush := func() error {
		if len(room) == 0 {
			return nil
		}
		_, err := w.Write(p.sealer.seal(encoder.EncodeAll(room, nil), name, p.next, false))
		p.next++
		room = room[:0]
		return err
	}
	for _, hash := range hashes {
		body := bodies[hash]
		room = append(room, hash[:]...)
		room = binary.AppendUvarint(room, uint64(len(body)))
		room = append(room, body...)
		if len(room) >= chunkSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// drop removes the packs that became obsolete with an earlier save than this one.
func (p *packs) drop(obsolete []int) error {
	var errs []error
	for _, number := range obsolete {
		errs = append(errs, os.Remove(filepath.Join(p.dir, packFile(number))))
	}
	p.numbers = slices.DeleteFunc(slices.Clone(p.numbers), func(n int) bool { return slices.Contains(obsolete, n) })
	p.obsolete = nil
	return errors.Join(errs...)
}
