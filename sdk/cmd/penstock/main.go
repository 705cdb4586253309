// SPDX-License-Identifier: Apache-2.0

// Command penstock administers Penstock through its admin API.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/command"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/settings"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := command.Main(ctx, os.Args[1:], command.Process{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ReadFile: os.ReadFile, Version: version,
		Environment: settings.Environment{LookupEnv: os.LookupEnv, ConfigDir: configDir(), Dir: "."},
	})
	stop()
	os.Exit(code)
}

// configDir is ~/.config/penstock, or below XDG_CONFIG_HOME.
func configDir() string {
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "penstock")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".penstock-config" // no home: a place of its own, which need not exist
	}
	return filepath.Join(home, ".config", "penstock")
}
