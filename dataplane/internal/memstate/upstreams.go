// SPDX-License-Identifier: Apache-2.0

package memstate

import (
	"bytes"
	"context"
	"encoding/hex"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/session"
)

// upstreams are the upstream sessions of a client's session.
type upstreams struct {
	until  time.Time
	places map[string]*place
}

// place holds one upstream session, or is kept by the node that opens one.
type place struct {
	value  []byte
	used   time.Time
	locked string
	lock   time.Time // until when

	reached      []byte
	reachedUntil time.Time
}

func (p *place) reach(now time.Time, reached []byte) {
	p.reached, p.reachedUntil = reached, now.Add(session.ReachedLife)
}

// upstream returns a place, with a new one if there is none. The caller holds mu.
func (s *Sessions) upstream(now time.Time, id, name string) *place {
	u := s.upstreams[id]
	if u == nil || !now.Before(u.until) {
		u = &upstreams{places: make(map[string]*place)}
		s.upstreams[id] = u
	}
	u.until = now.Add(session.RecordLife)
	p := u.places[name]
	if p == nil {
		p = &place{}
		u.places[name] = p
	}
	return p
}

// TakePlace implements upstream.Registry.
func (s *Sessions) TakePlace(_ context.Context, id, name, token string, lock time.Duration) (value []byte, mine bool, _ error) {
	now := s.enter()
	defer s.mu.Unlock()
	p := s.upstream(now, id, name)
	switch {
	case p.value != nil:
		p.used = now
		return p.value, false, nil
	case p.locked != "" && now.Before(p.lock):
		return nil, false, nil
	}
	p.locked, p.lock = token, now.Add(lock)
	return nil, true, nil
}

// FillPlace implements upstream.Registry.
func (s *Sessions) FillPlace(_ context.Context, id, name, token string, value []byte) (bool, error) {
	now := s.enter()
	defer s.mu.Unlock()
	p := s.upstream(now, id, name)
	if p.locked != token || !now.Before(p.lock) {
		return false, nil
	}
	p.locked = ""
	if value != nil {
		p.value, p.used = value, now
	}
	return true, nil
}

// UsePlace implements upstream.Registry.
func (s *Sessions) UsePlace(_ context.Context, id, name string, value []byte) error {
	now := s.enter()
	defer s.mu.Unlock()
	if p := s.upstream(now, id, name); bytes.Equal(p.value, value) {
		p.used = now
	}
	return nil
}

// DropPlace implements upstream.Registry.
func (s *Sessions) DropPlace(_ context.Context, id, name string, value []byte) error {
	now := s.enter()
	defer s.mu.Unlock()
	if p := s.upstream(now, id, name); bytes.Equal(p.value, value) {
		p.value = nil
	}
	return nil
}

// ClaimPlace implements upstream.Registry.
func (s *Sessions) ClaimPlace(_ context.Context, id, name string, value []byte, idle time.Duration) (bool, error) {
	now := s.enter()
	defer s.mu.Unlock()
	p := s.upstream(now, id, name)
	ended := s.ended(now, id)
	switch {
	case !bytes.Equal(p.value, value):
		return !ended, nil
	case !ended && now.Sub(p.used) < idle:
		return false, nil
	}
	p.value = nil
	return true, nil
}

// Places implements upstream.Registry.
func (s *Sessions) Places(_ context.Context, id string) (map[string][]byte, error) {
	now := s.enter()
	defer s.mu.Unlock()
	places := make(map[string][]byte)
	if u := s.upstreams[id]; u != nil && now.Before(u.until) {
		for name, p := range u.places {
			if p.value != nil {
				places[name] = p.value
			}
		}
	}
	return places, nil
}

// Reached implements upstream.Registry.
func (s *Sessions) Reached(_ context.Context, id, name string) ([]byte, error) {
	now := s.enter()
	defer s.mu.Unlock()
	if p := s.upstream(now, id, name); now.Before(p.reachedUntil) {
		return p.reached, nil
	}
	return nil, nil
}

// ended reports whether there is a tombstone. The caller holds mu.
func (s *Sessions) ended(now time.Time, id string) bool {
	var key session.UID
	if n, err := hex.Decode(key[:], []byte(id)); err != nil || n != len(key) {
		return false
	}
	return now.Before(s.dead[key])
}
