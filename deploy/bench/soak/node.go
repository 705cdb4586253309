// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// perTeam is how many sessions one team's token has: below the 32 streams that a principal may have at a gateway.
const perTeam = 25

// node is a running penstock-standalone with a gateway "soak".
type node struct {
	*proc.Process
	mcp, admin, ops string   // host:port
	tokens          []string // one for each perTeam sessions
}

// url is the endpoint of the gateway.
func (n *node) url() string { return "http://" + n.mcp + "/v1/mcp/soak" }

// startNode starts penstock-standalone with its data in dir.
func startNode(ctx context.Context, s settings, dir, upstream string) (*node, error) {
	n := &node{}
	var controlplane, authserver string
	for _, addr := range []*string{&n.mcp, &n.admin, &n.ops, &controlplane, &authserver} {
		var err error
		if *addr, err = proc.FreeAddress(); err != nil {
			return nil, err
		}
	}
	program, err := filepath.Abs(filepath.Join(s.Bin, "penstock-standalone"))
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	n.Process, err = proc.Start(dir, "penstock", program, "--data_dir", data, "--mcp.listen", n.mcp, "--mcp.url", "http://"+n.mcp,
		"--admin.listen", n.admin, "--ops.dataplane", n.ops, "--ops.controlplane", controlplane, "--ops.authserver", authserver)
	if err != nil {
		return nil, err
	}
	err = n.Ready(ctx, n.ops)
	if err == nil {
		err = n.configure(ctx, filepath.Join(data, "admin.token"), upstream, (s.Sessions+perTeam-1)/perTeam)
	}
	if err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

// configure makes the gateway, and teams with a token each.
func (n *node) configure(ctx context.Context, tokenFile, upstream string, teams int) error {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	client, err := admin.New("http://"+n.admin, string(bytes.TrimSpace(token)))
	if err != nil {
		return err
	}
	apply := func(yaml string) error {
		set, err := manifest.Load([]manifest.Source{{Name: "soak.yaml", Data: []byte(yaml)}}, manifest.Secrets{})
		if err != nil {
			return err
		}
		_, err = client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources})
		return err
	}
	var yaml strings.Builder
	fmt.Fprintf(&yaml, "kind: Server\nname: soak\nstreamable_http: {url: %q}\nvisibility: {organization: {}}\n", upstream)
	yaml.WriteString("---\nkind: Connection\nname: soak\nserver: soak\nowner: {organization: {}}\n")
	for i := range teams {
		fmt.Fprintf(&yaml, "---\nkind: Team\nname: team-%d\n", i)
	}
	if err := apply(yaml.String()); err != nil {
		return err
	}
	if _, err := client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: "soak"}); err != nil {
		return fmt.Errorf("discover: %w", err)
	}
	err = apply("kind: Gateway\nname: soak\nvisibility: {organization: {}}\nauthentication: {bearer_token: {}}\n" +
		"tools:\n- {tool: soak/echo, pinned: {connection: soak}}\n")
	if err != nil {
		return err
	}
	for i := range teams {
		team := fmt.Sprintf("team-%d", i)
		made, err := client.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
			Name: team, Gateways: []string{"soak"}, Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Team{Team: team}},
		}})
		if err != nil {
			return fmt.Errorf("make a token: %w", err)
		}
		n.tokens = append(n.tokens, made.GetToken())
	}
	_, err = client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(time.Minute)})
	return err
}

// reading is what the process says of itself.
type reading struct {
	Seconds    float64 `json:"seconds"` // since the streams are open
	Goroutines int64   `json:"goroutines"`
	Live       int64   `json:"live_bytes"` // heap after a collection, and stacks
	RSS        int64   `json:"rss_bytes"`
}

// read collects the garbage and reads the figures.
func (n *node) read(ctx context.Context) (reading, error) {
	if _, err := proc.Fetch(ctx, "http://"+n.ops+"/debug/pprof/heap?gc=1"); err != nil {
		return reading{}, err
	}
	page, err := proc.Fetch(ctx, "http://"+n.ops+"/metrics")
	if err != nil {
		return reading{}, err
	}
	values := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(page)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = number
		}
	}
	memory, err := n.Memory()
	if err != nil {
		return reading{}, err
	}
	r := reading{
		Goroutines: int64(values["go_goroutines"]), RSS: memory.RSS,
		Live: int64(values["go_memstats_heap_alloc_bytes"] + values["go_memstats_stack_inuse_bytes"]),
	}
	if r.Goroutines == 0 || r.Live == 0 {
		return reading{}, errors.New("the metrics page does not tell goroutines and memory")
	}
	return r, nil
}

// settle reads until two readings agree: what earlier work left behind takes the collector more than one round to free.
func (n *node) settle(ctx context.Context) (reading, error) {
	last, err := n.read(ctx)
	for range 20 {
		if err != nil {
			return reading{}, err
		}
		var next reading
		next, err = n.read(ctx)
		if err == nil && float64(next.Live) > float64(last.Live)*0.99 {
			return next, nil
		}
		last = next
	}
	return last, err
}
