// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/penstockhq/penstock/dataplane/internal/seal"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
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

// Limits bound what sessions may hold; zero fields take the defaults of mcp.md §2.1.
type Limits struct {
	PerCaller int           // sessions per principal and gateway on this node; 100. The oldest idle one is ended
	InFlight  int           // calls in flight per session; 64
	Idle      time.Duration // record of an unused session is dropped; 30 min
	Life      time.Duration // of an Mcp-Session-Id; 24 h
}

// Config is what [New] needs.
type Config struct {
	Keys  *seal.Keyset
	Store Store
	// Fleet is the other nodes; nil for a node alone, which shares nothing but tombstones.
	Fleet  Fleet
	Log    *slog.Logger
	Meter  metric.MeterProvider // may be nil
	Limits Limits
	// Node is the name of this node, part of the ids of what it asks clients (M-12) and of HTTP+SSE session ids (M-44):
	// at most 63 characters of [A-Za-z0-9._-]. Empty means a random one.
	Node string
}

// Manager makes, opens and ends sessions. It is safe for concurrent use.
type Manager struct {
	keys   *seal.Keyset
	store  Store
	fleet  Fleet // nil: alone
	log    *slog.Logger
	limit  Limits
	node   string
	self   string    // this run of the node, to know its own notes by
	plain  sync.Pool // of *[plainSize]byte
	graves graves
	mirror *mirror
	errors metric.Int64Counter

	fresh   atomic.Uint64 // number of the gap in what is heard of other nodes that was the last; 0 while nothing is heard
	gaps    atomic.Uint64 // so far
	lost    atomic.Bool   // the store is away, and that is logged
	due     chan struct{} // one signal: the store may be told what it was not
	missed  atomic.Bool   // the store may have lost, and other nodes missed, which streams are here
	unowned atomic.Bool   // the store does not know of a stream that is here

	settled   chan struct{}  // one signal: a stream has nothing left behind any more
	handovers sync.WaitGroup // streams that are given to other nodes just now

	asked atomic.Uint64 // questions so far
	onEnd atomic.Pointer[func(*Session)]
	ears  Ears // nil: nothing is to be heard

	mu       sync.Mutex
	answers  map[string]*answer // by their keys
	sessions map[UID]*Session
	owners   map[owner][]*Session // oldest first
}

