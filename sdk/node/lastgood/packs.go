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

	"github.com/penstockhq/penstock/sdk/node/bodies"
	"github.com/penstockhq/penstock/sdk/node/replica"
)

var packName = regexp.MustCompile(`^blobs\.([0-9]{1,9})$`)

// A body takes about this many bytes on disk. Room is made for as many as that says, but not for more than a large
// deployment has.
const (
	usualBody   = 512
	maxExpected = 200_000
)

// minDead is minDead of a new store.
const minDead = 16 << 20

// packs are the files that hold bodies. Bodies are appended to the newest one.
type packs struct {
	dir    string
	sealer *sealer
	bodies *bodies.Store
	log    *slog.Logger

	numbers  []int                    // existing packs, oldest first
	index    map[replica.Hash]*stored // bodies that can be relied on
	next     uint64                   // index of the next chunk of the newest pack
	damaged  bool                     // the newest pack has a broken end: begin another one
	rewrite  bool                     // a pack has a broken part: write all anew at the next save
	total    int                      // plain bytes of bodies in all packs, also dead ones
	obsolete []int                    // packs that only the older of the two states may need
	minDead  int                      // dead bytes that are worth writing the packs anew
}

// stored is one body on disk. Save is the number of the last save whose state needs it.
type stored struct {
	size int
	save uint64
}

func packFile(number int) string { return "blobs." + strconv.Itoa(number) }

// load reads the bodies of all packs. They stay compressed.
func (p *packs) load() map[replica.Hash]*bodies.Body {
	expected := 0
	for _, number := range p.numbers {
		if info, err := os.Stat(filepath.Join(p.dir, packFile(number))); err == nil {
			expected += min(int(info.Size()/usualBody), maxExpected)
		}
	}
	p.index = make(map[replica.Hash]*stored, expected)
	p.total, p.next, p.damaged = 0, 0, false
	found := make(map[replica.Hash]*bodies.Body, expected)
	for i, number := range p.numbers {
		good, err := p.read(number, found)
		if err != nil {
			p.rewrite = true
			p.log.Warn("damaged file of bodies is skipped from its broken part on", "file", packFile(number), "error", err)
		}
		if i == len(p.numbers)-1 {
			p.next, p.damaged = good, err != nil
		}
	}
	return found
}

// read reads one pack up to its end or its first broken chunk and returns the number of good chunks.
func (p *packs) read(number int, into map[replica.Hash]*bodies.Body) (good uint64, err error) {
	name := packFile(number)
	f, err := os.Open(filepath.Join(p.dir, name))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := chunks{sealer: p.sealer, r: bufio.NewReaderSize(f, 256<<10), name: name}
	for {
		plain, _, err := in.next()
		if errors.Is(err, io.EOF) {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		if err := p.take(plain, into); err != nil {
			return good, err
		}
		good++
	}
}

// take reads the bodies of one chunk: their number, hash, place and size of each, the size of all when unpacked, and the
// packed bytes. Neither are the hashes computed again nor is anything unpacked: the seal vouches for both.
func (p *packs) take(plain []byte, into map[replica.Hash]*bodies.Body) error {
	broken := false
	number := func() int {
		n, used := binary.Uvarint(plain)
		if used <= 0 || n > maxChunk {
			broken = true
			return 0
		}
		plain = plain[used:]
		return int(n)
	}
	count := number()
	if count > len(plain)/sha256.Size {
		return fmt.Errorf("%w: a chunk of %d bodies", errDamaged, count)
	}
	hashes, entries, chunk := make([]replica.Hash, count), make([]stored, count), bodies.Chunk{Parts: make([]bodies.Part, count)}
	for i := range hashes {
		if len(plain) < sha256.Size {
			return fmt.Errorf("%w: half a hash", errDamaged)
		}
		hashes[i], plain = replica.Hash(plain[:sha256.Size]), plain[sha256.Size:]
		chunk.Parts[i] = bodies.Part{Body: i, Start: number(), Size: number()}
	}
	chunk.Size = number()
	chunk.Packed = plain
	list, err := p.bodies.Adopt(chunk)
	if broken || err != nil {
		return fmt.Errorf("%w: half a chunk", errDamaged)
	}
	for i, hash := range hashes {
		if double := into[hash]; double != nil {
			p.bodies.Forget(double)
		}
		p.total += list[i].Len()
		entries[i].size = list[i].Len()
		p.index[hash] = &entries[i]
		into[hash] = list[i]
	}
	return nil
}

// save makes sure that all bodies are on disk. They are marked with the number of the save; what neither this save nor
// the one before marked is dead. When most is dead, a new pack gets all bodies, and the old packs go with the next save:
// until then the older state needs them.
func (p *packs) save(needed map[replica.Hash]*bodies.Body, number uint64) error {
	live := 0
	var fresh []replica.Hash
	for hash, body := range needed {
		if e := p.index[hash]; e != nil {
			e.save = number
			live += body.Len()
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
		for hash := range needed {
			fresh = append(fresh, hash)
		}
	}
	return p.append(fresh, needed, number)
}

// append adds bodies in sealed chunks, begins a new pack if the newest has a broken end, and syncs.
func (p *packs) append(hashes []replica.Hash, needed map[replica.Hash]*bodies.Body, number uint64) (err error) {
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
	if err := p.write(f, name, hashes, needed); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Close(), syncDir(p.dir)); err != nil {
		return err
	}
	for _, hash := range hashes {
		p.index[hash] = &stored{size: needed[hash].Len(), save: number}
		p.total += needed[hash].Len()
	}
	return nil
}

// write writes chunks as take reads them.
func (p *packs) write(w io.Writer, name string, hashes []replica.Hash, needed map[replica.Hash]*bodies.Body) error {
	list := make([]*bodies.Body, len(hashes))
	for i, hash := range hashes {
		list[i] = needed[hash]
	}
	out := bufio.NewWriterSize(w, chunkSize)
	var room []byte
	err := p.bodies.Chunks(list, func(c bodies.Chunk) error {
		room = binary.AppendUvarint(room[:0], uint64(len(c.Parts)))
		for _, part := range c.Parts {
			room = append(room, hashes[part.Body][:]...)
			room = binary.AppendUvarint(room, uint64(part.Start))
			room = binary.AppendUvarint(room, uint64(part.Size))
		}
		room = binary.AppendUvarint(room, uint64(c.Size))
		room = append(room, c.Packed...)
		_, err := out.Write(p.sealer.seal(room, name, p.next, false))
		p.next++
		return err
	})
	return errors.Join(err, out.Flush())
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
