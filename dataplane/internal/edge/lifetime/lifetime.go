// SPDX-License-Identifier: Apache-2.0

// Package lifetime has the context of what a request sets off. Most requests are over before anybody waits for their end, and a
// context of the library that can be waited for costs several pieces of memory: this one makes it at the first wait.
//
// edge uses it. It must never know what a request does.
package lifetime

import (
	"context"
	"sync"
)

// Lifetime is a context that Cancel ends, and its parent. Everything of package context works with it as with one of
// [context.WithCancelCause].
type Lifetime struct {
	context.Context //nolint:containedctx // the parent: this is a context

	mu    sync.Mutex
	over  bool            // Cancel has ended it, before the parent could
	inner context.Context //nolint:containedctx // the same life, in a form that can be waited for; nil until somebody waits
	end   context.CancelCauseFunc
}

// New returns a Lifetime under a parent. Its owner calls Cancel in the end.
func New(parent context.Context) *Lifetime { return &Lifetime{Context: parent} }

// Cancel ends the lifetime; nil is [context.Canceled]. Only the first cause counts.
func (l *Lifetime) Cancel(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if cause != nil && !l.over {
		l.waited() // it has the cause
	}
	if l.inner != nil {
		l.end(cause)
	} else if l.Context.Err() == nil {
		l.over = true
	}
}

// waited makes the inner context. The caller holds mu.
func (l *Lifetime) waited() context.Context {
	switch {
	case l.inner != nil:
	case l.over: // whatever becomes of the parent now
		l.inner, l.end = context.WithCancelCause(context.WithoutCancel(l.Context))
		l.end(nil)
	default:
		l.inner, l.end = context.WithCancelCause(l.Context)
	}
	return l.inner
}

// Done implements context.Context.
func (l *Lifetime) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waited().Done()
}

// Err implements context.Context.
func (l *Lifetime) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.inner != nil:
		return l.inner.Err()
	case l.over:
		return context.Canceled
	}
	return l.Context.Err()
}

// Value implements context.Context. By it package context finds the inner one, for causes and for contexts under this one.
func (l *Lifetime) Value(key any) any {
	l.mu.Lock()
	c := l.Context
	if l.inner != nil || l.over {
		c = l.waited()
	}
	l.mu.Unlock()
	return c.Value(key)
}
