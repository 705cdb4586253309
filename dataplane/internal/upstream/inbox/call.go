// SPDX-License-Identifier: Apache-2.0

package inbox

import (
	"errors"
	"sync"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/exchange"
	"github.com/penstockhq/penstock/dataplane/internal/wire"
)

// ErrLate is the reason that a call is cancelled with when its time is over.
var ErrLate = errors.New("no answer in time")

// maxHeld ends a call whose question nobody answers: longer than a person is
// given (M-83).
const maxHeld = 11 * time.Minute

// Response is the response to a request; one of the two is set.
type Response struct{ Result, Error []byte }

// Call is one call of a session that has a stream of its own. The fields are set
// before [Box.Enter].
type Call struct {
	ID int64
	// Token is the client's raw progress token, nil for no progress.
	Token []byte
	// Deliver takes a message. It is called by one goroutine at a time; release,
	// which comes with a question, lets the call's time go on.
	Deliver func(m exchange.Inbound, release func()) error
	// Cancel ends the call: ErrLate, the error of Deliver, or that of the stream.
	Cancel func(error)
	// Responses gets the response, where it comes on the stream; it has room
	// for one. nil where it comes elsewhere.
	Responses chan Response
	// Timeout is restarted by progress, Ceiling is the longest time altogether.
	// The time that questions wait counts for neither.
	Timeout, Ceiling time.Duration

	giving sync.Mutex
	over   bool

	mu    sync.Mutex
	timer *time.Timer
	limit time.Time         // of Ceiling
	open  map[string]func() // questions not answered, by raw id
	since time.Time         // of the first of them
}

func (c *Call) start() {
	c.limit = time.Now().Add(c.Ceiling)
	c.timer = time.AfterFunc(min(c.Timeout, c.Ceiling), func() { c.Cancel(ErrLate) })
}

func (c *Call) stop() {
	c.mu.Lock()
	c.timer.Stop()
	c.timer = nil
	c.mu.Unlock()
	c.giving.Lock()
	c.over = true
	c.giving.Unlock()
}

// Give runs f, which hands something to the client of the call, unless the call
// has ended. Only one f runs at a time. An error of f ends the call.
func (c *Call) Give(f func() error) (given bool) {
	c.giving.Lock()
	defer c.giving.Unlock()
	if c.over {
		return false
	}
	if err := f(); err != nil {
		c.Cancel(&exchange.SinkError{Err: err})
	}
	return true
}

func (c *Call) respond(r Response) {
	select {
	case c.Responses <- r:
	default: // a second response to one request
	}
}

// Restart begins the time of the call anew, after progress.
func (c *Call) Restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reset()
}

func (c *Call) reset() {
	if c.timer != nil && len(c.open) == 0 {
		c.timer.Reset(min(c.Timeout, time.Until(c.limit)))
	}
}

// Hold stops the time of the call while the question with the raw id waits:
// until the function that it returns is called, which may happen more than once
// and after the call, or TakenBack for the question.
func (c *Call) Hold(id []byte) (release func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[string]func())
	}
	if len(c.open) == 0 {
		c.since = time.Now()
	}
	if c.timer != nil {
		c.timer.Reset(maxHeld)
	}
	key := string(id)
	release = sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if delete(c.open, key); len(c.open) == 0 {
			c.limit = c.limit.Add(time.Since(c.since))
			c.reset()
		}
	})
	c.open[key] = release
	return release
}

// TakenBack lets the time go on after notifications/cancelled of the upstream,
// whose raw params it gets.
func (c *Call) TakenBack(params []byte) {
	var m wire.Message
	if wire.ScanParams(params, &m) != nil {
		return
	}
	c.mu.Lock()
	release := c.open[string(m.P.RequestID.Of(params))]
	c.mu.Unlock()
	if release != nil {
		release()
	}
}
