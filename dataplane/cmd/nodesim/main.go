// SPDX-License-Identifier: Apache-2.0

// Command nodesim is a fleet of nodes in one process: each has its own connection, certificate and the real stream
// client. It prints a report as JSON and fails unless all nodes end with the same configuration.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/penstockhq/penstock/dataplane/internal/follow/sim"
	"github.com/penstockhq/penstock/sdk/kit/run"
)

func main() {
	var c sim.Config
	endpoints := flag.String("endpoints", "127.0.0.1:8082", "node streams of the control planes, host:port, separated by commas")
	regions := flag.String("regions", "eu", "regions of the nodes, separated by commas")
	flag.StringVar(&c.CACert, "ca-cert", "", "certificate file of the authority that issues the nodes' certificates")
	flag.StringVar(&c.CAKey, "ca-key", "", "its key file")
	flag.StringVar(&c.TrustDomain, "trust-domain", "penstock.internal", "trust domain of the SPIFFE IDs")
	flag.IntVar(&c.Nodes, "nodes", 100, "number of nodes, 1 to 10,000")
	flag.IntVar(&c.Real, "real", 20, "nodes with the real compiler; the others only keep the state")
	flag.DurationVar(&c.ApplyDelay, "apply-delay", 0, "how much longer a node takes to enforce something")
	flag.Float64Var(&c.Slow, "slow", 0, "share of nodes that read 40 KB a second, 0 to 1")
	flag.Float64Var(&c.Flaps, "flaps", 0, "connections that break each second, over all nodes")
	flag.DurationVar(&c.For, "for", time.Minute, "how long the run takes")
	flag.DurationVar(&c.Settle, "settle", 30*time.Second, "how long the nodes may take after it to agree")
	flag.StringVar(&c.Listen, "listen", "", "where a driver asks for /live and /revisions, host:port; empty for nowhere")
	detail := flag.Bool("detail", false, "list each revision in the report")
	flag.Parse()
	c.Endpoints, c.Regions = strings.Split(*endpoints, ","), strings.Split(*regions, ",")

	// A thousand nodes make in one process a thousand times the garbage of one, and what it holds is looked through each time.
	debug.SetGCPercent(300)
	ctx, stop := run.UntilSignal(context.Background())
	defer stop()
	report, err := sim.Run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "nodesim:", err)
		os.Exit(1)
	}
	if !*detail {
		report.Revisions = nil
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil || !report.Agreed {
		fmt.Fprintln(os.Stderr, "nodesim: the nodes do not agree")
		os.Exit(1)
	}
}
