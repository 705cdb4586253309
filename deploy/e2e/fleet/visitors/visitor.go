// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Versions of MCP that the visitors speak.
const (
	modern = "2026-07-28"
	legacy = "2025-11-25"
)

// visitor is one client.
type visitor struct {
	crowd   *Crowd
	id      int
	token   string
	legacy  bool
	http    *http.Client
	random  *rand.Rand
	session string // set by open

	calls     int                    // so far
	ids       atomic.Int64           // of requests
	now       atomic.Pointer[string] // address of the connection of the call in flight; empty before it has one
	listening atomic.Bool
	began     chan struct{} // closed when the stream is open for the first time
	begin     sync.Once
	changes   atomic.Int64
	turn      sync.Mutex // held while a call runs

	mu            sync.Mutex
	notices       map[string]*notices // by subject
	streamAddress string              // the client's, of the newest stream
	streamSince   time.Time
}

// notices are what came about one subject.
type notices struct {
	times   map[int]int // by number
	at      time.Time   // of the call
	address string      // the client's, of the call
}

// open starts the session and calls once, so that the servers behind have their sessions.
func (v *visitor) open(ctx context.Context) error {
	if v.legacy {
		if err := v.initialize(ctx); err != nil {
			return fmt.Errorf("visitor %d: initialize: %w", v.id, err)
		}
	}
	plan := v.plan("once", 0, 0)
	if r := v.attempt(ctx, &plan); r.reason != "" {
		return fmt.Errorf("visitor %d: first call: %s", v.id, r.reason)
	}
	return nil
}

// loop calls at the visitor's pace.
func (v *visitor) loop(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-v.began: // nobody is promised what is said before
	}
	wait := time.NewTimer(time.Duration(v.random.Int64N(int64(v.crowd.c.Pace))))
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if !v.turn.TryLock() { // all wait in a pause: they do not come back all at once
			v.turn.Lock()
			v.turn.Unlock() //nolint:staticcheck // the pause is over
			wait.Reset(time.Duration(v.random.Int64N(int64(v.crowd.c.Pace))))
			continue
		}
		v.call(ctx)
		v.turn.Unlock()
		wait.Reset(v.crowd.c.Pace/2 + time.Duration(v.random.Int64N(int64(v.crowd.c.Pace))))
	}
}

// plan is a call that is about to be made.
type plan struct {
	token, tool  string
	steps, delay int // delay in milliseconds: of the call, or of each step
	repeatable   bool
	notices      bool
}

func (v *visitor) plan(tool string, steps, delay int) plan {
	v.calls++
	p := plan{
		token: fmt.Sprintf("%s%d-%d", v.crowd.c.Name, v.id, v.calls), steps: steps, delay: delay,
		repeatable: tool == "look", notices: tool == "tell",
	}
	prefix := v.crowd.c.Stateless
	// What tells later needs a session on both sides; other calls of sessions go to both kinds of server.
	if v.legacy && (p.notices || v.random.IntN(4) > 0) {
		prefix = v.crowd.c.Stateful
	}
	p.tool = prefix + tool
	return p
}

// next is the mixture of calls: most are short, some are long enough that a kill finds them in flight.
func (v *visitor) next() plan {
	switch n := v.random.IntN(20); {
	case n < 10:
		return v.plan("once", 0, 10+v.random.IntN(150))
	case n < 12:
		return v.plan("once", 0, 1500)
	case n < 15:
		return v.plan("look", 0, 10+v.random.IntN(150))
	case n < 17 || !v.legacy:
		return v.plan("steps", 4, 150)
	default:
		return v.plan("tell", 4, 150)
	}
}

// retries of a call that may be repeated; a client's own, by G-53.
const retries = 4

func (v *visitor) call(ctx context.Context) {
	p := v.next()
	began := time.Now()
	if p.notices {
		v.mu.Lock()
		v.notices[p.token] = &notices{times: map[int]int{}, at: began}
		v.mu.Unlock()
	}
	var r result
	for attempt := range retries {
		if attempt > 0 {
			v.crowd.tally.change(func(t *Tally) { t.Retried++ })
			if !pause(ctx, 50*time.Millisecond<<attempt) {
				return
			}
		}
		bounded, cancel := context.WithTimeout(ctx, v.crowd.c.Timeout)
		r = v.attempt(bounded, &p)
		cancel()
		if r.reason == "" || !p.repeatable {
			break
		}
	}
	ended := time.Now()
	if p.notices {
		v.mu.Lock()
		v.notices[p.token].at, v.notices[p.token].address = ended, r.address
		v.mu.Unlock()
	}
	switch {
	case ctx.Err() != nil: // the crowd leaves
	case r.reason == "":
		v.crowd.tally.succeeded(p.token, p.repeatable, ended.Sub(began))
	default:
		v.crowd.tally.change(func(t *Tally) {
			t.Failed = append(t.Failed, Call{
				Visitor: v.id, Legacy: v.legacy, Token: p.token, Tool: p.tool, Repeatable: p.repeatable, Address: r.address,
				Began: began, Ended: ended, Unknown: r.unknown, Reason: r.reason,
			})
		})
	}
}

// noticed keeps a message that is no answer.
func (v *visitor) noticed(m message) {
	switch m.Method {
	case "notifications/tools/list_changed":
		v.changes.Add(1)
	case "notifications/message":
		v.mu.Lock()
		defer v.mu.Unlock()
		if got := v.notices[m.Params.Data.Subject]; got != nil {
			got.times[m.Params.Data.Number]++
		}
	}
}

// pause waits; it reports false if the context ends before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
