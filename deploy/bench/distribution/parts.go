// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// parts are the measurement, in order.
func (b *bench) parts(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, b.stopUpstream()) }()
	defer func() {
		if b.fleet != nil && b.fleet.Process != nil {
			err = errors.Join(err, b.fleet.Stop())
		}
	}()
	for _, p := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"cold start", b.coldStart},
		{"idle", b.idle},
		{"steady", b.steady},
		{"sizes", b.sizes},
		{"burst", b.burst},
		{"resync", b.resync},
		{"writes", b.writes},
		{"agreement", b.agreement},
		{"writes alone", b.writesAlone},
		{"node", b.oneNode},
	} {
		began := time.Now()
		within, cancel := context.WithTimeout(ctx, step)
		err := p.run(within)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.say("%s took %s", p.name, time.Since(began).Round(time.Millisecond))
	}
	return nil
}

// coldStart starts the fleet without anything on its disks.
func (b *bench) coldStart(ctx context.Context) error {
	if err := rest(ctx, b.Settle); err != nil {
		return err
	}
	m, err := b.control.Memory()
	if err != nil {
		return err
	}
	b.result.ControlAlone = m
	if err := b.startFleet(); err != nil {
		return err
	}
	if _, err := b.fleet.until(ctx, "nodesim answers", func(live) bool { return true }); err != nil {
		return err
	}
	began := time.Now()
	if _, err := b.fleet.until(ctx, "some nodes are loaded", func(l live) bool { return l.Loaded >= b.someNodes() }); err != nil {
		return err
	}
	b.result.ColdFirstSeconds = time.Since(began).Seconds()
	l, err := b.fleet.until(ctx, "all nodes are loaded", func(l live) bool { return l.Loaded == l.Nodes })
	if err != nil {
		return err
	}
	b.result.ColdSeconds = time.Since(began).Seconds()
	b.result.ColdBytes = float64(l.ReadBytes) / float64(l.Nodes)
	return nil
}

// idleLeast is longer than the time between two heartbeats: with less, nodes may seem to be told nothing at all.
// someNodes is how many nodes the goal for a cold start is about, if there are as many.
func (s settings) someNodes() int { return min(100, s.Nodes) }

const idleLeast = 6 * time.Second

