// SPDX-License-Identifier: Apache-2.0

// Command dataplane is a node: it terminates MCP from clients, decides every call and sends it to the MCP servers.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// version is set by the linker.
var version = "dev"

const flushTimeout = 5 * time.Second

func main() {
	var s dataplane.Settings
	result, err := conf.Load(conf.Program{
		Name: "dataplane", Version: version, Summary: "Terminates MCP from clients and calls MCP servers.",
		Args: os.Args[1:], Environ: os.Environ(),
	}, &s)
	if code, exit := result.Finish(os.Stdout, os.Stderr, err); exit {
		os.Exit(code)
	}
	code, _ := conf.Result{}.Finish(os.Stdout, os.Stderr, serve(s))
	os.Exit(code)
}

func serve(s dataplane.Settings) (err error) {
	ctx, stop := run.UntilSignal(context.Background())
	defer stop()
	telemetry, flush, err := obs.Start(ctx, obs.Config{
		Service: "penstock-dataplane", Version: version, OTLPEndpoint: s.Telemetry.OTLP,
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
	server, err := dataplane.New(dataplane.Config{Settings: s, Version: version, Telemetry: telemetry})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
