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
	Gateways int           // gateways, each with Tools/Gateways tools
	Tools    int           // tools in all, each on one gateway
	Servers  int           // MCP servers that have them
	Seed     uint64        // of the tools' texts
	Settle   time.Duration // pause before memory is read
	Dir      string        // folder to work in and to keep; empty is a temporary one
	Bin      string        // folder of the binaries; empty builds them
	Out      string        // file for the JSON; empty prints the table only
	Profiles string        // folder for heap profiles; empty writes none
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
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
		if err := r.writeJSON(s.Out); err != nil {
			return err
		}
	}
	return r.writeTable(out)
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("scale", flag.ContinueOnError)
	f.IntVar(&s.Gateways, "gateways", 10_000, "`number` of gateways")
	f.IntVar(&s.Tools, "tools", 100_000, "`number` of tools in all, a multiple of both other numbers")
	f.IntVar(&s.Servers, "servers", 100, "`number` of MCP servers that have them")
	f.Uint64Var(&s.Seed, "seed", 1, "`number` from which the tools are made")
	f.DurationVar(&s.Settle, "settle", 20*time.Second, "`duration` of doing nothing before memory is read")
	f.StringVar(&s.Dir, "dir", "", "work in this `folder` and keep it: a later run with the same numbers need not fill the control plane again")
	f.StringVar(&s.Bin, "bin", "", "`folder` of the binaries controlplane and dataplane; default: build them")
	f.StringVar(&s.Out, "out", "", "write the figures as JSON into this `file`")
	f.StringVar(&s.Profiles, "profiles", "", "write heap profiles into this `folder`")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	switch {
	case f.NArg() > 0:
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.Gateways < 1 || s.Servers < 1 || s.Tools < 1 || s.Tools%s.Gateways != 0 || s.Tools%s.Servers != 0:
		return settings{}, fmt.Errorf("%d tools: want a multiple of %d gateways and of %d servers", s.Tools, s.Gateways, s.Servers)
	}
	return s, nil
}
