// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/google/uuid"
)

// A segment is one file of the queue: a header, then records, each a length, a checksum and an event. Records are only ever added, by
// the process that made the file. It is a queue of its own to the control plane: its events are numbered from 1 under its id, so that
// no number is used twice whatever happens to the folder.
const (
	magic      = "penstockaudit\x00\x00\x01"
	headerSize = len(magic) + 16
	frameSize  = 8
	// maxRecord is more than any event has: a longer record is none.
	maxRecord = 1 << 20
)

// castagnoli returns the table of the checksum, which the library makes once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// segment is what is known of one. All but the file is guarded by the queue's mu.
type segment struct {
	number uint64
	path   string
	id     string
	file   *os.File // open while it is written to or read

	size   int64  // whole records end here
	synced int64  // and these are kept whatever happens to the machine
	closed bool   // nothing is added any more
	taken  int64  // the control plane has the records before this
	stored uint64 // number of the last of those
}

// createSegment makes an empty one.
func createSegment(path string, number uint64) (*segment, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	id := uuid.New()
	if _, err := f.Write(append([]byte(magic), id[:]...)); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	at := int64(headerSize)
	return &segment{number: number, path: path, id: id.String(), file: f, size: at, synced: at, taken: at}, nil
}

// errForeign is a file that is no segment of this version.
var errForeign = errors.New("is not a file of the audit queue")

// openSegment opens one that an earlier process left. Where its last record was torn, it ends before that: see read.
func openSegment(path string, number uint64) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var header [headerSize]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || string(header[:len(magic)]) != magic {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, errForeign), f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	id, at := uuid.UUID(header[len(magic):]), int64(headerSize)
	return &segment{number: number, path: path, id: id.String(), file: f, size: info.Size(), synced: info.Size(), taken: at, closed: true}, nil
}

// appendRecord frames an event.
func appendRecord(b, event []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(event)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(event, castagnoli()))
	return append(b, event...)
}

// read returns the events between two offsets, at most most of them and about limit bytes, and where they end. A record that is not
// whole ends the segment: only its last can be, when the machine stopped while it was written; torn says so.
func (s *segment) read(from, to int64, most int, limit int64) (events [][]byte, end int64, torn bool, err error) {
	b := make([]byte, min(to-from, max(limit, frameSize+maxRecord)))
	if _, err := s.file.ReadAt(b, from); err != nil {
		return nil, from, false, fmt.Errorf("read the audit queue: %w", err)
	}
	end = from
	for len(events) < most && end-from < limit && end < to {
		rest := b[end-from:]
		if len(rest) < frameSize && end+int64(len(rest)) < to {
			return events, end, false, nil // it goes on beyond what was read
		}
		if len(rest) < frameSize {
			return events, end, true, nil
		}
		length := binary.BigEndian.Uint32(rest)
		if length > maxRecord {
			return events, end, true, nil
		}
		whole := frameSize + int(length)
		if len(rest) < whole {
			return events, end, end+int64(len(rest)) >= to, nil
		}
		event := rest[frameSize:whole]
		if crc32.Checksum(event, castagnoli()) != binary.BigEndian.Uint32(rest[4:]) {
			return events, end, true, nil
		}
		events = append(events, event)
		end += int64(whole)
	}
	return events, end, false, nil
}
