// SPDX-License-Identifier: Apache-2.0

// Command penstock-standalone is all of Penstock in one process, with nothing else to install.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/penstockhq/penstock/deploy/standalone"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// version is set by the linker.
var version = "dev"

const flushTimeout = 5 * time.Second

func main() {
	var s standalone.Settings
	result, err := conf.Load(conf.Program{
		Name: "penstock-standalone", Version: version, Summary: "All of Penstock in one process.",
		Args: os.Args[1:], Environ: os.Environ(),
	}, &s)
	if code, exit := result.Finish(os.Stdout, os.Stderr, err); exit {
		os.Exit(code)
	}
	code, _ := conf.Result{}.Finish(os.Stdout, os.Stderr, serve(s))
	os.Exit(code)
}

func serve(s standalone.Settings) (err error) {
	if s.Approvals.Rotate {
		return standalone.RotateApprovalKeyset(s)
	}
	ctx, stop := run.UntilSignal(context.Background())
	defer stop()
	telemetry, flush, err := obs.Start(ctx, obs.Config{
		Service: "penstock-standalone", Version: version, OTLPEndpoint: s.Telemetry.OTLP,
		LogLevel: s.Log.Level, LogFormat: s.Log.Format,
	})
	if err != nil {
		return err
	}
	defer func() {
		// Detached: what was reported while stopping is sent too.
		bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
		defer cancel()
		err = errors.Join(err, flush(bound))
	}()
	all, err := standalone.New(standalone.Config{Settings: s, Version: version, Telemetry: telemetry})
	if err != nil {
		return err
	}
	greeting := run.Task{Name: "greeting", Run: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
		case <-all.Ready():
			fmt.Print(all.Greeting()) //nolint:forbidigo // what the person who started it reads
		}
		return nil
	}}
	return run.Group(ctx, run.Task{Name: "penstock", Run: all.Run}, greeting)
}
