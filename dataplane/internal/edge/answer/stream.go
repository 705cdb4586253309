// SPDX-License-Identifier: Apache-2.0

package answer

import (
	"fmt"
	"net/http"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire/sse"
)

const (
	// Heartbeat is how often a comment keeps a silent stream open (M-19).
	Heartbeat = 15 * time.Second
	// WriteTimeout is how long a client may take to accept one write (M-19).
	WriteTimeout = 30 * time.Second
)

// Stream writes server-sent events, each flushed by itself. One goroutine uses it.
type Stream struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	comment []byte
}

// Open sends the head of an event stream with status 200 and returns the stream. Headers that the caller has set
// before go with it.
func Open(w http.ResponseWriter) (*Stream, error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	s := &Stream{w: w, rc: http.NewResponseController(w)}
	deadline(w)
	w.WriteHeader(http.StatusOK)
	return s, s.flush()
}

// Comment sends a comment, which clients ignore.
func (s *Stream) Comment() error {
	if s.comment == nil {
		s.comment = sse.AppendComment(nil, "keep-alive")
	}
	return s.Raw(s.comment)
}

// Raw sends events that are rendered already. They are not written to: others may keep them.
func (s *Stream) Raw(events []byte) error {
	deadline(s.w)
	if _, err := s.w.Write(events); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	return s.flush()
}

func (s *Stream) flush() error {
	if err := s.rc.Flush(); err != nil {
		return fmt.Errorf("flush event: %w", err)
	}
	return nil
}

// deadline bounds the next write. A writer that knows no deadlines, as in tests, has none.
func deadline(w http.ResponseWriter) {
	if d, ok := w.(interface{ SetWriteDeadline(t time.Time) error }); ok {
		_ = d.SetWriteDeadline(time.Now().Add(WriteTimeout))
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(WriteTimeout))
}
