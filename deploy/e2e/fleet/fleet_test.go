// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"testing"
	"time"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/plant"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/visitors"
)

// TestFleet: everything that may happen to a fleet, in turn, while the same sessions go on.
func TestFleet(t *testing.T) {
	w := newWorld(t)
	defer func() {
		t.Logf("%d sessions, %d control planes, %d nodes, %d authservers, outages of %s\n%s",
			w.size.sessions, w.size.controlPlanes, w.size.nodes, w.size.authservers, w.size.outage, w.report)
		if err := w.report.write(); err != nil {
			t.Error(err)
		}
	}()
	w.crowd = visitors.New(visitors.Config{
		Name: "v", URL: w.homeURL("fleet"), Tokens: w.tokens, Count: w.size.sessions, Pace: w.size.pace,
		Stateful: "keeper__", Stateless: "plain__", Timeout: 45 * time.Second,
	})
	defer w.crowd.Close()
	if err := w.crowd.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	var before map[string]float64
	w.run("nothing happens", func(*scenario) { before = w.goroutines() })
	w.nodes()
	w.planes()
	w.authservers()
	w.redis()
	w.postgres()
	w.links()
	w.regions()
	w.run("in the end", func(s *scenario) { s.digests(s.toggle()) })
	if before != nil { // the first scenario was among those that were asked for
		w.goroutinesAgain(before)
	}
}

// nodes ends nodes in every way.
func (w *world) nodes() {
	nodes := w.plant.Zones[0].Nodes
	w.run("node: drain", func(s *scenario) { s.drain(nodes[0]) })
	w.run("node: rolling restart", func(s *scenario) { s.drain(nodes...) })
	w.run("node: kill -9", func(s *scenario) {
		s.kill(nodes[1])
		s.again(nodes[1])
	})
	w.run("node: hangs", func(s *scenario) { s.hang(nodes[0]) })
}

// drain asks processes to end and starts them again, one after the other. Nothing may fail by it.
func (s *scenario) drain(processes ...*plant.Process) {
	s.t.Helper()
	for _, p := range processes {
		s.row.InFlight += s.inFlight(p.Instance.Listen["mcp"])
		took := p.Stop()
		s.t.Logf("%s ended %s after SIGTERM", p.Name, took.Round(time.Millisecond))
		s.again(p)
	}
}

// again starts a process that has ended and waits until it is ready.
func (s *scenario) again(p *plant.Process) {
	s.t.Helper()
	p.Start()
	s.row.Recovery = max(s.row.Recovery, seconds(p.Ready()))
}

// hang freezes a process for a while: connections to it stay open and nothing comes.
func (s *scenario) hang(p *plant.Process) {
	s.t.Helper()
	s.row.InFlight += s.inFlight(p.Instance.Listen["mcp"])
	p.Freeze()
	s.wait(s.size.frozen)
	p.Thaw()
	s.row.Recovery = max(s.row.Recovery, seconds(p.Ready()))
}

// goroutines of each process that runs, by its name.
func (w *world) goroutines() map[string]float64 {
	n := map[string]float64{}
	for _, p := range w.plant.All() {
		n[p.Name] = p.Metric("go_goroutines")
	}
	return n
}

// goroutinesAgain wants no process to have far more goroutines than when the crowd called and nothing happened. Nodes count together: a
// node that was not restarted last has the streams of those that were.
func (w *world) goroutinesAgain(before map[string]float64) {
	w.t.Helper()
	now := w.goroutines()
	was, is := 0.0, 0.0
	for _, z := range w.plant.Zones {
		for _, p := range z.Nodes {
			was, is = was+before[p.Name], is+now[p.Name]
			delete(now, p.Name)
		}
	}
	if is > 2*was+200 {
		w.t.Errorf("the nodes have %v goroutines, and had %v before", is, was)
	}
	for name, n := range now {
		if n > 2*before[name]+200 {
			w.t.Errorf("%s has %v goroutines, and had %v before", name, n, before[name])
		}
	}
}
