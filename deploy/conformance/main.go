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
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/penstockhq/penstock/deploy/conformance/client"
)

// settings of one run.
type settings struct {
	Clients   string         // folder where the suite is installed
	Reference string         // program of the reference upstream
	Out       string         // folder for what the suite says, logs and the result
	Legs      *regexp.Regexp // which legs to run; stale exceptions count only in legs that ran
	Timeout   time.Duration  // of one run of the suite
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(os.Args) > 1 && os.Args[1] == commandClient {
		err = client.Main(ctx, os.Args[2:]) // the suite runs it
	} else {
		err = run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// run is the program: the table goes to out, what happens to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	results, err := conform(ctx, s, log)
	if err != nil {
		return err
	}
	if err := write(s.Out, results); err != nil {
		return err
	}
	if err := show(out, results); err != nil {
		return err
	}
	return judge(results)
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	pattern := ""
	f := flag.NewFlagSet("conformance", flag.ContinueOnError)
	f.StringVar(&s.Clients, "clients", "deploy/e2e/clients", "`folder` where the suite is installed")
	f.StringVar(&s.Reference, "reference", "", "`program` of the reference upstream, everything-server of the Go SDK")
	f.StringVar(&s.Out, "out", "deploy/conformance/out", "`folder` for results and logs; what is in it is removed")
	f.StringVar(&pattern, "legs", "", "run only legs whose name matches this `pattern`")
	f.DurationVar(&s.Timeout, "timeout", 2*time.Minute, "longest `duration` of one run of the suite")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	var err error
	if s.Legs, err = regexp.Compile(pattern); err != nil {
		return settings{}, fmt.Errorf("-legs: %w", err)
	}
	switch {
	case f.NArg() > 0:
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.Reference == "" && slices.ContainsFunc(legs(), func(l leg) bool { return s.Legs.MatchString(l.Name) }):
		return settings{}, errors.New("-reference is required; `make conformance` installs it")
	}
	return s, nil
}
