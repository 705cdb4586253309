// SPDX-License-Identifier: Apache-2.0

// Command commitstorm proves the revision log: it commits to a PostgreSQL of its own from many sides, while connections are
// killed, contexts end and the database is stopped in the middle of its work, and checks that the log has every commit once
// and in order (distribution.md, section 12). It prints its result as JSON, and goes on where it was when it is started again
// with the same directory.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/controlplane/internal/catalog/storetest/storm"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore"
	"github.com/penstockhq/penstock/controlplane/internal/sqlstore/pgserver"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

func main() {
	c := storm.Config{}
	dir := flag.String("dir", "", "directory of the database and of the state, kept for continuing; empty is a temporary one")
	out := flag.String("result", "", "file that gets the result, also while it runs; empty is standard output at the end")
	flag.Int64Var(&c.Commits, "commits", 100_000, "revisions to make and check")
	flag.IntVar(&c.Parallel, "writers", 12, "writers at the same time")
	flag.Uint64Var(&c.Seed, "seed", 1, "seed of what the writers do")
	flag.DurationVar(&c.KillEvery, "kill-every", 500*time.Millisecond, "mean time between two rounds of killed connections; 0 is never")
	flag.DurationVar(&c.RestartEvery, "restart-every", 30*time.Second, "mean time between two stops of the database; 0 is never")
	flag.DurationVar(&c.CheckEvery, "check-every", 15*time.Second, "time between two comparisons")
	flag.Parse()
	ctx, stop := run.UntilSignal(context.Background())
	defer stop()
	result, err := weather(ctx, c, *dir, *out)
	if err == nil {
		err = write(*out, result)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "commitstorm:", err)
	}
	if err != nil || result.Bad() > 0 {
		os.Exit(1)
	}
}

// weather starts a database and storms on it.
func weather(ctx context.Context, c storm.Config, dir, out string) (result storm.Result, err error) {
	server := &pgserver.Server{}
	if dir != "" {
		server.Dir, c.State = filepath.Join(dir, "postgres"), filepath.Join(dir, "state.json")
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if err := server.Start(ctx); err != nil {
		return result, err
	}
	url, err := server.Create(ctx, "storm")
	if err != nil {
		return result, err
	}
	writers, err := sqlstore.Open(ctx, url)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, writers.Close()) }()
	reader, err := sqlstore.Open(ctx, url)
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if err := server.SlowCommits(ctx, url); err != nil {
		return result, err
	}
	c.Writers, c.Reader, c.Breaker = writers, reader, breaker{server, url}
	c.Progress = func(r storm.Result) {
		fmt.Fprintf(os.Stderr, "%d commits, %.0f/s, %d errors, %d kills, %d restarts, %d lost, %d reordered, %d phantom\n",
			r.Commits, r.Rate, r.Errors, r.Kills, r.Restarts, r.Lost, r.Reordered, r.Phantom)
		if out != "" {
			_ = write(out, r) // the next one comes soon
		}
	}
	return storm.Run(ctx, c)
}

// breaker kills a few connections of one database.
type breaker struct {
	server *pgserver.Server
	url    string
}

const victims = 3

func (b breaker) Kill(ctx context.Context) error {
	_, err := b.server.Kill(ctx, b.url, victims)
	return err
}

func (b breaker) Restart(ctx context.Context) error { return b.server.Restart(ctx) }

func write(path string, r storm.Result) error {
	body, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if path == "" {
		_, err = os.Stdout.Write(append(body, '\n'))
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o600)
}
