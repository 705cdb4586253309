// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
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
		// Detached: the drain begins because ctx ended.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := s.Shutdown(bound)
		if err != nil {
			err = errors.Join(fmt.Errorf("finish calls within %s: %w", drain, err), s.Close())
		}
		if broken := <-served; !errors.Is(broken, http.ErrServerClosed) {
			err = errors.Join(err, fmt.Errorf("serve: %w", broken)) // broke in the moment of the stop
		}
		return err
	}}
}
