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
)

// settings of one measurement.
type settings struct {
	Corpus   string // folder of the recorded lists
	Queries  string // file of the labelled queries
	Out      string // folder for the JSON; empty prints the table only
	Misses   bool   // print what the tuning half did not find
	Endpoint string // URL of an embeddings endpoint, for rows with re-ranking beside those without; empty for none
	Model    string // what the endpoint calls its model
	Check    bool   // fail if a goal is missed
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "search:", err)
		os.Exit(1)
	}
}

func parseSettings(args []string) (settings, error) {
	s := settings{}
	f := flag.NewFlagSet("search", flag.ContinueOnError)
	f.StringVar(&s.Corpus, "corpus", "deploy/bench/out/corpus", "`folder` of what the record command wrote")
	f.StringVar(&s.Queries, "queries", "deploy/bench/search/queries.jsonl", "`file` of the labelled queries")
	f.StringVar(&s.Out, "out", "", "write search.json into this `folder`")
	f.BoolVar(&s.Misses, "misses", false, "print each query of the tuning half whose tool was not among the first five")
	f.StringVar(&s.Endpoint, "embeddings", "", "`URL` of an OpenAI-compatible embeddings endpoint: adds rows with re-ranking, and what it costs")
	f.StringVar(&s.Model, "model", "", "what the endpoint calls its `model`")
	f.BoolVar(&s.Check, "check", false, "fail if a goal is missed on the test half")
	if err := f.Parse(args); err != nil {
		return settings{}, err
	}
	if f.NArg() > 0 {
		return settings{}, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	return s, nil
}

// run is the program: figures go to out.
func run(ctx context.Context, args []string, out io.Writer) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	tools, err := readCorpus(s.Corpus)
	if err != nil {
		return err
	}
	queries, err := readQueries(s.Queries)
	if err != nil {
		return err
	}
	queries, missing := answerable(queries, tools)
	var near *meanings
	if s.Endpoint != "" {
		if near, err = openMeanings(ctx, s.Endpoint, s.Model, tools, queries); err != nil {
			return err
		}
	}
	r, misses, err := measure(ctx, tools, queries, near)
	if err != nil {
		return err
	}
	r.LeftOut = missing
	if s.Misses {
		for _, m := range misses {
			_, _ = fmt.Fprintln(out, m)
		}
	}
	if s.Out != "" {
		if err := r.writeJSON(filepath.Join(s.Out, "search.json")); err != nil {
			return err
		}
	}
	if err := r.writeTable(out); err != nil {
		return err
	}
	if missed := r.missed(); s.Check && len(missed) > 0 {
		return fmt.Errorf("goals missed: %v", missed)
	}
	return nil
}
