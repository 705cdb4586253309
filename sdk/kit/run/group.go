// SPDX-License-Identifier: Apache-2.0

package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// Task is one thing that runs until its context is canceled. Run returns nil
// on cancellation, and nil earlier when its work is done; any other error
// stops the group. Name is a phrase for errors and logs ("admin api").
type Task struct {
	Name string
	Run  func(context.Context) error
}

// Group starts all tasks and waits for all of them, always. The first task to
// return an error cancels the others with that error as the cause; so does a
// canceled ctx, with its own cause. A task that returns nil leaves the others
// running.
//
// Group returns nil when every task returned nil and when ctx was canceled
// before any of them failed: what goes wrong while stopping is for the task
// to report. Otherwise it returns the first error, with the task's name.
func Group(ctx context.Context, tasks ...Task) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error // written in once, read after wg.Wait
	)
	for _, t := range tasks {
		wg.Go(func() {
			err := t.Run(inner)
			if err == nil {
				return
			}
			once.Do(func() {
				if ctx.Err() != nil {
					return // the tasks were told to stop
				}
				first = fmt.Errorf("%s: %w", t.Name, err)
				cancel(first)
			})
		})
	}
	wg.Wait()
	return first
}

// UntilSignal returns a context that SIGINT or SIGTERM cancels, and a
// function that ends the watching. After the first signal the watching has
// ended: a second one kills the process the ordinary way, so that a person is
// never stuck with a slow stop.
func UntilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Closers closes things in the reverse order in which they were added, within
// one deadline. The zero value is ready. It is not safe for concurrent use:
// the root that opens things owns it.
type Closers struct {
	list []closer
}

type closer struct {
	name  string
	close func(context.Context) error
}

// Add registers a function that closes what name says. It gets a context that
// ends when the time for closing is over.
func (c *Closers) Add(name string, closeFn func(context.Context) error) {
	c.list = append(c.list, closer{name, closeFn})
}

// Close calls every registered function once, last added first, also after
// one failed and after the deadline (with an ended context, so that each can
// still let go of files and locks). ctx gives values, not the end: it is
// usually canceled when this is called. The errors are joined, each with its
// name. A second Close does nothing.
func (c *Closers) Close(ctx context.Context, within time.Duration) error {
	// Detached: closing starts because ctx ended, and must outlive it a little.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	list := c.list
	c.list = nil
	var errs []error
	for i := len(list) - 1; i >= 0; i-- {
		if err := list[i].close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", list[i].name, err))
		}
	}
	return errors.Join(errs...)
}
