// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// settings of one measurement.
type settings struct {
	Rounds      int           // visits to each system, at least 1
	Duration    time.Duration // of the measured part of a visit
	WarmUp      time.Duration // before it, not counted
	Concurrency []int         // workers, one connection and one request in flight each
	Workloads   []workload
	Systems     []string // descriptions of further systems, file names
	Root        string   // the repository, for {root} in those files
	Out         string   // directory for JSON and plots; empty: print only
	Smoke       bool     // a moment of each: answers are checked, figures mean nothing
}

// parseSettings reads the command line.
func parseSettings(args []string) (settings, error) {
	s := settings{Rounds: 3, Duration: 1500 * time.Millisecond, WarmUp: 300 * time.Millisecond}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	full := f.Bool("full", false, "7 rounds of 3 s, for a number that is published; the default is 3 rounds of 1.5 s")
	f.BoolVar(&s.Smoke, "smoke", false, "1 round of 0.2 s: checks that every system answers, measures nothing")
	f.StringVar(&s.Out, "out", "", "write results.json and the plots into this `directory`")
	f.StringVar(&s.Root, "root", ".", "the repository `directory`, {root} in descriptions of systems")
	concurrency := f.String("concurrency", "1,16,64", "comma-separated `numbers` of connections")
	names := f.String("workloads", "", "comma-separated `names`; default all: "+workloadNames())
	f.Func("system", "description `file` of a further system; repeatable", func(file string) error {
		s.Systems = append(s.Systems, file)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	switch {
	case s.Smoke:
		s.Rounds, s.Duration, s.WarmUp = 1, 200*time.Millisecond, 50*time.Millisecond
		*concurrency = "1,16"
	case *full:
		s.Rounds, s.Duration, s.WarmUp = 7, 3*time.Second, 500*time.Millisecond
	}
	for field := range strings.SplitSeq(*concurrency, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < 1 || n > 1024 {
			return settings{}, fmt.Errorf("-concurrency %q: want numbers from 1 to 1024", *concurrency)
		}
		s.Concurrency = append(s.Concurrency, n)
	}
	var err error
	if s.Workloads, err = pickWorkloads(*names); err != nil {
		return settings{}, err
	}
	if s.Root, err = filepath.Abs(s.Root); err != nil {
		return settings{}, fmt.Errorf("-root: %w", err)
	}
	return s, nil
}
