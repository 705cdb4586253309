// SPDX-License-Identifier: Apache-2.0

// Soak keeps many legacy sessions with open streams on one node for a while and watches whether goroutines or memory
// grow. On the way it reads what an idle session and an open stream cost (goals P-5 and P-6 of performance.md).
//
// It starts penstock-standalone, an MCP server to put behind it, and ends both. `make bench` runs it.
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

// settings of one run.
type settings struct {
	Sessions int           // sessions, each with one open stream
	Duration time.Duration // how long they stay open
	Every    time.Duration // between two readings
	Bin      string        // folder with penstock-standalone
	Out      string        // folder for the JSON and the plot; empty prints the table only
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run is the program: figures go to out, what happens to log. It fails if goroutines or memory grew.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	r, err := soak(ctx, s, log)
	if err != nil {
		return err
	}
	if s.Out != "" {
		if err := r.write(s.Out); err != nil {
			return err
		}
	}
	if err := r.writeTable(out); err != nil {
		return err
	}
	return r.growth()
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.IntVar(&s.Sessions, "sessions", 1000, "`number` of sessions with an open stream")
	f.DurationVar(&s.Duration, "duration", 10*time.Minute, "`duration` for which they stay open")
	f.DurationVar(&s.Every, "every", 10*time.Second, "`duration` between two readings")
	f.StringVar(&s.Bin, "bin", "bin", "`folder` of penstock-standalone")
	f.StringVar(&s.Out, "out", "", "write JSON and a plot into this `folder`")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	switch {
	case f.NArg() > 0:
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.Sessions < 1 || s.Every <= 0 || s.Duration < 2*s.Every:
		return settings{}, errors.New("want at least one session, and a duration of at least two readings")
	}
	return s, nil
}