// owner is whose sessions count together.
type owner struct {
	gateway string
	kind    ident.Kind
	uid     string
}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,63}$`)

// New returns a manager without sessions. It starts nothing: see [Manager.Run].
func New(c Config) (*Manager, error) {
	if c.Keys == nil || c.Store == nil || c.Log == nil {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "sessions need a keyset, a store and a logger")
	}
	if c.Node == "" {
		var random [6]byte
		_, _ = rand.Read(random[:]) // crypto/rand never fails: it ends the process instead
		c.Node = hex.EncodeToString(random[:])
	}
	if !nodeName.MatchString(c.Node) {
		return nil, fault.New(fault.Bug, fault.ReasonInternal, "the node's name for sessions has other characters than [A-Za-z0-9._-] or is longer than 63")
	}
	l := &c.Limits
	l.PerCaller = orDefault(l.PerCaller, 100)
	l.InFlight = orDefault(l.InFlight, 64)
	l.Idle = orDefault(l.Idle, 30*time.Minute)
	l.Life = orDefault(l.Life, 24*time.Hour)
	m := &Manager{
		keys: c.Keys, store: c.Store, fleet: c.Fleet, log: c.Log, limit: *l, node: c.Node, self: rand.Text(),
		due:      make(chan struct{}, 1),
		settled:  make(chan struct{}, 1),
		plain:    sync.Pool{New: func() any { return new([plainSize]byte) }},
		sessions: make(map[UID]*Session),
		owners:   make(map[owner][]*Session),
		answers:  make(map[string]*answer),
	}
	return m, m.instrument(c.Meter)
}

// instrument makes the metrics of the room.
func (m *Manager) instrument(provider metric.MeterProvider) (err error) {
	if provider == nil {
		provider = noop.NewMeterProvider()
	}
	meter := provider.Meter("github.com/penstockhq/penstock/dataplane/internal/session")
	m.mirror = &mirror{manager: m, wake: make(chan struct{}, 1)}
	m.errors, err = meter.Int64Counter("penstock_session_store_errors_total",
		metric.WithDescription("Times that the store of sessions could not be asked or told."))
	if err != nil {
		return fmt.Errorf("make the counter of store errors: %w", err)
	}
	m.mirror.dropped, err = meter.Int64Counter("penstock_session_dropped_events_total",
		metric.WithDescription("Changes of streams that did not reach the store, so that no other node can resume them."))
	if err != nil {
		return fmt.Errorf("make the counter of dropped events: %w", err)
	}
	return nil
}

func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// OnEnd has f called for each session that ends on this node, once: it was ended, it expired, its stream closed, or it
// was idle for so long that its record is dropped; the latter goes on with its next request, as a new record. f may be
// called from any goroutine and must not wait.
func (m *Manager) OnEnd(f func(*Session)) { m.onEnd.Store(&f) }

// Create starts a session of a principal at a gateway and returns its Mcp-Session-Id: visible ASCII, about 130 bytes.
// The version is the negotiated one, capabilities the raw object that the client declared, of which no reference is
// kept. When the principal has as many sessions there as allowed, the oldest idle one is ended; if none is idle the fault
// is Exhausted, SESSION_LIMIT.
func (m *Manager) Create(
	ctx context.Context, gatewayUID string, p ident.Principal, v wire.Version, capabilities []byte,
) (string, *Session, error) {
	c := newClaims(p)
	c.version, c.able = v, readAbilities(capabilities)
	return m.create(ctx, gatewayUID, p, &c, keepCapabilities(capabilities))
}

// CreateSSE starts a session of HTTP+SSE (M-44), whose version and capabilities come with [Session.Start]. Its id names
// this node; otherwise it is as Create. The session must be ended with its stream.
func (m *Manager) CreateSSE(ctx context.Context, gatewayUID string, p ident.Principal) (string, *Session, error) {
	c := newClaims(p)
	c.node = m.node
	return m.create(ctx, gatewayUID, p, &c, nil)
}

func newClaims(p ident.Principal) claims {
	now := time.Now()
	c := claims{bound: bind(p), issued: now.Truncate(time.Second), began: now}
	_, _ = rand.Read(c.uid[:]) // crypto/rand never fails: it ends the process instead
	return c
}

func (m *Manager) create(
	ctx context.Context, gatewayUID string, p ident.Principal, c *claims, capabilities []byte,
) (string, *Session, error) {
	first := shared{state: State{Version: c.version, Capabilities: capabilities, LogLevel: defaultLevel}}
	s, err := m.add(ctx, c, owner{gatewayUID, p.Kind, p.UID}, first)
	if err != nil {
		return "", nil, err
	}
	s.fresh.Store(m.fresh.Load())
	if capabilities != nil { // what the id says is enough without
		m.put(ctx, s, map[string][]byte{fieldCapabilities: capabilities})
	}
	var room [plainSize]byte
	return string(m.keys.Seal(nil, seal.Session, gatewayUID, c.append(room[:0]))), s, nil
}

// Open returns the session of an Mcp-Session-Id that was made for this gateway, principal and client. Every other case
// is NotFound, SESSION_NOT_FOUND: the answer does not say which. A session that this node does not know goes on here.
func (m *Manager) Open(ctx context.Context, gatewayUID string, p ident.Principal, id string) (*Session, error) {
	c, ok := m.claims(gatewayUID, id, p)
	if !ok || c.node != "" {
		return nil, notFound()
	}
	if s := m.known(c.uid); s != nil {
		return m.current(ctx, s)
	}
	return m.adopt(ctx, &c, owner{gatewayUID, p.Kind, p.UID})
}

// OpenSSE returns the session of HTTP+SSE whose stream this node has; otherwise as Open.
func (m *Manager) OpenSSE(gatewayUID string, p ident.Principal, id string) (*Session, error) {
	if c, ok := m.claims(gatewayUID, id, p); ok && c.node == m.node {
		if s := m.known(c.uid); s != nil {
			return s, nil
		}
	}
	return nil, notFound()
}

// known returns a session that is not ended, and marks it as used: until it is idle anew its record stays.
func (m *Manager) known(id UID) *Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.sessions[id]
	if s == nil || s.ended.Load() {
		return nil
	}
	s.used.Store(time.Now().UnixNano())
	return s
}

// claims opens an id and reports whether it is one that this principal may use, by its binding and its age.
func (m *Manager) claims(gatewayUID, id string, p ident.Principal) (c claims, ok bool) {
	if len(id) > maxIDLength {
		return c, false
	}
	room, _ := m.plain.Get().(*[plainSize]byte)
	defer m.plain.Put(room)
	plain, err := m.keys.Open(room[:0], seal.Session, gatewayUID, id)
	if err != nil || !c.parse(plain) {
		return c, false
	}
	return c, c.belongsTo(p) && time.Now().Before(c.issued.Add(m.limit.Life))
}

// adopt makes the record of a session that this node does not know, by what the store has, or by the id alone. It looks
// for a tombstone before the record can be found, and again after: between the two another request may have ended the
// session, here or elsewhere.
func (m *Manager) adopt(ctx context.Context, c *claims, o owner) (*Session, error) {
	since := m.fresh.Load()
	fields, ended := m.load(ctx, c.uid)
	if ended {
		return nil, notFound()
	}
	first := shared{state: State{Version: c.version, Capabilities: c.able.object(), LogLevel: defaultLevel}}
	m.read(c.uid, fields, &first)
	s, err := m.add(ctx, c, o, first)
	if err != nil {
		return nil, err
	}
	s.fresh.Store(since)
	s.look(ctx)
	if _, ended := m.load(ctx, c.uid); ended {
		m.forget(s)
		s.end(ErrEnded)
	}
	if s.ended.Load() {
		return nil, notFound()
	}
	return s, nil
}

// load asks for a session's record and tombstone. It treats a store that is away as an empty one: sessions go on (M-88).
func (m *Manager) load(ctx context.Context, id UID) (fields map[string][]byte, ended bool) {
	if m.graves.holds(id) {
		return nil, true
	}
	record, err := m.store.Load(ctx, id)
	if err != nil {
		m.away(ctx, err)
		return nil, false
	}
	m.back(ctx)
	return record.Fields, record.Ended
}

func (m *Manager) add(ctx context.Context, c *claims, o owner, first shared) (*Session, error) {
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
	s := &Session{
		manager: m, uid: c.uid, key: c.uid.String(), began: c.began, expires: c.issued.Add(m.limit.Life), owner: o, sse: c.node != "",
		shared: first, adopted: len(first.uris) > 0,
	}
	s.events.Node = m.node
	if m.fleet != nil && !s.sse {
		s.events.Share(s)
	}
	s.used.Store(time.Now().UnixNano())
	s.touched = s.used.Load()
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
	first := s.close(ErrEnded)
	// Detached: what the client has ended stays so although it is gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if m.entomb(ctx, s.uid, s.expires) != nil {
		m.remind()
	}
	if first {
		s.over()
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
