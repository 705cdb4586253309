// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	segmentSuffix = ".audit"
	cursorName    = "taken.json"
	// segmentSize is where a new segment is begun, in bytes.
	segmentSize = 8 << 20
)

// queue is the segments of a folder, oldest first. One goroutine writes, one syncs, one reads.
type queue struct {
	dir  string
	log  *slog.Logger
	roll int64 // segmentSize, less in tests

	mu       sync.Mutex
	segments []*segment
	bytes    int64 // that the control plane has not
	next     uint64
}

// cursor is what is kept of how far the control plane has the oldest segment. It may be lost or late: what is handed in again is not
// taken again.
type cursor struct {
	Queue  string `json:"queue"`
	Taken  int64  `json:"taken"`
	Stored uint64 `json:"stored"`
}

// openQueue opens the folder, or makes it.
func openQueue(ctx context.Context, dir string, log *slog.Logger) (*queue, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the audit queue: %w", err)
	}
	q := &queue{dir: dir, log: log, roll: segmentSize}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the folder of the audit queue: %w", err)
	}
	for _, e := range entries { // sorted, and numbers have all their digits
		digits, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		number, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil {
			continue
		}
		q.next = number + 1
		s, err := openSegment(filepath.Join(dir, e.Name()), number)
		switch {
		case errors.Is(err, errForeign): // the machine stopped when it had just been made
			log.WarnContext(ctx, "audit segment without a header left alone", slog.String(obs.AttrPath, e.Name()))
			continue
		case err != nil:
			return nil, fmt.Errorf("open the audit queue: %w", err)
		}
		q.segments = append(q.segments, s)
	}
	q.restore()
	for _, s := range q.segments {
		q.bytes += s.size - s.taken
	}
	return q, nil
}

// restore begins where the control plane had got to.
func (q *queue) restore() {
	raw, err := os.ReadFile(filepath.Join(q.dir, cursorName))
	var c cursor
	if err != nil || json.Unmarshal(raw, &c) != nil {
		return
	}
	for _, s := range q.segments {
		if s.id == c.Queue && c.Taken >= s.taken && c.Taken <= s.size {
			s.taken, s.stored = c.Taken, c.Stored
		}
	}
}

// add writes records, whole, at the end of the newest segment. After an error none of them counts: the next are written over what is
// left of them, which looks like a torn end until then.
func (q *queue) add(records []byte) error {
	s, err := q.writable()
	if err != nil {
		return err
	}
	_, err = s.file.WriteAt(records, s.size) // size changes on this goroutine only
	q.mu.Lock()
	defer q.mu.Unlock()
	if err != nil {
		return fmt.Errorf("write the audit queue: %w", err)
	}
	s.size += int64(len(records))
	q.bytes += int64(len(records))
	if s.size >= q.roll {
		s.closed = true
	}
	return nil
}

// writable returns the segment to add to.
func (q *queue) writable() (*segment, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.segments); n > 0 && !q.segments[n-1].closed {
		return q.segments[n-1], nil
	}
	s, err := createSegment(filepath.Join(q.dir, fmt.Sprintf("%020d", q.next)+segmentSuffix), q.next)
	if err != nil {
		return nil, fmt.Errorf("begin a segment of the audit queue: %w", err)
	}
	q.next++
	q.segments = append(q.segments, s)
	return s, nil
}

// sync has the disk keep everything that was added. It reports whether there was anything.
func (q *queue) sync() (bool, error) {
	q.mu.Lock()
	type due struct {
		*segment
		size  int64
		first bool
	}
	var dirty []due
	for _, s := range q.segments {
		if s.synced < s.size {
			dirty = append(dirty, due{s, s.size, s.synced == int64(headerSize)})
		}
	}
	q.mu.Unlock()
	for _, d := range dirty {
		if err := d.file.Sync(); err != nil {
			return false, fmt.Errorf("sync the audit queue: %w", err)
		}
		if d.first { // its name too
			if err := syncFolder(q.dir); err != nil {
				return false, err
			}
		}
		q.mu.Lock()
		d.synced = d.size
		q.mu.Unlock()
	}
	return len(dirty) > 0, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync the folder of the audit queue: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

// Batch is a run of events, oldest first.
type Batch struct {
	Queue  string   // numbers the events
	First  uint64   // number of the first
	Events [][]byte // each in the form of penstock.node.v1

	end int64
}

// batch returns the oldest events that the disk keeps and the control plane has not, false if there are none.
func (q *queue) batch(ctx context.Context, most int, limit int64) (Batch, bool, error) {
	for {
		s, from, to, last := q.oldest()
		if s == nil {
			return Batch{}, false, nil
		}
		if from == to {
			if !last {
				return Batch{}, false, nil
			}
			q.drop(s)
			continue
		}
		events, end, torn, err := s.read(from, to, most, limit)
		switch {
		case err != nil:
			return Batch{}, false, err
		case torn:
			q.log.WarnContext(ctx, "audit segment ends in a torn record", slog.String(obs.AttrPath, s.path), slog.Int64("bytes", to-end))
			q.mu.Lock()
			q.bytes -= s.size - end
			s.size, s.synced = end, end
			q.mu.Unlock()
		}
		if len(events) > 0 {
			return Batch{Queue: s.id, First: s.stored + 1, Events: events, end: end}, true, nil
		}
		if !torn {
			return Batch{}, false, fmt.Errorf("audit segment %s has no record at %d", s.path, from)
		}
	}
}

// oldest returns the segment to read, between which offsets, and whether it has an end there.
func (q *queue) oldest() (s *segment, from, to int64, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.segments) == 0 {
		return nil, 0, 0, false
	}
	s = q.segments[0]
	return s, s.taken, s.synced, s.closed && s.synced == s.size
}

// took notes that the control plane has a batch.
func (q *queue) took(b Batch) error {
	q.mu.Lock()
	s := q.segments[0]
	q.bytes -= b.end - s.taken
	s.taken, s.stored = b.end, s.stored+uint64(len(b.Events))
	c := cursor{s.id, s.taken, s.stored}
	ended := s.closed && s.taken == s.size
	q.mu.Unlock()
	if ended {
		q.drop(s)
		return nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	path := filepath.Join(q.dir, cursorName)
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("note what the control plane has of the audit: %w", err)
	}
	return os.Rename(path+".new", path)
}

// drop removes a segment that the control plane has.
func (q *queue) drop(s *segment) {
	q.mu.Lock()
	q.segments = slices.DeleteFunc(q.segments, func(x *segment) bool { return x == s })
	q.mu.Unlock()
	_ = s.file.Close()    // it was read to its end
	_ = os.Remove(s.path) // what stays is handed in again, and not taken again
}

// held returns how many bytes of events the control plane has not.
func (q *queue) held() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}

// empty reports whether the control plane has everything.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !slices.ContainsFunc(q.segments, func(s *segment) bool { return s.taken < s.size })
}

// close closes the files.
func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var err error
	for _, s := range q.segments {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
