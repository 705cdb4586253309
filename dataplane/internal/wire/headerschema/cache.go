// SPDX-License-Identifier: Apache-2.0

package headerschema

import (
	"runtime"
	"sync"
	"weak"
)

// Cache keeps what [OfTool] says of the definitions of Ts, so that it is found out once for each and not once per
// request. An entry goes when its key does: a view that is no longer served holds no memory here. The zero value is ready
// and safe for concurrent use.
type Cache[T any] struct {
	entries sync.Map // of weak.Pointer[T] to *entry
}

type entry struct {
	headers []Header
	err     error
}

// Of returns the headers of the tool at key, whose definition is asked for once. The result is shared: it is not to be
// changed.
func (c *Cache[T]) Of(key *T, definition func() []byte) ([]Header, error) {
	k := weak.Make(key)
	if got, ok := c.entries.Load(k); ok {
		e, _ := got.(*entry)
		return e.headers, e.err
	}
	e := &entry{}
	e.headers, e.err = OfTool(definition())
	if _, there := c.entries.LoadOrStore(k, e); !there {
		runtime.AddCleanup(key, func(k weak.Pointer[T]) { c.entries.Delete(k) }, k)
	}
	return e.headers, e.err
}
