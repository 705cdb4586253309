// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/penstockhq/penstock/deploy/bench/proc"
)

// allocation is what one steady call allocates in the process that runs it. The caller and the MCP server are elsewhere.
type allocation struct {
	Name    string  `json:"name"`
	Process string  `json:"process"` // which is counted
	Count   float64 `json:"count"`   // per call, the least of three times

	// Baseline is what the count was when it was last looked at, zero for none: more than a tenth above it is a regression.
	Baseline float64 `json:"baseline,omitzero"`

	gateway string
	goal    float64 // zero is none
}

// fewest calls are counted where a count is compared: what a node does beside calls counts little then.
const fewest = 1000

// regressed returns an error for counts that are above their baseline.
func regressed(counted []allocation, calls int) error {
	var err error
	for _, a := range counted {
		if calls >= fewest && a.Baseline > 0 && a.Count > 1.1*a.Baseline {
			err = errors.Join(err, fmt.Errorf("%s: %.1f, and the baseline is %.1f: find what allocates with -profiles, or change the baseline", a.Name, a.Count, a.Baseline))
		}
	}
	return err
}

// Processes whose allocations are counted. The goal is about a node alone; standalone does the work of a control plane meanwhile, which
// stores an event of each call.
const (
	nodeAlone  = "dataplane"
	standalone = "penstock-standalone"
)

func allocations(process string) []allocation {
	without := allocation{Name: "P-13 allocations per tools/call in the " + process + " process, without a policy", Process: process, gateway: plain}
	with := allocation{Name: "P-13 allocations per tools/call in the " + process + " process, with a policy on arguments", Process: process, gateway: ruled}
	if process == nodeAlone {
		without.goal, with.goal = 45, 65
		without.Baseline, with.Baseline = 43.4, 50.3
	}
	return []allocation{without, with}
}

// measureNode starts a node with a control plane and an authserver beside it, counts what its calls allocate, and ends all three.
func measureNode(ctx context.Context, s settings, upstream string) (_ []allocation, err error) {
	dir, err := os.MkdirTemp("", "bench-first-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	name := clientName(0, 0)
	n, err := startApart(ctx, s, dir, upstream, []string{name})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.Stop()) }()
	return n.measureAllocations(ctx, s, name, nodeAlone)
}

// callArguments are those of the calls whose allocations are counted.
const callArguments = `{"environment":"dev","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}`

// measureAllocations counts what steady calls of one caller allocate, of each gateway in turn.
func (n *node) measureAllocations(ctx context.Context, s settings, client, process string) ([]allocation, error) {
	measured := allocations(process)
	for i := range measured {
		a := &measured[i]
		token, err := n.token(ctx, client, a.gateway)
		if err != nil {
			return nil, err
		}
		c := &caller{
			url: n.url(a.gateway), token: token, modern: true, tool: plain + "__" + n.tool, arguments: callArguments,
			http: &http.Client{Transport: &http.Transport{}},
		}
		keep := func(moment string) error { return n.profile(ctx, s.Profiles, process+"-"+a.gateway+"-"+moment) }
		a.Count = math.Inf(1)
		for range 3 { // what a process does beside its calls only adds to them
			count, err := n.allocated(ctx, c, s.Counted, keep)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.Name, err)
			}
			a.Count = min(a.Count, count)
		}
		c.http.CloseIdleConnections()
	}
	return measured, nil
}

// allocated returns the allocations of each of some calls, without those of asking for the number. keep is called before and after.
func (n *node) allocated(ctx context.Context, c *caller, calls int, keep func(moment string) error) (float64, error) {
	run := func() error {
		for range calls {
			if _, err := c.call(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(); err != nil { // pools and caches fill
		return 0, err
	}
	if err := keep("before"); err != nil {
		return 0, err
	}
	var at [3]float64
	for i := range at {
		if i == 2 {
			if err := run(); err != nil {
				return 0, err
			}
		}
		var err error
		if at[i], err = n.mallocs(ctx); err != nil {
			return 0, err
		}
	}
	return (at[2] - at[1] - (at[1] - at[0])) / float64(calls), keep("after")
}

// profile keeps what the node has allocated so far, if a folder is given.
func (n *node) profile(ctx context.Context, dir, name string) error {
	if dir == "" {
		return nil
	}
	page, err := proc.Fetch(ctx, "http://"+n.ops+"/debug/pprof/allocs?gc=1")
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(dir, 0o750), os.WriteFile(filepath.Join(dir, name+".pprof"), page, 0o600))
}

// mallocs asks the node how much it has allocated so far.
func (n *node) mallocs(ctx context.Context) (float64, error) {
	page, err := proc.Fetch(ctx, "http://"+n.ops+"/metrics")
	if err != nil {
		return 0, err
	}
	m := regexp.MustCompile(`(?m)^go_memstats_mallocs_total(?:\{[^}]*\})? (\S+)$`).FindSubmatch(page)
	if m == nil {
		return 0, errors.New("the node does not tell how much it has allocated")
	}
	return strconv.ParseFloat(string(m[1]), 64)
}
