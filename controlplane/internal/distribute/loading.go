// SPDX-License-Identifier: Apache-2.0

package distribute

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// loadingWait is how long a stream waits for the configuration to be loaded; a node gives up a silent one after 15 s.
	loadingWait = 10 * time.Second
	// loadingLook is how often one looks meanwhile whether another control plane has appeared.
	loadingLook = 250 * time.Millisecond
	// loadingMost is how many may wait; one more is refused.
	loadingMost = 4096
	// loadedSpread is the most over which those that waited begin.
	loadedSpread = 3 * time.Second
)

// admit returns when a stream may begin, or why it may not. No stream begins before the configuration is loaded (D-44). One
// that comes earlier waits, if there is no other control plane that its node could go to: coming again would bring it no
// sooner to what it wants, and costs both ends another handshake. It holds nothing yet but its connection.
func (s *Server) admit(ctx context.Context) error {
	if ok, err := s.admissible(); ok || err != nil {
		return err
	}
	if s.waiting.Add(1) > loadingMost {
		s.waiting.Add(-1)
		return errLoading()
	}
	defer s.waiting.Add(-1)
	late, look := time.NewTimer(loadingWait), time.NewTicker(loadingLook)
	defer late.Stop()
	defer look.Stop()
	for {
		changed, revoked, rolled := s.feed.Changed(), s.revoked.changed(), s.rollout.changed()
		switch ok, err := s.admissible(); {
		case err != nil:
			return err
		case ok:
			// All that waited would want a token of the bucket at one moment (D-42).
			late.Reset(jitter(min(loadedSpread, s.hellos.spread(s.waiting.Load()))))
			select {
			case <-ctx.Done():
				return status.FromContextError(ctx.Err()).Err()
			case <-late.C:
				_, err := s.admissible()
				return err
			}
		case len(s.others.Endpoints()) > 0:
			return errLoading()
		}
		select {
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-late.C:
			return errLoading()
		case <-s.draining:
		case <-look.C:
		case <-changed:
		case <-revoked:
		case <-rolled:
		}
	}
}

// admissible reports whether a stream may begin now; the error is why it must not.
func (s *Server) admissible() (bool, error) {
	switch {
	case s.isDraining():
		return false, status.Error(codes.Unavailable, "this control plane is stopping")
	case s.feed.Frozen():
		return false, status.Error(codes.Unavailable, "the revision log lost revisions: a node keeps what it has")
	}
	return s.feed.Ready() && s.revoked.isReady() && s.rollout.isReady(), nil
}

func errLoading() error {
	return status.Error(codes.Unavailable, "this control plane is still loading its configuration")
}
