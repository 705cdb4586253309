// SPDX-License-Identifier: Apache-2.0

package breaker_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstockhq/penstock/dataplane/internal/upstream/breaker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errDown = errors.New("down")

// step is one thing that happens to a circuit.
type step struct {
	do   string // enter, leave, wait
	call int    // which call
	o    breaker.Outcome
	wait time.Duration

	refused bool // by enter
	trial   bool // of enter
}

func enter(call int) step                    { return step{do: "enter", call: call} }
func leave(call int, o breaker.Outcome) step { return step{do: "leave", call: call, o: o} }
func refused(wait time.Duration) step        { return step{do: "enter", call: -1, refused: true, wait: wait} }
func trial(call int) step                    { return step{do: "enter", call: call, trial: true} }
func pause(d time.Duration) step             { return step{do: "wait", wait: d} }

// ended is a call that begins and ends.
func ended(o breaker.Outcome) []step { return []step{enter(99), leave(99, o)} }

func tripped() []step {
	return slices.Concat(ended(breaker.Failed), ended(breaker.Failed), ended(breaker.Failed))
}

func TestCircuit(t *testing.T) {
	const wait = 2 * time.Second
	for _, tt := range []struct {
		name  string
		steps []step
		want  breaker.State
		log   []breaker.State
	}{
		{"failures in a row open it", slices.Concat(tripped(), []step{refused(wait)}), breaker.Open, []breaker.State{breaker.Open}},
		{"two are not enough", slices.Concat(ended(breaker.Failed), ended(breaker.Failed), ended(breaker.Nothing)), breaker.Closed, nil},
		{"an answer begins the row anew", slices.Concat(ended(breaker.Failed), ended(breaker.Failed), ended(breaker.Answered), ended(breaker.Failed), ended(breaker.Failed)), breaker.Closed, nil},
		{"what says nothing does not", slices.Concat(ended(breaker.Failed), ended(breaker.Failed), ended(breaker.Nothing), ended(breaker.Failed)), breaker.Open, []breaker.State{breaker.Open}},
		{"the wait gets shorter", slices.Concat(tripped(), []step{pause(1500 * time.Millisecond), refused(wait - 1500*time.Millisecond)}), breaker.Open, []breaker.State{breaker.Open}},
		{"one trial, which closes it", slices.Concat(tripped(), []step{pause(wait + 1), trial(1), refused(time.Second), leave(1, breaker.Answered), enter(2), enter(3)}), breaker.Closed, []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Closed}},
		{"one trial, which begins the pause anew", slices.Concat(tripped(), []step{pause(wait + 1), trial(1), leave(1, breaker.Failed), refused(wait)}), breaker.Open, []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Open}},
		{"a trial that says nothing makes room for another", slices.Concat(tripped(), []step{pause(wait + 1), trial(1), leave(1, breaker.Nothing), trial(2), refused(time.Second)}), breaker.HalfOpen, []breaker.State{breaker.Open, breaker.HalfOpen}},
		{"what began before it opened says nothing", slices.Concat([]step{enter(1), enter(2)}, tripped(), []step{pause(wait + 1), trial(3), leave(1, breaker.Failed), leave(2, breaker.Answered), refused(time.Second)}), breaker.HalfOpen, []breaker.State{breaker.Open, breaker.HalfOpen}},
		{"nor after it closed", slices.Concat([]step{enter(1), enter(2), enter(3)}, tripped(), []step{pause(wait + 1), trial(4), leave(4, breaker.Answered), leave(1, breaker.Failed), leave(2, breaker.Failed), leave(3, breaker.Failed)}), breaker.Closed, []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Closed}},
		{"after it closed the row begins anew", slices.Concat(tripped(), []step{pause(wait + 1), trial(4), leave(4, breaker.Answered)}, ended(breaker.Failed), ended(breaker.Failed)), breaker.Closed, []breaker.State{breaker.Open, breaker.HalfOpen, breaker.Closed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log []breaker.State
				c := breaker.New(breaker.Config{Failures: 3, Pause: wait, Changed: func(s breaker.State) { log = append(log, s) }})
				passes := make(map[int]breaker.Pass)
				for i, s := range tt.steps {
					take(t, fmt.Sprintf("step %d", i), c, passes, s)
				}
				if c.State() != tt.want || !slices.Equal(log, tt.log) {
					t.Errorf("it is %s after %v; want %s after %v", c.State(), log, tt.want, tt.log)
				}
			})
		})
	}
}

func take(t *testing.T, name string, c *breaker.Circuit, passes map[int]breaker.Pass, s step) {
	t.Helper()
	switch s.do {
	case "wait":
		time.Sleep(s.wait)
	case "leave":
		c.Leave(passes[s.call], s.o, errDown)
	case "enter":
		pass, refusal := c.Enter()
		switch {
		case (refusal != nil) != s.refused || pass.Trial() != s.trial:
			t.Fatalf("%s: refused %v, trial %v; want %v, %v", name, refusal, pass.Trial(), s.refused, s.trial)
		case refusal != nil && (refusal.Wait != s.wait || !errors.Is(refusal, errDown)):
			t.Errorf("%s: wait %v because of %v; want %v", name, refusal.Wait, refusal.Last, s.wait)
		}
		passes[s.call] = pass
	}
}

// Of many calls at once exactly one is the trial.
func TestOneTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := breaker.New(breaker.Config{Failures: 1, Pause: time.Second})
		pass, _ := c.Enter()
		c.Leave(pass, breaker.Failed, errDown)
		time.Sleep(time.Second + 1)
		var mu sync.Mutex
		var trials, passed int
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				pass, refusal := c.Enter()
				mu.Lock()
				defer mu.Unlock()
				if pass.Trial() {
					trials++
				} else if refusal == nil {
					passed++
				}
			})
		}
		group.Wait()
		if trials != 1 || passed != 0 {
			t.Errorf("%d trials, %d others passed", trials, passed)
		}
	})
}

// A closed circuit costs a call nothing that is allocated.
func TestAllocations(t *testing.T) {
	c := breaker.New(breaker.Config{Failures: 5, Pause: time.Second})
	n := testing.AllocsPerRun(1000, func() {
		pass, refusal := c.Enter()
		if refusal != nil {
			t.Fatal(refusal)
		}
		c.Leave(pass, breaker.Answered, nil)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkClosed(b *testing.B) {
	c := breaker.New(breaker.Config{Failures: 5, Pause: time.Second})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			pass, _ := c.Enter()
			c.Leave(pass, breaker.Answered, nil)
		}
	})
}
