// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// HTTPServer returns a task that serves s on l; a server with a TLSConfig
// serves TLS from it. When its context is canceled it stops accepting, lets
// the calls in flight finish for up to drain, then cuts what is left and
// returns an error that says so. Long streams are told to end by functions
// that the owner of s registered with RegisterOnShutdown.
//
// The contexts of requests are not canceled by the stop: a call that was
// accepted is finished. The task owns l and s and closes both.
func HTTPServer(name string, l net.Listener, s *http.Server, drain time.Duration) Task {
	return LameDuck(name, l, s, 0, drain)
}

// LameDuck is [HTTPServer] for clients that keep their connections and do not try again: it stops accepting at once, but
// goes on serving open connections for up to grace, or until none is left, before it closes those that are idle. Whoever
// would send on one meanwhile is answered, and the handler asks for a new connection with `Connection: close`. It sets
// s.ConnState.
func LameDuck(name string, l net.Listener, s *http.Server, grace, drain time.Duration) Task {
	open := newOpenConnections()
	if grace > 0 {
		s.ConnState = open.track
	}
	return Task{Name: name, Run: func(ctx context.Context) error {
		served := make(chan error, 1) // buffered: Serve's goroutine never waits for us
		go func() {
			if s.TLSConfig != nil {
				served <- s.ServeTLS(l, "", "")
				return
			}
			served <- s.Serve(l)
		}()
		select {
		case err := <-served:
			return errors.Join(fmt.Errorf("serve: %w", err), s.Close())
		case <-ctx.Done():
		}
		var err error
		if grace > 0 {
			err = l.Close()
			open.wait(grace)
		}
		// Detached: the drain begins because ctx ended.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if late := s.Shutdown(bound); late != nil {
			err = errors.Join(err, fmt.Errorf("finish calls within %s: %w", drain, late), s.Close())
		}
		broken := <-served
		asked := errors.Is(broken, http.ErrServerClosed) || grace > 0 && errors.Is(broken, net.ErrClosed)
		if !asked {
			err = errors.Join(err, fmt.Errorf("serve: %w", broken)) // broke in the moment of the stop
		}
		return err
	}}
}

// openConnections counts the connections of a server.
type openConnections struct {
	mu   sync.Mutex // guards the rest
	all  map[net.Conn]struct{}
	none chan struct{} // closed when there is none, once somebody waits; nil before
}

func newOpenConnections() *openConnections {
	return &openConnections{all: make(map[net.Conn]struct{})}
}

// track is an http.Server.ConnState.
func (o *openConnections) track(c net.Conn, state http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch state {
	case http.StateNew:
		o.all[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(o.all, c)
		if len(o.all) == 0 && o.none != nil {
			close(o.none)
			o.none = nil
		}
	case http.StateActive, http.StateIdle: // as before
	}
}

// wait returns when no connection is open, or after the longest time.
func (o *openConnections) wait(longest time.Duration) {
	o.mu.Lock()
	if len(o.all) == 0 {
		o.mu.Unlock()
		return
	}
	none := make(chan struct{})
	o.none = none
	o.mu.Unlock()
	over := time.NewTimer(longest)
	defer over.Stop()
	select {
	case <-none:
	case <-over.C:
	}
}
