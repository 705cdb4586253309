// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/plant"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/visitors"
)

// scenario is one thing that happens to the fleet under load.
type scenario struct {
	*world
	t   *testing.T
	row *row
	// excuses are processes on which calls in flight may fail.
	excuses []excuse
	// away is when nodes had no Redis: sessions go on without what it keeps (mcp.md M-88), so what upstreams say meanwhile
	// outside of calls may get lost, or come twice.
	away []span
}

// span is some time.
type span struct{ from, to time.Time }

const (
	// backWithin is how long nodes may take to use Redis again: what a node had asked for before it gave up may lock the place
	// of an upstream session for 10 s.
	backWithin = 12 * time.Second
	// saysFor is how long after the answer a tool that tells goes on telling.
	saysFor = time.Second
)

// withoutRedis notes the time that do takes as one without Redis.
func (s *scenario) withoutRedis(do func()) {
	from := time.Now()
	do()
	s.away = append(s.away, span{from, time.Now().Add(backWithin)})
}

func (s *scenario) noRedis(at time.Time) bool {
	return slices.ContainsFunc(s.away, func(w span) bool { return at.After(w.from.Add(-saysFor)) && at.Before(w.to) })
}

// excuse says that calls may fail whose connection was opened to a process before it was killed.
type excuse struct {
	backend string
	until   time.Time
}

// run does something to the fleet under load and judges what came of it.
func (w *world) run(name string, do func(s *scenario)) {
	w.t.Run(name, func(t *testing.T) {
		s := &scenario{world: w, t: t, row: &row{Scenario: name}}
		w.report.Rows = append(w.report.Rows, s.row)
		defer func() {
			s.row.Passed = !t.Failed()
			t.Logf("%+v", *s.row)
		}()
		s.calm()
		do(s)
		s.calm()
		s.judge()
	})
}

// calm lets the load run for a while.
func (s *scenario) calm() { s.wait(s.size.calm) }

// wait lets time pass, which is what an outage is.
func (s *scenario) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.t.Context().Done():
	}
}

// kill is kill -9 of a node: calls on it may fail, and only those.
func (s *scenario) kill(n *plant.Process) {
	s.t.Helper()
	backend := n.Instance.Listen["mcp"]
	s.row.InFlight += s.inFlight(backend)
	n.Kill()
	s.excuses = append(s.excuses, excuse{backend: backend, until: time.Now()})
}

// inFlight counts the calls on a backend now.
func (s *scenario) inFlight(backend string) int {
	return s.crowd.InFlight(func(address string) bool {
		r, ok := s.plant.Zones[0].Balancer.Route(address, time.Now())
		return ok && r.Backend == backend && r.Ended.IsZero()
	})
}

// excused reports whether a call failed as calls on a killed process do: the connection broke, or the outcome is unknown.
func (s *scenario) excused(c visitors.Call) bool {
	if !c.Unknown && !strings.HasPrefix(c.Reason, "connection: ") {
		return false
	}
	r, ok := s.plant.Zones[0].Balancer.Route(c.Address, c.Ended)
	return ok && slices.ContainsFunc(s.excuses, func(e excuse) bool {
		return e.backend == r.Backend && r.Opened.Before(e.until) && c.Ended.After(r.Opened)
	})
}

// settle is how long things may take to come back after everything runs again.
const settle = 30 * time.Second

// judge checks what must hold after everything.
func (s *scenario) judge() {
	s.t.Helper()
	began := time.Now()
	goOn := s.crowd.Pause()
	defer goOn()
	paused := time.Since(began)
	s.streams()
	heard := time.Since(began)
	s.settleNotices()
	s.calls(s.crowd.Take())
	s.views()
	s.crowd.ForgetNotices()
	s.t.Logf("judged in %s: calls had ended after %s, all streams heard of a change after %s", round(time.Since(began)), round(paused), round(heard))
}

