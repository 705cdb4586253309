// SPDX-License-Identifier: Apache-2.0

// Command controlplane holds what an organisation configured and pushes it to the data-plane nodes.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// version is set by the linker.
var version = "dev"

const flushTimeout = 5 * time.Second

func main() {
	var s controlplane.Settings
	result, err := conf.Load(conf.Program{
		Name: "controlplane", Version: version, Summary: "Holds the configuration and pushes it to nodes.",
		Args: os.Args[1:], Environ: os.Environ(),
	}, &s)
	if code, exit := result.Finish(os.Stdout, os.Stderr, err); exit {
		os.Exit(code)
	}
	code, _ := conf.Result{}.Finish(os.Stdout, os.Stderr, serve(s))
	os.Exit(code)
}

func serve(s controlplane.Settings) (err error) {
	if s.Approvals.Rotate {
		return controlplane.RotateApprovalKeyset(s)
	}
	ctx, stop := run.UntilSignal(context.Background())
	defer stop()
	telemetry, flush, err := obs.Start(ctx, obs.Config{
		Service: "penstock-controlplane", Version: version, OTLPEndpoint: s.Telemetry.OTLP,
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
	if s.Copy.To != "" {
		return controlplane.CopyDatabase(ctx, s, telemetry.Log)
	}
	if s.Epoch.New != "" {
		return controlplane.NewEpoch(ctx, s, telemetry.Log)
	}
	server, err := controlplane.New(controlplane.Config{Settings: s, Version: version, Telemetry: telemetry})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
