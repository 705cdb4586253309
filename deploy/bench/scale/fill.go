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
	Catalogue string `json:"catalogue"` // numbers it was made from
	Upstream  string `json:"upstream"`  // address of the MCP servers, which is in the configuration
	Token     string `json:"token"`
}

const leftoverFile = "filled.json"

// left returns what an earlier run left, or an address for a first run.
func (b *bench) left() (leftover, error) {
	text, err := os.ReadFile(filepath.Join(b.dir, leftoverFile))
	if errors.Is(err, os.ErrNotExist) {
		return leftover{Upstream: "127.0.0.1:0"}, nil
	}
	if err != nil {
		return leftover{}, err
	}
	var l leftover
	if err := json.Unmarshal(text, &l); err != nil {
		return leftover{}, fmt.Errorf("read %s: %w", leftoverFile, err)
	}
	if l.Catalogue != b.catalogue.String() {
		return leftover{}, fmt.Errorf("the folder %s holds another catalogue: %s", b.dir, l.Catalogue)
	}
	b.say("using what is in %s", b.dir)
	return l, nil
}

func (b *bench) leave(upstream string) error {
	if b.Dir == "" {
		return nil
	}
	text, err := json.Marshal(leftover{Catalogue: b.catalogue.String(), Upstream: upstream, Token: b.token})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, leftoverFile), text, 0o600)
}

// fill makes the whole configuration through the admin API, with a node to discover the tools, and stops both.
func (b *bench) fill(ctx context.Context, upstream string, r *result) (err error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	control, node, err := b.both(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Stop(), control.Stop()) }()
	token, err := os.ReadFile(filepath.Join(b.dir, "admin.token"))
	if err != nil {
		return err
	}
	client, err := admin.New("http://"+b.adminAddr, string(bytes.TrimSpace(token)))
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: b.catalogue.Installed(upstream)}); err != nil {
		return fmt.Errorf("apply the servers: %w", err)
	}
	for n := range b.Servers {
		found, err := client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: synthetic.ServerName(n)})
		if err != nil {
			return fmt.Errorf("discover %s: %w", synthetic.ServerName(n), err)
		}
		if len(found.GetTools()) != b.Tools/b.Servers {
			return fmt.Errorf("discover %s: %d tools, want %d", synthetic.ServerName(n), len(found.GetTools()), b.Tools/b.Servers)
		}
		if (n+1)%max(1, b.Servers/10) == 0 {
			b.say("%d of %d servers discovered after %s", n+1, b.Servers, time.Since(began).Round(time.Second))
		}
	}
	for first := 0; first < b.Gateways; first += gatewaysPerApply {
		end := min(first+gatewaysPerApply, b.Gateways)
		if _, err := client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: b.catalogue.Published(first, end)}); err != nil {
			return fmt.Errorf("apply gateways %d to %d: %w", first, end, err)
		}
		b.say("%d of %d gateways applied after %s", end, b.Gateways, time.Since(began).Round(time.Second))
	}
	made, err := client.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: "scale", Gateways: []string{synthetic.GatewayName(0)},
		Owner: &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}},
	}})
	if err != nil {
		return fmt.Errorf("make a token: %w", err)
	}
	b.token = made.GetToken()
	waited, err := client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(4 * time.Minute)})
	if err != nil {
		return fmt.Errorf("wait for the node: %w", err)
	}
	if !waited.GetEnforced() {
		return fmt.Errorf("the node is still lagging: %q", waited.GetLaggingNodes())
	}
	r.FillSeconds = time.Since(began).Seconds()
	if r.ControlFilled, err = b.settled(ctx, control, b.controlOps, "control-filled"); err != nil {
		return err
	}
	r.NodeFollowed, err = b.settled(ctx, node, b.nodeOps, "node-followed")
	return err
}
