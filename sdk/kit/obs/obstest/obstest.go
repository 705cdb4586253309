// SPDX-License-Identifier: Apache-2.0

// Package obstest has what tests watch the telemetry of servers with. It must never be linked into a server.
package obstest

import (
	"bytes"
	"sync"
)

// Log is a log that servers write while a test reads it. The zero value is an empty one; it is safe for concurrent use.
type Log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns everything that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
