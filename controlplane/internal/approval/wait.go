// SPDX-License-Identifier: Apache-2.0

package approval

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/penstockhq/penstock/sdk/kit/obs"
)

const (
	// waitAtMost is how long one call of [Service.Wait] lasts.
	waitAtMost = 30 * time.Second
	// lookEvery is how often it is looked for what other control planes decided, while somebody waits.
	lookEvery = time.Second
	// expireEvery is how often it is looked for what is due.
	expireEvery = 5 * time.Second
	// expireAtOnce bounds one look for what is due.
	expireAtOnce = 200
)

// waiter waits for one approval.
type waiter struct{ state chan State }

// Wait returns the state of an approval once it is no longer PENDING, or as it is after 30 s or when the control plane stops. The fault is NotFound,
// APPROVAL_NOT_FOUND.
func (s *Service) Wait(ctx context.Context, id string) (State, error) {
	w := &waiter{make(chan State, 1)}
	s.enter(id, w) // before it is read: what is decided in between reaches the channel
	defer s.leave(id, w)
	a, err := s.c.Store.Get(ctx, id)
	if err != nil {
		return "", err
	}
	if a == nil {
		return "", notFound()
	}
	if a.over(s.c.Now()) {
		if _, err := s.expire(ctx, id); err != nil {
			return "", err
		}
		return s.state(ctx, id)
	}
	if a.State != Pending {
		return a.State, nil
	}
	timer := time.NewTimer(waitAtMost)
	defer timer.Stop()
	select {
	case state := <-w.state:
		return state, nil
	case <-timer.C:
		return s.state(ctx, id)
	case <-s.stopped:
		return s.state(ctx, id)
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (s *Service) state(ctx context.Context, id string) (State, error) {
	states, err := s.c.Store.States(ctx, []string{id})
	if err != nil {
		return "", err
	}
	if states[id] == "" {
		return "", notFound()
	}
	return states[id], nil
}

func (s *Service) enter(id string, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[id] == nil {
		s.waiting[id] = make(map[*waiter]struct{})
	}
	s.waiting[id][w] = struct{}{}
}

func (s *Service) leave(id string, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting[id], w)
	if len(s.waiting[id]) == 0 {
		delete(s.waiting, id)
	}
}

// tell tells all that wait for an approval what has become of it.
func (s *Service) tell(id string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.waiting[id] {
		select {
		case w.state <- state:
		default: // it was told already
		}
	}
}

// awaited returns the approvals that somebody waits for.
func (s *Service) awaited() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.waiting))
}

// Run tells those that wait what other control planes decided, with one query for all of them, and ends what is due, until ctx ends; who waits
// then is told how it stands. It is called once.
func (s *Service) Run(ctx context.Context) error {
	look, due := time.NewTicker(lookEvery), time.NewTicker(expireEvery)
	defer look.Stop()
	defer due.Stop()
	defer close(s.stopped)
	failed := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			err = s.look(ctx)
		case <-due.C:
			err = s.ExpireDue(ctx)
		}
		if err != nil && ctx.Err() == nil && !failed {
			s.c.Log.WarnContext(ctx, "approvals cannot be looked at now", obs.Fault(err))
		}
		failed = err != nil
	}
}

func (s *Service) look(ctx context.Context) error {
	ids := s.awaited()
	if len(ids) == 0 {
		return nil
	}
	states, err := s.c.Store.States(ctx, ids)
	if err != nil {
		return err
	}
	for id, state := range states {
		if state != Pending {
			s.tell(id, state)
		}
	}
	return nil
}

// ExpireDue ends what nobody decided, or nobody ran, in time.
func (s *Service) ExpireDue(ctx context.Context) error {
	ids, err := s.c.Store.Due(ctx, s.c.Now(), expireAtOnce)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.expire(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