func round(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// streams wants every visitor's stream open, and alive: each hears of a change.
func (s *scenario) streams() {
	s.t.Helper()
	s.eventually("all streams are open", func() error {
		if n := s.crowd.Streams(); n != s.size.sessions {
			return fmt.Errorf("%d of %d are", n, s.size.sessions)
		}
		return nil
	})
	before := s.crowd.Heard()
	s.toggle()
	s.eventually("every visitor hears of a change", func() error {
		deaf := 0
		for i, n := range s.crowd.Heard() {
			if n == before[i] {
				deaf++
			}
		}
		if deaf > 0 {
			return fmt.Errorf("%d of %d do not", deaf, s.size.sessions)
		}
		return nil
	})
}

// settleNotices waits for the last notices and counts those that do not come.
func (s *scenario) settleNotices() {
	s.t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	n := s.crowd.CheckNotices(s.journal.Notices, s.noRedis, s.where)
	for ; n.Lost > 0 && time.Now().Before(deadline); n = s.crowd.CheckNotices(s.journal.Notices, s.noRedis, s.where) {
		s.wait(100 * time.Millisecond)
	}
	s.row.Notices, s.row.Lost, s.row.Again, s.row.NoRedis = n.Sent, n.Lost, n.Twice, n.Excused
	if n.Lost > 0 || n.Twice > 0 {
		report := s.t.Errorf
		if n.Lost+n.Twice <= s.mayLose(n.Sent) {
			report = s.t.Logf
		}
		report("of %d notices to sessions %d were lost and %d came twice, for example:\n\t%s", n.Sent, n.Lost, n.Twice, strings.Join(n.Examples, "\n\t"))
	}
}

// mayLose returns how many notices may get lost or come twice: none where nodes and Redis are left alone, hardly any where nodes end.
// Where a node hangs or is cut off it may be some of one session's: what its stream had taken from the upstream is in a process
// that does nothing, and the client moves on.
func (s *scenario) mayLose(sent int) int {
	name := s.row.Scenario
	for _, kind := range []string{"nothing", "control plane", "authserver"} {
		if strings.HasPrefix(name, kind) {
			return 0
		}
	}
	for _, end := range []string{"drain", "restart", "kill -9"} {
		if strings.HasSuffix(name, end) {
			return max(2, sent/1000)
		}
	}
	return max(8, sent/50)
}

// calls judges what the visitors counted.
func (s *scenario) calls(t visitors.Tally) {
	s.t.Helper()
	r := s.row
	r.Calls, r.Failed = len(t.Succeeded)+len(t.Failed), len(t.Failed)
	r.Resumed, r.Refused, r.Progress, r.Slowest = t.Resumed, t.Refused, t.Lost, seconds(t.Slowest)
	if r.Calls < s.size.sessions/2 {
		s.t.Errorf("only %d calls were made: this is no load", r.Calls)
	}
	for token, repeatable := range t.Succeeded {
		runs := s.journal.Runs(token)
		if runs == 0 {
			s.t.Errorf("call %s succeeded and never ran", token)
		}
		if runs > 1 && !repeatable {
			r.Twice++
			s.t.Errorf("call %s ran %d times", token, runs)
		}
	}
	r.Reasons = map[string]int{}
	examples := map[string]visitors.Call{}
	for _, c := range t.Failed {
		if c.Unknown {
			r.Unknown++
		}
		if runs := s.journal.Runs(c.Token); runs > 1 && !c.Repeatable {
			r.Twice++
			s.t.Errorf("call %s, which failed (%s), ran %d times", c.Token, c.Reason, runs)
		}
		r.Reasons[c.Reason]++
		switch {
		case s.excused(c) && !c.Repeatable:
			r.Excused++
		case r.Reasons[c.Reason] == 1 || examples[c.Reason].Token == "":
			examples[c.Reason] = c
		}
	}
	if r.Failed > r.Excused {
		s.t.Errorf("%d of %d calls failed and have no excuse", r.Failed-r.Excused, r.Calls)
		for reason, c := range examples {
			s.t.Errorf("%d times %s; for example %s of visitor %d (legacy %t) on %s, began %s, took %s, ran %d times",
				r.Reasons[reason], reason, c.Tool, c.Visitor, c.Legacy, s.where(c.Address, c.Ended), c.Began.Format("15:04:05.000"),
				c.Ended.Sub(c.Began).Round(time.Millisecond), s.journal.Runs(c.Token))
		}
	}
	if t.Lost > 0 || t.Twice > 0 {
		s.t.Errorf("%d progress notifications of answers were lost, %d came twice", t.Lost, t.Twice)
	}
}

// where names the process that had the connection of a client's address at a time.
func (s *scenario) where(address string, at time.Time) string {
	r, _ := s.plant.Zones[0].Balancer.Route(address, at)
	for _, p := range s.plant.All() {
		for _, address := range p.Instance.Listen {
			if address == r.Backend {
				return p.Name
			}
		}
	}
	return "nobody"
}

// views wants all nodes to enforce the newest revision, and no node to have found its digest differ.
func (s *scenario) views() {
	s.t.Helper()
	revision := s.toggle()
	for _, z := range s.plant.Zones {
		for _, n := range z.Nodes {
			s.eventually(fmt.Sprintf("%s enforces revision %d", n.Name, revision), func() error {
				if got := n.Metric("penstock_follow_revision"); got < float64(revision) {
					return fmt.Errorf("it enforces %v", got)
				}
				return nil
			})
			if drift := n.Metric("penstock_follow_drift_total"); drift > 0 {
				s.t.Errorf("%s found %v times that its digest differs", n.Name, drift)
			}
		}
	}
}

// eventually waits for something; that it does not come is an error, and the scenario goes on.
func (s *scenario) eventually(what string, ok func() error) bool {
	s.t.Helper()
	deadline := time.Now().Add(settle)
	for {
		err := ok()
		if err == nil {
			return true
		}
		if time.Now().After(deadline) {
			s.t.Errorf("%s: not after %s: %v", what, settle, err)
			return false
		}
		s.wait(50 * time.Millisecond)
	}
}
