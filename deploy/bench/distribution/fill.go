// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/deploy/bench/synthetic"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// leftover is what a run leaves in the folder for the next one.
type leftover struct {
	Catalogue string `json:"catalogue"`
	Upstream  string `json:"upstream"` // address of the MCP servers, which is in the configuration
	Token     string `json:"token"`
	Edits     int    `json:"edits"` // tools whose definition was changed
}

func (b *bench) leftoverFile() string { return filepath.Join(b.dir, "filled.json") }

// configured starts the control plane, with the whole configuration in its database.
func (b *bench) configured(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	l := leftover{Upstream: "127.0.0.1:0"}
	text, err := os.ReadFile(b.leftoverFile())
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("read %s: %w", b.leftoverFile(), err)
		}
		if l.Catalogue != b.catalogue.String() {
			return fmt.Errorf("the folder %s holds another catalogue: %s", b.dir, l.Catalogue)
		}
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	address, stop, err := b.serveUpstream(l.Upstream)
	if err != nil {
		return err
	}
	b.stopUpstream = stop
	if err := b.startControl(ctx); err != nil {
		return err
	}
	token, err := os.ReadFile(b.tokenFile())
	if err != nil {
		return err
	}
	if b.client, err = admin.New("http://"+b.adminAddr, string(bytes.TrimSpace(token))); err != nil {
		return err
	}
	if b.token, b.left = l.Token, l; b.token != "" {
		b.say("using what is in %s", b.dir)
		for range l.Edits {
			b.upstream.Edit()
		}
		return nil
	}
	if err := b.fill(ctx, "http://"+address); err != nil {
		return err
	}
	b.left = leftover{Catalogue: b.catalogue.String(), Upstream: address, Token: b.token}
	return b.leave()
}

// leave notes what the next run has to know.
func (b *bench) leave() error {
	text, err := json.Marshal(b.left)
	if err != nil {
		return err
	}
	return os.WriteFile(b.leftoverFile(), text, 0o600)
}

// gatewaysPerApply keeps one change below the 10,000 resources of D-29.
const gatewaysPerApply = 500

// team is whom a gateway is hidden from and shown to again.
const team = "bench"

// fill makes the whole configuration through the admin API, with a node to discover the tools.
func (b *bench) fill(ctx context.Context, upstream string) (err error) {
	node, err := b.startNode()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Stop()) }()
	if err := node.Ready(ctx, b.nodeOps); err != nil {
		return err
	}
	began := time.Now()
	resources := append(b.catalogue.Installed(upstream), &adminv1.ManifestResource{
		Resource: &adminv1.ManifestResource_Team{Team: &resourcev1.Team{Name: team}},
	})
	if _, err := b.client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: resources}); err != nil {
		return fmt.Errorf("apply the servers: %w", err)
	}
	for n := range b.Servers {
		found, err := b.client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: synthetic.ServerName(n)})
		if err != nil {
			return fmt.Errorf("discover %s: %w", synthetic.ServerName(n), err)
		}
		if len(found.GetTools()) != b.Tools/b.Servers {
			return fmt.Errorf("discover %s: %d tools, want %d", synthetic.ServerName(n), len(found.GetTools()), b.Tools/b.Servers)
		}
	}
	b.say("%d tools discovered after %s", b.Tools, time.Since(began).Round(time.Millisecond))
	applied := time.Now()
	for first := 0; first < b.Gateways; first += gatewaysPerApply {
		end := min(first+gatewaysPerApply, b.Gateways)
		if _, err := b.client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: b.catalogue.Published(first, end)}); err != nil {
			return fmt.Errorf("apply gateways %d to %d: %w", first, end, err)
		}
	}
	b.result.BatchedPerSecond = float64(b.Gateways+b.Tools) / time.Since(applied).Seconds()
	b.say("%d gateways applied after %s", b.Gateways, time.Since(began).Round(time.Millisecond))
	made, err := b.client.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: "bench", Gateways: []string{synthetic.GatewayName(0)},
		Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
	}})
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	b.token = made.GetToken()
	waited, err := b.client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(4 * time.Minute)})
	if err != nil {
		return fmt.Errorf("wait for the node: %w", err)
	}
	if !waited.GetEnforced() {
		return fmt.Errorf("the node is still lagging: %q", waited.GetLaggingNodes())
	}
	return nil
}