// idle lets nothing happen.
func (b *bench) idle(ctx context.Context) error {
	if _, err := b.fleet.until(ctx, "all nodes agree", func(l live) bool { return l.Agreed }); err != nil {
		return err
	}
	before, err := b.fleet.live(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := rest(ctx, max(b.Settle, idleLeast)); err != nil {
		return err
	}
	after, err := b.fleet.live(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds() * float64(b.Nodes)
	b.idleRate = float64(after.ReadBytes-before.ReadBytes) / took
	b.result.IdleRead, b.result.IdleWritten = b.idleRate, float64(after.WrittenBytes-before.WrittenBytes)/took
	if b.result.Control, err = b.control.Memory(); err != nil {
		return err
	}
	return errors.Join(b.profile(ctx, "control-heap", "heap"), b.keep(ctx, "nodesim-heap", "http://"+b.fleet.address+"/heap"))
}

// steady changes one tool after another.
func (b *bench) steady(ctx context.Context) error {
	from, err := b.fleet.live(ctx)
	if err != nil {
		return err
	}
	profiled := b.profiles(ctx, "steady", b.For)
	cpu, err := cpuOf(b.control)
	if err != nil {
		return err
	}
	revisions, err := paced(ctx, b.Rate, b.For, b.change)
	if err := errors.Join(err, profiled()); err != nil {
		return err
	}
	used, err := cpuOf(b.control)
	if err != nil {
		return err
	}
	b.result.CPUPerChange = (used - cpu).Seconds() * 1000 / float64(len(revisions))
	if _, err := b.fleet.at(ctx, slices.Max(revisions)); err != nil {
		return err
	}
	b.result.Steady, err = b.enforced(ctx, from.MaxRevision, revisions, func(r reached) int64 { return r.LastNS })
	return err
}

// enforced returns how long it took from each commit to the last node, in milliseconds.
func (b *bench) enforced(ctx context.Context, from uint64, revisions []uint64, when func(reached) int64) (distribution, error) {
	list, err := b.fleet.reached(ctx, from)
	if err != nil {
		return distribution{}, err
	}
	commits, err := b.database.commits(ctx, from)
	if err != nil {
		return distribution{}, err
	}
	at := make(map[uint64]int64, len(list))
	for _, r := range list {
		at[r.Revision] = when(r)
	}
	var values []float64
	for _, revision := range revisions {
		enforced, known := at[revision]
		committed, kept := commits[revision]
		if !known || !kept {
			return distribution{}, fmt.Errorf("revision %d: enforced %v, committed %v", revision, known, kept)
		}
		values = append(values, float64(enforced-committed)/1e6)
	}
	return distributionOf(values), nil
}

// sizes weighs single changes: what the nodes read until all enforce one, without what they read idle.
func (b *bench) sizes(ctx context.Context) (err error) {
	if b.result.FlipBytes, err = b.weigh(ctx, 10, b.flip); err != nil {
		return err
	}
	if b.result.DescribeBytes, err = b.weigh(ctx, 10, b.change); err != nil {
		return err
	}
	if err := b.asNode(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.asNodes.Close()) }()
	const edits = 15
	b.left.Edits += edits
	if err := b.leave(); err != nil {
		return err
	}
	var proposed, accepted [edits]float64
	for n := range edits {
		if proposed[n], err = b.weigh(ctx, 1, b.propose); err != nil {
			return err
		}
		if accepted[n], err = b.weigh(ctx, 1, b.accept); err != nil {
			return err
		}
	}
	slices.Sort(proposed[:])
	slices.Sort(accepted[:])
	b.result.ProposeBytes, b.result.EditBytes = proposed[edits/2], accepted[edits/2]
	return nil
}

// weigh returns the median of the bytes that a node read for a change.
func (b *bench) weigh(ctx context.Context, times int, write func(context.Context, int) (uint64, error)) (float64, error) {
	var weights []float64
	for n := range times {
		before, err := b.fleet.live(ctx)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		revision, err := write(ctx, n)
		if err != nil {
			return 0, err
		}
		after, err := b.fleet.at(ctx, revision)
		if err != nil {
			return 0, err
		}
		weights = append(weights, float64(after.ReadBytes-before.ReadBytes)/float64(b.Nodes)-b.idleRate*time.Since(began).Seconds())
	}
	slices.Sort(weights)
	return weights[len(weights)/2], nil
}

// burst changes many tools at once; while that travels, tools are taken away elsewhere. They do not begin before: the burst is
// one transaction, which others would make begin anew.
func (b *bench) burst(ctx context.Context) error {
	if err := b.allow(ctx); err != nil { // what a run that was stopped has denied
		return err
	}
	from, err := b.fleet.live(ctx)
	if err != nil {
		return err
	}
	denying := min(6*time.Second, time.Duration(b.quiets())*time.Second/time.Duration(b.Rate))
	profiled := b.profiles(ctx, "burst", denying)
	revision, changes, err := b.rewrite(ctx, int(from.MaxRevision))
	if err != nil {
		return errors.Join(err, profiled())
	}
	b.result.BurstChanges = changes
	denials, err := paced(ctx, b.Rate, denying, b.deny)
	if err := errors.Join(err, profiled()); err != nil {
		return err
	}
	if _, err := b.fleet.at(ctx, max(revision, slices.Max(denials))); err != nil {
		return err
	}
	last, err := b.enforced(ctx, from.MaxRevision, []uint64{revision}, func(r reached) int64 { return r.LastNS })
	if err != nil {
		return err
	}
	b.result.BurstSeconds = last.Max / 1000
	b.result.Denial, err = b.enforced(ctx, from.MaxRevision, denials, func(r reached) int64 { return r.DeniedNS })
	return errors.Join(err, b.allow(ctx))
}

// resync kills the control plane; nothing has changed when it is there again.
func (b *bench) resync(ctx context.Context) error {
	before, err := b.fleet.until(ctx, "all nodes agree", func(l live) bool { return l.Agreed })
	if err != nil {
		return err
	}
	b.control.Kill()
	if err := b.startControl(ctx); err != nil {
		return err
	}
	ready := time.Now()
	after, err := b.fleet.until(ctx, "all nodes are back", func(l live) bool { return l.Connected == l.Nodes && l.Agreed })
	if err != nil {
		return err
	}
	b.result.RestartSeconds = ready.Sub(b.control.Began).Seconds()
	b.result.ResyncSeconds = time.Since(b.control.Began).Seconds()
	handshakes := after.Handshakes - before.Handshakes
	b.result.HandshakeBytes = float64(handshakes) / float64(b.Nodes)
	b.result.ResyncBytes = float64(after.ReadBytes-before.ReadBytes-handshakes) / float64(b.Nodes)
	if full := after.FullStates - before.FullStates; full > 0 {
		return fmt.Errorf("%d nodes took a snapshot though nothing had changed", full)
	}
	return nil
}

// writers is how many administrators write at once.
const writers = 8

// writes counts transactions while the fleet follows them.
func (b *bench) writes(ctx context.Context) error {
	profiled := b.profiles(ctx, "following", writing)
	newest, perSecond, err := b.write(ctx)
	if err := errors.Join(err, profiled()); err != nil {
		return err
	}
	b.result.WritesPerSecond = perSecond
	_, err = b.fleet.at(ctx, newest)
	return err
}

// writesAlone counts them with nobody following.
func (b *bench) writesAlone(ctx context.Context) (err error) {
	profiled := b.controlProfile(ctx, "writes", writing)
	_, b.result.WritesAlone, err = b.write(ctx)
	return errors.Join(err, profiled())
}

// writing is how long administrators write.
const writing = 10 * time.Second

// write has several administrators change tools as fast as they can. It returns the last revision and how many there were a second.
func (b *bench) write(ctx context.Context) (newest uint64, perSecond float64, err error) {
	within, cancel := context.WithTimeout(ctx, min(b.For, writing))
	defer cancel()
	var mu sync.Mutex
	var done int
	var group sync.WaitGroup
	began := time.Now()
	for w := range writers {
		group.Go(func() {
			for n := w; within.Err() == nil; n += writers {
				revision, failed := b.change(ctx, n)
				mu.Lock()
				if failed != nil {
					err = failed
				} else {
					done, newest = done+1, max(newest, revision)
				}
				mu.Unlock()
				if failed != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return newest, float64(done) / time.Since(began).Seconds(), err
}

// agreement ends the fleet: without it there are no figures.
func (b *bench) agreement(ctx context.Context) (err error) {
	within, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	l, err := b.fleet.until(within, "all nodes have one digest", func(l live) bool { return l.Agreed && l.Connected == l.Nodes })
	if err != nil {
		return fmt.Errorf("the run is void: %w", err)
	}
	if l.Rejects > 0 {
		return fmt.Errorf("the run is void: %d resources were rejected", l.Rejects)
	}
	if b.result.ControlPeak, err = b.control.Memory(); err != nil {
		return err
	}
	m, err := b.fleet.Memory()
	if err != nil {
		return err
	}
	b.result.Fleet, b.result.Agreed = m, true
	if err := b.profile(ctx, "control-heap-end", "heap"); err != nil {
		return err
	}
	stopped := b.fleet.Stop()
	b.fleet.Process = nil
	return stopped
}
