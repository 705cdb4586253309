// SPDX-License-Identifier: Apache-2.0

package unheard

import (
	"sync"
	"time"
)

const (
	// Life is how long a message is kept.
	Life = 15 * time.Second
	// perSession and maxBytes bound what is kept; what comes beyond is not.
	perSession = 64
	maxBytes   = 8 << 20
)

// Message is one notification.
type Message struct {
	Connection string
	Raw        []byte
}

// Box keeps messages by the session that they are for. It is safe for concurrent use; the zero value is ready.
type Box struct {
	mu       sync.Mutex
	sessions map[string]*list
	bytes    int
}

type list struct {
	messages []Message
	since    time.Time // of the first
	bytes    int
}

// Keep keeps a message, of which it makes a copy, and reports whether there is room.
func (b *Box) Keep(session, connection string, raw []byte) bool {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.sessions[session]
	if l != nil && now.Sub(l.since) > Life {
		b.drop(session, l)
		l = nil
	}
	if b.bytes+len(raw) > maxBytes || l != nil && len(l.messages) >= perSession {
		return false
	}
	if l == nil {
		l = &list{since: now}
		if b.sessions == nil {
			b.sessions = make(map[string]*list)
		}
		b.sessions[session] = l
	}
	l.messages = append(l.messages, Message{connection, append([]byte(nil), raw...)})
	l.bytes += len(raw)
	b.bytes += len(raw)
	return true
}

// Take takes what is kept for a session, oldest first.
func (b *Box) Take(session string) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.sessions[session]
	if l == nil {
		return nil
	}
	b.drop(session, l)
	if time.Since(l.since) > Life {
		return nil
	}
	return l.messages
}

// Sweep forgets what is too old.
func (b *Box) Sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for session, l := range b.sessions {
		if now.Sub(l.since) > Life {
			b.drop(session, l)
		}
	}
}

// drop forgets a session. The caller holds mu.
func (b *Box) drop(session string, l *list) {
	delete(b.sessions, session)
	b.bytes -= l.bytes
}
