// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// Reasons of the faults of this room.
const (
	// ReasonNotFound: the id does not open, has expired, has ended, or is bound to somebody else (NotFound, M-34).
	ReasonNotFound = "SESSION_NOT_FOUND"
	// ReasonLimit: all sessions that a principal may have at a gateway are busy (Exhausted).
	ReasonLimit = "SESSION_LIMIT"
	// ReasonBusy: too many calls in flight in the session (Exhausted).
	ReasonBusy = "SESSION_CALL_LIMIT"
)

// Store is what nodes share about sessions. [Memory] serves one node alone.
type Store interface {
	// End notes that the session has ended. The note may be forgotten after until, when its token opens nowhere.
	End(ctx context.Context, id UID, until time.Time) error
	// Ended reports whether a note about the session is there.
	Ended(ctx context.Context, id UID) (bool, error)
}

// Limits bound what sessions may hold; zero fields take the defaults of mcp.md §2.1.
type Limits struct {
	PerCaller int           // sessions per principal and gateway on this node; 100. The oldest idle one is ended
	InFlight  int           // calls in flight per session; 64
	Idle      time.Duration // record of an unused session is dropped; 30 min
	Life      time.Duration // of an Mcp-Session-Id; 24 h
}

// Config is what [New] needs.
type Config struct {
	Keys   *seal.Keyset
	Store  Store
	Log    *slog.Logger
	Limits Limits
}

// Manager makes, opens and ends sessions. It is safe for concurrent use.
type Manager struct {
	keys  *seal.Keyset
	store Store
	log   *slog.Logger
	limit Limits
	plain sync.Pool // of *[plainSize]byte

	mu       sync.Mutex
	sessions map[UID]*Session
	owners   map[owner][]*Session // oldest first
}

// owner is whose sessions count together.
type owner struct {
	gateway string
	kind    ident.Kind
	uid     string
}

// New returns a manager without sessions. It starts nothing: see [Manager.Run].
func New(c Config) (*Manager, error) {
	if c.Keys == nil || c.Store == nil || c.Log == nil {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "sessions need a keyset, a store and a logger")
	}
	l := &c.Limits
	l.PerCaller = orDefault(l.PerCaller, 100)
	l.InFlight = orDefault(l.InFlight, 64)
	l.Idle = orDefault(l.Idle, 30*time.Minute)
	l.Life = orDefault(l.Life, 24*time.Hour)
	return &Manager{
		keys: c.Keys, store: c.Store, log: c.Log, limit: *l,
		plain:    sync.Pool{New: func() any { return new([plainSize]byte) }},
		sessions: make(map[UID]*Session),
		owners:   make(map[owner][]*Session),
	}, nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Create starts a session of a principal at a gateway and returns its Mcp-Session-Id: visible ASCII, about 130 bytes.
// The version is the negotiated one. When the principal has as many sessions there as allowed, the oldest idle one is
// ended; if none is idle the fault is Exhausted, SESSION_LIMIT.
func (m *Manager) Create(ctx context.Context, gatewayUID string, p ident.Principal, v wire.Version) (string, *Session, error) {
	now := time.Now()
	c := claims{bound: bind(p), issued: now.Truncate(time.Second), version: v}
	_, _ = rand.Read(c.uid[:]) // crypto/rand never fails: it ends the process instead
	s, err := m.add(ctx, &c, owner{gatewayUID, p.Kind, p.UID}, now)
	if err != nil {
		return "", nil, err
	}
	var room [plainSize]byte
	return string(m.keys.Seal(nil, seal.Session, gatewayUID, c.append(room[:0]))), s, nil
}

// Open returns the session of an Mcp-Session-Id that was made for this gateway, principal and client. Every other case
// is NotFound, SESSION_NOT_FOUND: the answer does not say which. A session that this node does not know goes on here.
func (m *Manager) Open(ctx context.Context, gatewayUID string, p ident.Principal, id string) (*Session, error) {
	c, ok := m.claims(gatewayUID, id)
	now := time.Now()
	if !ok || !c.belongsTo(p) || !now.Before(c.issued.Add(m.limit.Life)) {
		return nil, notFound()
	}
	m.mu.Lock()
	s := m.sessions[c.uid]
	m.mu.Unlock()
	if s == nil {
		var err error
		if s, err = m.adopt(ctx, &c, owner{gatewayUID, p.Kind, p.UID}, now); err != nil {
			return nil, err
		}
	}
	if s.ended.Load() {
		return nil, notFound()
	}
	s.used.Store(now.UnixNano())
	return s, nil
}

