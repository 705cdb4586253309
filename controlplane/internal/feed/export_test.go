// SPDX-License-Identifier: Apache-2.0

package feed

import "context"

// LoadNow does what Run does first, for tests without goroutines.
func (f *Feed) LoadNow(ctx context.Context) error { return f.load(ctx) }

// CatchUpNow does what Run does at each hint.
func (f *Feed) CatchUpNow(ctx context.Context) error { return f.catchUp(ctx) }
