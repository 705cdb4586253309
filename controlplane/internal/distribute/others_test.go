// SPDX-License-Identifier: Apache-2.0

package distribute_test

import (
	"context"
	"sync"
)

// others is what a test says of other control planes. They have no nodes unless it merges some.
type others struct {
	mu        sync.Mutex
	endpoints []string
	silent    []string
	surplus   int
}

func (o *others) set(change func(*others)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

// Sync implements distribute.Others.
func (o *others) Sync(context.Context) []string { return o.Silent() }

// Silent implements distribute.Others.
func (o *others) Silent() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.silent
}

// Endpoints implements distribute.Others.
func (o *others) Endpoints() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.endpoints
}

// Surplus implements distribute.Others.
func (o *others) Surplus() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.surplus
}
