// SPDX-License-Identifier: Apache-2.0

package dispatch

import (
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// progressEvery is the time between two notices that a call still waits for a person. Clients give up after a minute without one.
const progressEvery = 15 * time.Second

const methodProgress = "notifications/progress"

// meanwhile does what waits for a person, and tells the client all the while that the call goes on, if it wants to hear of progress (M-50).
// It returns when that is done: nothing is told after it. How long a person takes nobody knows: there is no total.
func (h *hold) meanwhile(waits string, do func()) {
	if h.k.ProgressToken == nil {
		do()
		return
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		defer close(done)
		do()
	})
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		h.t.reminded++
		if h.t.sink(progressNotice(h.k.ProgressToken, h.t.reminded, waits)) != nil {
			<-done // the client is gone, and what waits ends with its context
			return
		}
	}
}

// progressNotice is the nth notice of a wait. Its numbers grow, and stay under those of any server: the call's own progress, which may begin
// with a hundredth, goes on above them.
func progressNotice(token []byte, n uint32, text string) []byte {
	b := append([]byte(`{"jsonrpc":"2.0","method":"`+methodProgress+`","params":{"progressToken":`), token...)
	b = fmt.Appendf(b, `,"progress":%.6f,"message":`, waited(n))
	return append(wire.AppendString(b, text), `}}`...)
}

func waited(n uint32) float64 { return float64(n) / 1e6 }

// growing passes the notifications of a call on that waited before, but for progress that is not more than what was told of the wait: a
// client gets greater and greater numbers only (M-50).
func (t *target) growing(next func([]byte) error) func([]byte) error {
	if t.reminded == 0 {
		return next
	}
	above := false
	return func(message []byte) error {
		var m wire.Message
		if above || wire.Scan(message, &m) != nil || string(m.Method.Of(message)) != `"`+methodProgress+`"` {
			return next(message)
		}
		n, err := strconv.ParseFloat(string(wire.Get(m.Params.Of(message), "progress")), 64)
		if err == nil && n <= waited(t.reminded) {
			return nil
		}
		above = true
		return next(message)
	}
}
