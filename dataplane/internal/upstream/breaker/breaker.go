// SPDX-License-Identifier: Apache-2.0

package breaker

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// State is what a circuit is.
type State string

// States of a circuit, as they stand in metrics and logs.
const (
	Closed   State = "closed"    // calls pass
	Open     State = "open"      // calls fail at once
	HalfOpen State = "half_open" // a trial is due or under way; other calls fail at once
)

// Outcome is what a call says about its upstream.
type Outcome uint8

const (
	// Nothing: it says nothing, for example because its client gave it up.
	Nothing Outcome = iota
	// Answered: the upstream lives, whatever it answered.
	Answered
	// Failed: the upstream was not reached, broke off or was silent.
	Failed
)

// Config makes a [Circuit]. All of it is required but Changed.
type Config struct {
	// Failures in a row open the circuit.
	Failures int
	// Pause is the time from a failure that opens the circuit to the trial.
	Pause time.Duration
	// Changed is told the new state, by one goroutine at a time, on the call that changed it. It must not call the circuit.
	Changed func(State)
}

// Refusal is why a call does not pass: the circuit is open, or another call is the trial.
type Refusal struct {
	// Wait is when to try again, more than zero.
	Wait time.Duration
	// Last is why the upstream failed last; nil if nobody said.
	Last error
}

// Error says that the circuit is open.
func (*Refusal) Error() string { return "the circuit is open" }

// Unwrap returns why the upstream failed last.
func (r *Refusal) Unwrap() error { return r.Last }

var (
	errFailed  = errors.New("failed")
	errNothing = errors.New("nothing known")
)

// Circuit watches one upstream. It is safe for concurrent use.
type Circuit struct {
	gate  *gobreaker.TwoStepCircuitBreaker[struct{}]
	pause time.Duration

	age    atomic.Uint64 // grows with each change of state: what began before one says nothing after it
	shut   atomic.Bool   // not closed
	failed atomic.Bool   // failures are counted that an answer must clear
	due    atomic.Int64  // Unix nanoseconds of the next trial
	last   atomic.Pointer[error]
	state  atomic.Pointer[State]
}

// New returns a closed circuit.
func New(c Config) *Circuit {
	b := &Circuit{pause: c.Pause}
	closed := Closed
	b.state.Store(&closed)
	b.gate = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Timeout: c.Pause,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= uint32(max(c.Failures, 1)) },
		IsExcluded:  func(err error) bool { return errors.Is(err, errNothing) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			now := b.changed(to)
			if c.Changed != nil {
				c.Changed(now)
			}
		},
	})
	return b
}

// changed notes a state of the machine. It is called under the machine's lock.
func (b *Circuit) changed(to gobreaker.State) State {
	now := Closed
	switch to {
	case gobreaker.StateOpen:
		now = Open
		b.due.Store(time.Now().Add(b.pause).UnixNano())
	case gobreaker.StateHalfOpen:
		now = HalfOpen
	case gobreaker.StateClosed:
	}
	b.state.Store(&now)
	b.age.Add(1)
	b.shut.Store(now != Closed)
	return now
}

// State returns what the circuit is.
func (b *Circuit) State() State { return *b.state.Load() }

// Last returns why the upstream failed last; nil before its first failure.
func (b *Circuit) Last() error {
	if p := b.last.Load(); p != nil {
		return *p
	}
	return nil
}

// Pass is the permission for one call. [Circuit.Leave] must be called with it.
type Pass struct {
	age  uint64
	done func(error)
}

// Trial reports whether the call is the trial, on which others wait.
func (p *Pass) Trial() bool { return p.done != nil }

// Enter lets a call through, or says why not.
func (b *Circuit) Enter() (Pass, *Refusal) {
	age := b.age.Load()
	if !b.shut.Load() {
		return Pass{age: age}, nil
	}
	done, err := b.gate.Allow()
	if err != nil {
		return Pass{}, &Refusal{Wait: b.wait(), Last: b.Last()}
	}
	return Pass{age: b.age.Load(), done: done}, nil
}

// soon is how long to wait for the outcome of somebody else's trial.
const soon = time.Second

// wait returns how long it is to the next trial.
func (b *Circuit) wait() time.Duration {
	if left := time.Until(time.Unix(0, b.due.Load())); left > 0 {
		return left
	}
	return soon
}

// Leave says how the call ended. why belongs to Failed.
func (b *Circuit) Leave(p Pass, o Outcome, why error) {
	if o == Failed {
		kept := why // so that only a failure is allocated
		b.last.Store(&kept)
	}
	if p.done != nil {
		p.done(verdict(o))
		return
	}
	if o == Nothing || p.age != b.age.Load() {
		return
	}
	if o == Failed {
		b.failed.Store(true)
	} else if !b.failed.Load() || !b.failed.CompareAndSwap(true, false) {
		return
	}
	if done, err := b.gate.Allow(); err == nil {
		done(verdict(o))
	}
}

func verdict(o Outcome) error {
	switch o {
	case Answered:
		return nil
	case Failed:
		return errFailed
	case Nothing:
	}
	return errNothing
}
