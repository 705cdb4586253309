// SPDX-License-Identifier: Apache-2.0

// First measures what the first call of a caller costs more than the next: a token that the node has not seen, a server that it has no
// session with for this caller, a credential that it has to ask the authserver for (goal P-7 of performance.md). Beside it stand the
// parts of which that is made, as the benchmarks of their rooms measure them (P-8), and what a steady call allocates (P-13).
//
// It starts penstock-standalone and an MCP server to put behind it, makes callers, each a client with a token of its own, and ends all.
// For P-13 it then does the same with a node, a control plane and an authserver in processes of their own, and counts in the node;
// it fails if that is more than it was.
// `make bench` runs it.
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
)

// settings of one run.
type settings struct {
	Callers int    // of each kind, each with one first call
	Steady  int    // calls of each after it
	Counted int    // calls of which the allocations are counted
	Rooms   string // -benchtime of the rooms' benchmarks
	Rounds  int    // of each of those
	Bin     string // folder of the binaries
	Root    string // the repository, whose benchmarks are run
	Out     string // folder for the JSON; empty prints the table only
	// Profiles is a folder for what the node had allocated before and after the calls that are counted; empty writes none.
	Profiles string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "first:", err)
		os.Exit(1)
	}
}

// run is the program: figures go to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	r := &result{Callers: s.Callers}
	if r.Kinds, r.Allocations, err = measureCalls(ctx, s); err != nil {
		return err
	}
	if s.Rooms != "" {
		if r.Rooms, err = measureRooms(ctx, s); err != nil {
			return err
		}
	}
	if s.Out != "" {
		if err := r.write(s.Out); err != nil {
			return err
		}
	}
	return errors.Join(r.writeTable(out), regressed(r.Allocations, s.Counted))
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("first", flag.ContinueOnError)
	f.IntVar(&s.Callers, "callers", 100, "`number` of callers of each kind")
	f.IntVar(&s.Steady, "steady", 50, "`number` of calls of each after its first")
	f.IntVar(&s.Counted, "counted", 5000, "`number` of calls of which the allocations are counted")
	f.StringVar(&s.Rooms, "benchtime", "1s", "`-benchtime` of the rooms' benchmarks; empty runs none")
	f.IntVar(&s.Rounds, "rounds", 5, "`number` of rounds of those, of which the median counts")
	f.StringVar(&s.Bin, "bin", "bin", "`folder` of the binaries penstock-standalone, controlplane, authserver and dataplane")
	f.StringVar(&s.Root, "root", ".", "the repository `directory`")
	f.StringVar(&s.Out, "out", "", "write first.json into this `folder`")
	f.StringVar(&s.Profiles, "profiles", "", "write profiles of what the node allocates into this `folder`, for go tool pprof -sample_index=alloc_objects -base NAME-before.pprof NAME-after.pprof")
	smoke := f.Bool("smoke", false, "a few callers and a moment of each benchmark: checks that all answer and that allocations are no more than they were, measures nothing else")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if *smoke {
		s.Callers, s.Steady, s.Counted, s.Rooms, s.Rounds = 3, 3, fewest, "5x", 1
	}
	switch {
	case f.NArg() > 0:
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.Callers < 1 || s.Callers > 300 || s.Steady < 1 || s.Counted < 1 || s.Rounds < 1:
		return settings{}, errors.New("want 1 to 300 callers, a steady call of each at least, one whose allocations are counted, and a round at least")
	}
	return s, nil
}
