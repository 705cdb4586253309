// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/upstream"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// The end of a process takes everything with it that it started.
func TestGrandchildrenDieToo(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *Pool, to Target, pid int)
	}{
		{"when the pool closes", func(p *Pool, _ Target, _ int) {
			if err := p.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}},
		{"when the connection is denied", func(p *Pool, to Target, _ int) { p.Drop(to.Connection) }},
		{"when the server crashes", func(p *Pool, to Target, _ int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for x := range p.processes {
				x.Kill()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPool(t, nil)
			to := target(t, "fork")
			pid := pidOf(t, call(t, p, to, "x", ""))
			if gone(pid) {
				t.Fatal("the grandchild does not live")
			}
			c.end(p, to, pid)
			until(t, "the grandchild is gone", func() bool { return gone(pid) })
			until(t, "nothing runs", func() bool { return len(p.room) == 0 })
		})
	}
}

// M-94: input closed, grace, SIGTERM, grace, SIGKILL.
func TestStubbornServerIsKilled(t *testing.T) {
	p := newPool(t, nil)
	pid := pidOf(t, call(t, p, target(t, "stubborn"), "x", ""))
	started := time.Now()
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(started); took < 2*p.cfg.StopGrace || took > soon {
		t.Errorf("the end took %v, grace is twice %v", took, p.cfg.StopGrace)
	}
	if !gone(pid) {
		t.Error("the server lives")
	}
}

func TestCloseWithoutTimeKillsAtOnce(t *testing.T) {
	p := newPool(t, func(c *Config) { c.StopGrace = time.Hour })
	pid := pidOf(t, call(t, p, target(t, "stubborn"), "x", ""))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if !gone(pid) {
		t.Error("the server lives")
	}
	refused(t, p, target(t, "good"), fault.Unavailable, upstream.ReasonUnreachable, "stopping")
}

// A start under way when the pool closes comes to nothing.
func TestCloseDuringStart(t *testing.T) {
	p := newPool(t, func(c *Config) { c.StartTimeout = time.Hour })
	answered := make(chan error, 1)
	go func() {
		_, err := p.Call(context.Background(), target(t, "mute"), request("x", ""), nil)
		answered <- err
	}()
	until(t, "it starts", func() bool { return len(p.room) == 1 })
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; fault.KindOf(err) != fault.Unavailable {
		t.Errorf("the call got %v", err)
	}
}

func TestGoodServerEndsGently(t *testing.T) {
	p := newPool(t, func(c *Config) { c.StopGrace = time.Hour }) // the end of input is enough
	call(t, p, target(t, "good"), "pid", "")
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestIdleProcessesEnd(t *testing.T) {
	p := newPool(t, func(c *Config) { c.Idle = 400 * time.Millisecond })
	to := target(t, "good")
	first := pidOf(t, call(t, p, to, "pid", ""))
	until(t, "ended", func() bool { return gone(first) && len(p.room) == 0 })
	p.mu.Lock()
	left := len(p.sites)
	p.mu.Unlock()
	if left != 0 {
		t.Errorf("%d sites are kept", left)
	}
	// One that is in use is not idle, however long its call takes.
	r := upstream.Request{
		Method: "tools/call", Params: []byte(`{"name":"steps","arguments":{"pause":300},"_meta":{"progressToken":1}}`), ProgressToken: []byte(`1`),
	}
	if res, err := p.Call(t.Context(), to, r, func(upstream.Event) error { return nil }); err != nil || textOf(t, res) != "done" {
		t.Errorf("result %s, error %v", res.Raw, err)
	}
}

// D-85: what was denied is not used any more, neither by running processes nor by calls on them.
func TestDrop(t *testing.T) {
	p := newPool(t, nil)
	dropped, other := target(t, "silent"), target(t, "good")
	kept := call(t, p, other, "pid", "")
	answered := make(chan error, 1)
	go func() {
		_, err := p.Call(context.Background(), dropped, request("x", ""), nil)
		answered <- err
	}()
	until(t, "it waits", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		s := p.sites[p.keyOf(&dropped)]
		return s != nil && s.process != nil && s.process.Waiting() == 1
	})
	p.Drop(dropped.Connection)
	wantFault(t, upstream.Result{}, <-answered, fault.Unavailable, upstream.ReasonOutcomeUnknown, "silent")
	until(t, "ended", func() bool { return len(p.room) == 1 })
	if again := call(t, p, other, "pid", ""); again != kept {
		t.Error("another connection's process was ended")
	}
}

func TestMaxProcesses(t *testing.T) {
	p := newPool(t, func(c *Config) { c.MaxProcesses = 2 })
	to := func(n int) Target {
		one := target(t, "good")
		one.PrincipalKey = fmt.Sprint("user:", n)
		return one
	}
	first := pidOf(t, call(t, p, to(1), "pid", ""))
	second := pidOf(t, call(t, p, to(2), "pid", ""))
	call(t, p, to(3), "pid", "") // the longest idle one makes room
	if !gone(first) || gone(second) {
		t.Errorf("first is gone: %v, second is gone: %v", gone(first), gone(second))
	}
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer group.Wait()
	defer cancel()
	for n := 2; n <= 3; n++ { // both are in use
		group.Go(func() { _, _ = p.Call(ctx, to(n), request("slow", t.TempDir()+"/f"), nil) })
	}
	until(t, "both are in use", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		busy := 0
		for _, s := range p.sites {
			busy += s.users
		}
		return busy == 2
	})
	f := refused(t, p, to(4), fault.Exhausted, upstream.ReasonBusy, "as many processes as it may")
	if f.Retry == 0 {
		t.Error("the caller is not told when to come again")
	}
}

func TestMaxConcurrent(t *testing.T) {
	p := newPool(t, nil)
	to := target(t, "good")
	to.MaxConcurrent = 1
	call(t, p, to, "pid", "")
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _, _ = p.Call(ctx, to, request("slow", t.TempDir()+"/f"), nil) })
	until(t, "it runs", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.sites[p.keyOf(&to)].users == 1
	})
	refused(t, p, to, fault.Exhausted, upstream.ReasonBusy, "as many calls under way")
	cancel()
	group.Wait()
	call(t, p, to, "pid", "")
}

// M-59: what names no call goes to nobody on a process that several principals share.
func TestSharedProcessKeepsUnnamedMessages(t *testing.T) {
	for _, shared := range []bool{false, true} {
		p := newPool(t, nil)
		to := target(t, "batch") // sends a log message before its answer
		to.Stateless = shared
		var got []string
		if _, err := p.Call(t.Context(), to, request("x", ""), func(e upstream.Event) error {
			got = append(got, e.Method)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if relayed := len(got) == 1; relayed == shared {
			t.Errorf("shared %v: relayed %v", shared, got)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{Idle: -1}); err == nil {
		t.Error("a pool with a negative limit was made")
	}
}
