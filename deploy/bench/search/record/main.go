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
	"path/filepath"
	"syscall"
	"time"
)

// settings of one recording.
type settings struct {
	Packages string        // file that names the servers
	Out      string        // folder of the recorded lists
	Wait     time.Duration // for one server to list its tools
	Install  time.Duration // for one package to install
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("record", flag.ContinueOnError)
	f.StringVar(&s.Packages, "packages", "deploy/bench/search/packages.json", "`file` that names the packages")
	f.StringVar(&s.Out, "out", "deploy/bench/out/corpus", "`folder` for the recorded lists; what is there already is not recorded again")
	f.DurationVar(&s.Wait, "wait", time.Minute, "`time` for one server to start and list its tools")
	f.DurationVar(&s.Install, "install", 5*time.Minute, "`time` for one package to install")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	return s, nil
}

// run records every package that has no list yet, one after the other, and says what came of each.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	packages, err := readPackages(s.Packages)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Out, 0o750); err != nil {
		return err
	}
	servers, tools, missing := 0, 0, 0
	for _, p := range packages {
		n, err := recorded(s.Out, p)
		if err == nil && n == 0 {
			n, err = record(ctx, s, p)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			missing++
			_, _ = fmt.Fprintf(out, "%s: left out: %v\n", p.Package, err)
			continue
		}
		servers, tools = servers+1, tools+n
		_, _ = fmt.Fprintf(out, "%s: %d tools\n", p.Package, n)
	}
	_, _ = fmt.Fprintf(out, "%d tools of %d servers in %s; %d left out\n", tools, servers, filepath.Clean(s.Out), missing)
	if servers == 0 {
		return errors.New("no server listed its tools: is npm there, and does it reach its registry?")
	}
	return nil
}