func (m *Manager) claims(gatewayUID, id string) (c claims, ok bool) {
	if len(id) > maxIDLength {
		return c, false
	}
	room, _ := m.plain.Get().(*[plainSize]byte)
	defer m.plain.Put(room)
	plain, err := m.keys.Open(room[:0], seal.Session, gatewayUID, id)
	return c, err == nil && c.parse(plain)
}

// adopt makes the record of a session that this node does not know. It looks for a tombstone before the record can be
// found, and again after: between the two another request may have ended the session.
func (m *Manager) adopt(ctx context.Context, c *claims, o owner, now time.Time) (*Session, error) {
	if m.entombed(ctx, c.uid) {
		return nil, notFound()
	}
	s, err := m.add(ctx, c, o, now)
	if err != nil {
		return nil, err
	}
	if m.entombed(ctx, c.uid) {
		m.forget(s)
		s.end(ErrEnded)
		return nil, notFound()
	}
	return s, nil
}

// entombed treats a store that is away as one without a note: sessions go on (M-88).
func (m *Manager) entombed(ctx context.Context, id UID) bool {
	ended, err := m.store.Ended(ctx, id)
	if err != nil {
		m.log.WarnContext(ctx, "session store unavailable", obs.Fault(err))
	}
	return ended
}

func (m *Manager) add(ctx context.Context, c *claims, o owner, now time.Time) (*Session, error) {
	m.mu.Lock()
	if s := m.sessions[c.uid]; s != nil { // another request was faster
		m.mu.Unlock()
		return s, nil
	}
	var oldest *Session
	if mine := m.owners[o]; len(mine) >= m.limit.PerCaller {
		if oldest = oldestIdle(mine); oldest == nil {
			m.mu.Unlock()
			return nil, fault.New(fault.Exhausted, ReasonLimit, "Too many sessions are open at this gateway.").After(time.Second)
		}
		m.drop(oldest)
	}
	s := &Session{uid: c.uid, version: c.version, expires: c.issued.Add(m.limit.Life), owner: o, inFlight: m.limit.InFlight}
	s.used.Store(now.UnixNano())
	m.sessions[s.uid] = s
	m.owners[o] = append(m.owners[o], s)
	m.mu.Unlock()
	if oldest != nil {
		m.bury(ctx, oldest)
	}
	return s, nil
}

// oldestIdle returns the idle session that was used the longest time ago, nil if all are busy.
func oldestIdle(sessions []*Session) *Session {
	var oldest *Session
	for _, s := range sessions {
		if (oldest == nil || s.used.Load() < oldest.used.Load()) && !s.busy() {
			oldest = s
		}
	}
	return oldest
}

// End ends a session for good: its stream is told, its calls are canceled with [ErrEnded], its id opens nowhere again.
func (m *Manager) End(ctx context.Context, s *Session) {
	m.bury(ctx, s)
	m.forget(s)
}

// bury notes the end first: once the record is gone only the note keeps the session dead.
func (m *Manager) bury(ctx context.Context, s *Session) {
	s.end(ErrEnded)
	if err := m.store.End(ctx, s.uid, s.expires); err != nil {
		m.log.WarnContext(ctx, "session store unavailable", obs.Fault(err))
	}
}

func (m *Manager) forget(s *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(s)
}

// drop removes a record. The caller holds mu.
func (m *Manager) drop(s *Session) {
	if m.sessions[s.uid] != s {
		return
	}
	delete(m.sessions, s.uid)
	mine := m.owners[s.owner]
	for i := range mine {
		if mine[i] == s {
			mine = append(mine[:i:i], mine[i+1:]...)
			break
		}
	}
	if len(mine) == 0 {
		delete(m.owners, s.owner)
		return
	}
	m.owners[s.owner] = mine
}

// sweepEvery is how often idle and expired sessions are looked for; they may live that much longer.
const sweepEvery = time.Minute

// Run drops the records of idle sessions and ends the streams of expired ones, until ctx is canceled; then it returns
// nil.
func (m *Manager) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			m.sweep()
		}
	}
}

func (m *Manager) sweep() {
	now := time.Now()
	idle := now.Add(-m.limit.Idle).UnixNano()
	var expired []*Session
	m.mu.Lock()
	for _, s := range m.sessions {
		switch {
		case !now.Before(s.expires):
			expired = append(expired, s)
			m.drop(s)
		case s.used.Load() < idle && !s.busy():
			m.drop(s)
		}
	}
	m.mu.Unlock()
	for _, s := range expired {
		s.end(ErrEnded)
	}
}

// Count returns the number of sessions this node knows.
func (m *Manager) Count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.sessions)
}

func notFound() error {
	// The text is the one clients look for before they initialize again (M-34).
	return fault.New(fault.NotFound, ReasonNotFound, "Invalid session ID")
}
