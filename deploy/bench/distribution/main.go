// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// settings of one measurement.
type settings struct {
	Nodes    int           // simulated nodes
	Gateways int           // in the catalogue
	Tools    int           // in all, each on one gateway
	Servers  int           // MCP servers that have them
	Seed     uint64        // of the catalogue
	For      time.Duration // of the steady part
	Rate     int           // changes a second in it
	Burst    int           // changes in the burst
	Real     int           // simulated nodes that are whole and compile
	Procs    int           // GOMAXPROCS of the control plane
	Settle   time.Duration // pause before memory is read, and of the idle part
	Dir      string        // folder to work in and to keep; empty is a temporary one
	Bin      string        // folder of the binaries; empty builds them
	Out      string        // folder for JSON and plot; empty prints the table only
	Profiles string        // folder for profiles of the control plane and of nodesim; empty writes none
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "distribution:", err)
		os.Exit(1)
	}
}

// run is the program: figures go to out, what happens to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	r, err := measure(ctx, s, log)
	if err != nil {
		return err
	}
	if s.Out != "" {
		if err := r.writeFiles(s.Out); err != nil {
			return err
		}
	}
	return r.writeTable(out)
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("distribution", flag.ContinueOnError)
	f.IntVar(&s.Nodes, "nodes", 1000, "`number` of simulated nodes, each with its own connection")
	f.IntVar(&s.Gateways, "gateways", 2000, "`number` of gateways, with Zipf sizes")
	f.IntVar(&s.Tools, "tools", 20_000, "`number` of tools in all, a multiple of the servers")
	f.IntVar(&s.Servers, "servers", 20, "`number` of MCP servers that have them")
	f.Uint64Var(&s.Seed, "seed", 1, "`number` from which the catalogue is made")
	f.DurationVar(&s.For, "for", time.Minute, "`duration` of the steady part")
	f.IntVar(&s.Rate, "rate", 10, "`number` of changes a second in it, one tool each")
	f.IntVar(&s.Burst, "burst", 10_000, "`number` of changes in the burst, at most half of the tools")
	f.IntVar(&s.Real, "real", 20, "`number` of the nodes that are whole and compile, each in about 2 KB of memory per tool; the others share what they hold")
	f.IntVar(&s.Procs, "procs", 2, "GOMAXPROCS of the control plane")
	f.DurationVar(&s.Settle, "settle", 15*time.Second, "`duration` of doing nothing before memory is read")
	f.StringVar(&s.Dir, "dir", "", "work in this `folder` and keep it: a later run with the same catalogue need not fill the control plane again")
	f.StringVar(&s.Bin, "bin", "", "`folder` of the binaries controlplane, dataplane and nodesim; default: build them")
	f.StringVar(&s.Out, "out", "", "write distribution.json and distribution.svg into this `folder`")
	f.StringVar(&s.Profiles, "profiles", "", "write profiles of the control plane and of nodesim into this `folder`")
	smoke := f.Bool("smoke", false, "20 nodes, two of them whole, 100 gateways, 3 s: checks that everything arrives, measures nothing")
	full := f.Bool("full", false, "10,000 gateways and 100,000 tools, the size of the goals: takes about 20 minutes on two CPUs")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if *full {
		s.Gateways, s.Tools, s.Servers = 10_000, 100_000, 100
	}
	if *smoke {
		s.Nodes, s.Real, s.Gateways, s.Tools, s.Servers, s.For, s.Burst, s.Settle = 20, 2, 100, 1000, 4, 3*time.Second, 400, time.Second
	}
	switch {
	case f.NArg() > 0:
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.Nodes < 1 || s.Rate < 1 || s.For < time.Second || s.Procs < 1 || s.Real < 0:
		return settings{}, errors.New("want at least one node, a rate of 1, one second and one processor, and no negative number")
	case s.Gateways < 2 || s.Servers < 1 || s.Tools < 2*s.Gateways || s.Tools%s.Servers != 0:
		return settings{}, fmt.Errorf("%d tools: want a multiple of %d servers and two for each of %d gateways", s.Tools, s.Servers, s.Gateways)
	}
	s.Burst, s.Real = max(1, min(s.Burst, s.Tools/2)), min(s.Real, s.Nodes)
	return s, nil
}
