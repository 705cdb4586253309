// SPDX-License-Identifier: Apache-2.0

package visitors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Config says who visits what.
type Config struct {
	Name   string   // begins the tokens of their calls
	URL    string   // of the gateway
	Tokens []string // bearer tokens; the visitors share them evenly
	Count  int      // visitors, half of each era
	Pace   time.Duration
	// Stateful and Stateless are what the names of the tools of the two witnesses begin with.
	Stateful, Stateless string
	// Timeout is how long a call may take; beyond it has failed.
	Timeout time.Duration
}

// Crowd is all visitors.
type Crowd struct {
	c        Config
	url      atomic.Pointer[string] // where they go now
	tally    tally
	visitors []*visitor
	cancel   context.CancelFunc
	work     sync.WaitGroup
}

// New returns visitors that do nothing yet.
func New(c Config) *Crowd {
	crowd := &Crowd{c: c}
	crowd.url.Store(&c.URL)
	for i := range c.Count {
		v := &visitor{
			crowd: crowd, id: i, token: c.Tokens[i%len(c.Tokens)], legacy: i%2 == 0,
			random:  rand.New(rand.NewPCG(uint64(i), 1)), // the same mixture each time
			notices: map[string]*notices{}, began: make(chan struct{}), http: &http.Client{Transport: transport()},
		}
		crowd.visitors = append(crowd.visitors, v)
	}
	return crowd
}

// transport keeps a visitor's connections: one for its calls, one for its stream.
func transport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, DisableCompression: true,
	}
}

// parallel is how many visitors come in at a time.
const parallel = 16

// Open starts all sessions and streams, and calls each tool's server once.
func (c *Crowd) Open(ctx context.Context) error {
	streams, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until Close
	c.cancel = cancel
	errs := make([]error, len(c.visitors))
	var work sync.WaitGroup
	for part := range parallel {
		work.Go(func() {
			for i := part; i < len(c.visitors); i += parallel {
				errs[i] = c.visitors[i].open(ctx)
			}
		})
	}
	work.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, v := range c.visitors {
		c.work.Go(func() { v.follow(streams) })
		c.work.Go(func() { v.loop(streams) })
	}
	return nil
}

// Close ends everything at once.
func (c *Crowd) Close() {
	if c.cancel != nil {
		c.cancel()
	}
	c.work.Wait()
	for _, v := range c.visitors {
		v.http.CloseIdleConnections()
	}
}

// InFlight counts the calls in flight on connections of which is holds. The address is the client's own.
func (c *Crowd) InFlight(is func(address string) bool) int {
	n := 0
	for _, v := range c.visitors {
		if address := v.now.Load(); address != nil && *address != "" && is(*address) {
			n++
		}
	}
	return n
}

// Pause lets the calls in flight finish and starts no new ones until the returned function is called. Streams stay open.
func (c *Crowd) Pause() (goOn func()) {
	var all sync.WaitGroup
	for _, v := range c.visitors {
		all.Go(v.turn.Lock)
	}
	all.Wait()
	return func() {
		for _, v := range c.visitors {
			v.turn.Unlock()
		}
	}
}

// Streams returns how many visitors have their stream open now.
func (c *Crowd) Streams() int {
	n := 0
	for _, v := range c.visitors {
		if v.listening.Load() {
			n++
		}
	}
	return n
}

// Heard returns, for each visitor, how often it was told that the list of tools changed.
func (c *Crowd) Heard() []int64 {
	heard := make([]int64, len(c.visitors))
	for i, v := range c.visitors {
		heard[i] = v.changes.Load()
	}
	return heard
}

// Sessions returns the ids of all sessions, in the visitors' order.
func (c *Crowd) Sessions() []string {
	var ids []string
	for _, v := range c.visitors {
		if v.legacy {
			ids = append(ids, v.session)
		}
	}
	return ids
}

// Take returns what happened since the last Take.
func (c *Crowd) Take() Tally { return c.tally.take() }

// Notices is what the notices to sessions came to.
type Notices struct {
	Sent, Lost, Twice int
	Excused           int      // that were lost or came twice, of calls that had an excuse
	Examples          []string // subjects of some that were lost
}

// CheckNotices compares what sessions were told with what was sent, by the subject that a call gave them. excused says of a
// call that had its answer at a time that its notices may get lost; where names what a client's address was connected to at a
// time, for the examples.
func (c *Crowd) CheckNotices(
	sent func(subject string) []int, excused func(at time.Time) bool, where func(address string, at time.Time) string,
) Notices {
	var n Notices
	for _, v := range c.visitors {
		v.mu.Lock()
		for subject, got := range v.notices {
			was := n
			for _, number := range sent(subject) {
				n.Sent++
				switch times := got.times[number]; {
				case times == 0:
					n.Lost++
				case times > 1:
					n.Twice++
				}
			}
			if excused(got.at) {
				n.Excused += n.Lost - was.Lost + n.Twice - was.Twice
				n.Lost, n.Twice = was.Lost, was.Twice
			}
			if len(n.Examples) < maxExamples && (n.Lost > was.Lost || n.Twice > was.Twice) {
				n.Examples = append(n.Examples, fmt.Sprintf("%s: %d lost, %d twice; called at %s on %s, stream since %s on %s", subject,
					n.Lost-was.Lost, n.Twice-was.Twice, got.at.Format(clock), where(got.address, got.at), v.streamSince.Format(clock),
					where(v.streamAddress, v.streamSince)))
			}
		}
		v.mu.Unlock()
	}
	return n
}

const (
	maxExamples = 8
	clock       = "15:04:05.000"
)

// ForgetNotices begins anew with the notices.
func (c *Crowd) ForgetNotices() {
	for _, v := range c.visitors {
		v.mu.Lock()
		clear(v.notices)
		v.mu.Unlock()
	}
}
