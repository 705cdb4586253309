// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"encoding/hex"
	"time"
)

// Ears hears what upstreams say outside of calls, for sessions whose GET stream this node has (M-91). Its methods do not
// wait; they are called by one goroutine or several.
type Ears interface {
	// Hear has the session of an upstream heard that another node has put in a place, or all that there are with an empty
	// name, and calls done, which may be nil, when that is so.
	Hear(session, place string, done func(context.Context))
	// Missed says that what the store has of upstreams' sessions may be gone.
	Missed()
	// Quiet has a session not heard any more, since another node does that.
	Quiet(session string)
}

// hearsWithin is how long [Manager.Announce] waits at most.
const hearsWithin = 2 * time.Second

// Listens has the node's ears told which sessions they are to hear. It is called before [Manager.Run].
func (m *Manager) Listens(e Ears) { m.ears = e }

func (m *Manager) hear(session, place string, done func(context.Context)) {
	if m.ears != nil {
		m.ears.Hear(session, place, done)
	}
}

func (m *Manager) quiet(session string) {
	if m.ears != nil {
		m.ears.Quiet(session)
	}
}

// Where returns the generation of a session's GET stream if another node has it, as far as this one has heard; else 0. Arriving is
// closed when the upstreams are heard for the stream that this node opens just now, or that is over; nil if it opens none: who has
// the upstreams' streams opened meanwhile takes away what the session's stream is to go on with.
func (m *Manager) Where(session string) (elsewhere int64, arriving <-chan struct{}) {
	if m.fleet == nil {
		return 0, nil
	}
	s := m.byKey(session)
	if s == nil {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		elsewhere = s.elsewhere
	}
	return elsewhere, s.arriving
}

// Look finds out anew which node has a session's GET stream, which costs one question to the store: what other nodes tell of it
// may still be on its way.
func (m *Manager) Look(ctx context.Context, session string) {
	if s := m.byKey(session); s != nil {
		s.look(ctx)
	}
}

// byKey returns a session by its uid as text, nil if it is not here.
func (m *Manager) byKey(key string) *Session {
	var room [2 * len(UID{})]byte
	var id UID
	if len(key) != len(room) {
		return nil
	}
	copy(room[:], key)
	if _, err := hex.Decode(id[:], room[:]); err != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[id]
}

// answer is what somebody waits for who has told the other nodes something.
type answer struct {
	key   string
	came  chan struct{}
	users int
}

// expect returns the answer of other nodes that has a key, which is not missed from now on. Give it back with
// [Manager.forgo].
func (m *Manager) expect(key string) *answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.answers[key]
	if a == nil {
		a = &answer{key: key, came: make(chan struct{})}
		m.answers[key] = a
	}
	a.users++
	return a
}

func (m *Manager) forgo(a *answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.users--; a.users == 0 && m.answers[a.key] == a {
		delete(m.answers, a.key)
	}
}

// await returns when the answer has come, or it is too late for that, which is false.
func (*Manager) await(ctx context.Context, a *answer, within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-a.came:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// wake wakes who waits for the answer with a key.
func (m *Manager) wake(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.answers[key]; a != nil {
		delete(m.answers, key)
		close(a.came)
	}
}

// Announce tells the other nodes that an upstream has a session in a place. With wait it returns when the node that has the
// GET stream hears the upstream, or after 2 s, and reports whether it does.
func (m *Manager) Announce(ctx context.Context, session, place string, wait bool) (heard bool) {
	if m.fleet == nil {
		return false
	}
	n := note{Kind: notePlaced, Session: session, Place: place}
	if !wait {
		m.tell(ctx, n)
		return false
	}
	answered := m.expect(session + place)
	defer m.forgo(answered)
	m.tell(ctx, n)
	return m.await(ctx, answered, hearsWithin)
}

// placed has a session heard that another node has put in a place, and tells that node.
func (m *Manager) placed(n note) {
	m.hear(n.Session, n.Place, func(ctx context.Context) {
		m.tell(ctx, note{Kind: noteHeard, Session: n.Session, Place: n.Place})
	})
}

// left notes that the GET stream of a generation has ended elsewhere.
func (s *Session) left(generation int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moves++
	if generation >= s.newest {
		s.elsewhere = 0
	}
}

// look asks which node has the session's GET stream, when notes about it may have been missed.
func (s *Session) look(ctx context.Context) {
	m := s.manager
	if m.fleet == nil || s.sse {
		return
	}
	s.mu.Lock()
	moves := s.moves
	s.mu.Unlock()
	node, err := m.fleet.Owner(ctx, s.uid)
	if err != nil {
		m.away(ctx, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moves != moves {
		return // what a note says is newer
	}
	s.looked = time.Now()
	switch {
	case node == "" || node == m.node || s.listener != nil:
		s.elsewhere = 0
	case s.elsewhere == 0:
		s.elsewhere = max(s.newest, 1)
	}
}

// lookAgain asks where the GET streams of sessions in use are that were elsewhere: a node that has died does not tell.
func (m *Manager) lookAgain(ctx context.Context, now time.Time) {
	var due []*Session
	m.mu.Lock()
	for _, s := range m.sessions {
		s.mu.Lock()
		if s.elsewhere != 0 && now.Sub(s.looked) >= StreamLife && now.UnixNano()-s.used.Load() < int64(StreamLife) {
			due = append(due, s)
		}
		s.mu.Unlock()
	}
	m.mu.Unlock()
	for _, s := range due {
		s.look(ctx)
	}
}

// hearAll has all sessions heard whose GET stream is here: what other nodes have opened meanwhile was not told.
func (m *Manager) hearAll() {
	if m.ears != nil {
		m.ears.Missed()
	}
	var here []string
	m.mu.Lock()
	for _, s := range m.sessions {
		s.mu.Lock()
		if s.listener != nil && !s.sse {
			here = append(here, s.key)
		}
		s.mu.Unlock()
	}
	m.mu.Unlock()
	for _, key := range here {
		m.hear(key, "", nil)
	}
}
