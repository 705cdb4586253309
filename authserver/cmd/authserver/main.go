// SPDX-License-Identifier: Apache-2.0

// Command authserver logs people in and issues tokens for the gateways of Penstock; it keeps their upstream credentials,
// sealed, and releases them to data-plane nodes.
package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

// version is set by the linker.
var version = "dev"

const flushTimeout = 5 * time.Second

func main() {
	var s authserver.Settings
	result, err := conf.Load(conf.Program{
		Name: "authserver", Version: version, Summary: "Logs people in, issues tokens, and keeps upstream credentials, sealed.",
		Args: os.Args[1:], Environ: os.Environ(),
	}, &s)
	if code, exit := result.Finish(os.Stdout, os.Stderr, err); exit {
		os.Exit(code)
	}
	code, _ := conf.Result{}.Finish(os.Stdout, os.Stderr, serve(s))
	os.Exit(code)
}

func serve(s authserver.Settings) (err error) {
	if s.Vault.Rotate {
		return authserver.RotateKeyset(s)
	}
	ctx, stop := run.UntilSignal(context.Background())
	defer stop()
	if s.Audit.Export {
		return authserver.ExportAudit(ctx, s, os.Stdout)
	}
	telemetry, flush, err := obs.Start(ctx, obs.Config{
		Service: "penstock-authserver", Version: version, OTLPEndpoint: s.Telemetry.OTLP,
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
		return authserver.CopyDatabase(ctx, s, telemetry.Log)
	}
	c := authserver.Config{Settings: s, Version: version, Telemetry: telemetry}
	if s.Signing.Asked() {
		return authserver.Signing(ctx, c, os.Stdout)
	}
	server, err := authserver.New(c)
	if err != nil {
		return err
	}
	return server.Run(ctx)
}
