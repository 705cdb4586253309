// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// Gateways of the node: the tool of all is the same; that of keyed needs a credential, and ruled is plain with a policy on arguments.
const (
	plain = "plain"
	keyed = "keyed"
	ruled = "ruled"
)

// node is a running node, with what it needs: all in one process (see [startNode]), or each in its own (see [startApart]).
type node struct {
	processes []*proc.Process // in the order in which they were started

	mcp, admin, ops, auth string // host:port
	tool                  string // as both gateways call it, without the server
	secrets               map[string]string
}

// Stop ends its processes, the last one first.
func (n *node) Stop() (err error) {
	for _, p := range slices.Backward(n.processes) {
		err = errors.Join(err, p.Stop())
	}
	return err
}

// failed stops what has started of it.
func (n *node) failed(err error) (*node, error) { return nil, errors.Join(err, n.Stop()) }

// url is the endpoint of a gateway.
func (n *node) url(gateway string) string { return "http://" + n.mcp + "/v1/mcp/" + gateway }

// serveUpstream serves an MCP server with one tool, which answers at once, and returns its URL.
func serveUpstream(ctx context.Context, c synthetic.Catalogue) (at string, stop func() error, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	web := &http.Server{Handler: &synthetic.Upstream{Catalogue: c}, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	return "http://" + l.Addr().String() + "/0", func() error {
		err := web.Close()
		if reason := <-served; !errors.Is(reason, http.ErrServerClosed) {
			err = errors.Join(err, reason)
		}
		return err
	}, nil
}

// startNode starts penstock-standalone with its data in dir, and makes the clients whose names are given.
func startNode(ctx context.Context, s settings, dir, upstream string, clients []string) (*node, error) {
	n := &node{secrets: map[string]string{}}
	var controlplane, authserver string
	for _, addr := range []*string{&n.mcp, &n.admin, &n.ops, &n.auth, &controlplane, &authserver} {
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
	one, err := proc.Start(dir, "penstock", program, "--data_dir", data, "--mcp.listen", n.mcp, "--mcp.url", "http://"+n.mcp,
		"--auth.listen", n.auth, "--auth.url", "http://"+n.auth,
		"--admin.listen", n.admin, "--ops.dataplane", n.ops, "--ops.controlplane", controlplane, "--ops.authserver", authserver)
	if err != nil {
		return nil, err
	}
	n.processes = append(n.processes, one)
	if err := one.Ready(ctx, n.ops); err != nil {
		return n.failed(err)
	}
	if err := n.configure(ctx, filepath.Join(data, "admin.token"), upstream, clients); err != nil {
		return n.failed(err)
	}
	return n, nil
}

// configure makes the gateways, and the clients with a secret each.
func (n *node) configure(ctx context.Context, tokenFile, upstream string, clients []string) error {
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		return err
	}
	client, err := admin.New("http://"+n.admin, string(bytes.TrimSpace(token)))
	if err != nil {
		return err
	}
	apply := func(yaml string) error {
		secrets := manifest.Secrets{ReadFile: func(string) ([]byte, error) { return []byte("a-secret-of-the-benchmark"), nil }}
		set, err := manifest.Load([]manifest.Source{{Name: "first.yaml", Data: []byte(yaml)}}, secrets)
		if err != nil {
			return err
		}
		_, err = client.Configuration.Apply(ctx, &adminv1.ApplyRequest{Resources: set.Resources})
		return err
	}
	const installed = `kind: Server
name: %[1]s
streamable_http: {url: %[2]q}
%[3]svisibility: {organization: {}}
---
kind: Connection
name: %[1]s
server: %[1]s
owner: {organization: {}}
%[4]s---
`
	err = apply(fmt.Sprintf(installed, plain, upstream, "", "") +
		fmt.Sprintf(installed, keyed, upstream, "credential: {static_headers: {}}\n", "secret_headers: {X-Api-Key: {from_file: key}}\n"))
	if err != nil {
		return err
	}
	for _, server := range []string{plain, keyed} {
		found, err := client.Servers.DiscoverServer(ctx, &adminv1.DiscoverServerRequest{Name: server, Connection: server})
		if err != nil {
			return fmt.Errorf("discover: %w", err)
		}
		n.tool = strings.TrimPrefix(found.GetTools()[0].GetName(), server+"/")
	}
	var yaml strings.Builder
	for gateway, server := range map[string]string{plain: plain, keyed: keyed, ruled: plain} {
		fmt.Fprintf(&yaml, "kind: Gateway\nname: %[1]s\nvisibility: {organization: {}}\nauthentication: {oauth: {}}\n"+
			"tools:\n- {tool: %[3]s/%[2]s, pinned: {connection: %[3]s}}\n---\n", gateway, n.tool, server)
	}
	yaml.WriteString("kind: Policy\nname: prod\ngateways: [" + ruled + "]\nwhen: 'args.environment == \"prod\" && !(\"sre\" in caller.teams)'\naction: BLOCK\n---\n")
	for _, name := range clients {
		fmt.Fprintf(&yaml, "kind: OAuthClient\nname: %s\nauthentication: CLIENT_SECRET\nclient_credentials: {gateways: [%s, %s, %s], scopes: [mcp]}\n---\n", name, plain, keyed, ruled)
	}
	if err := apply(yaml.String()); err != nil {
		return err
	}
	for _, name := range clients {
		made, err := client.OAuthClients.CreateOAuthClientSecret(ctx, &adminv1.CreateOAuthClientSecretRequest{Name: name})
		if err != nil {
			return fmt.Errorf("make a secret: %w", err)
		}
		n.secrets[name] = made.GetClientSecret()
	}
	_, err = client.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(time.Minute)})
	return err
}

// token gets an access token that nobody has seen, for a gateway (auth.md TK-19).
func (n *node) token(ctx context.Context, client, gateway string) (string, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {n.url(gateway)}, "scope": {"mcp"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+n.auth+"/api/auth/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, n.secrets[client])
	answer, err := (&http.Client{Timeout: 10 * time.Second}).Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }() // read to the end
	var got struct {
		Access string `json:"access_token"`
		Error  string `json:"error_description"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		return "", fmt.Errorf("token: status %d: %w", answer.StatusCode, err)
	}
	if got.Access == "" {
		return "", fmt.Errorf("token: status %d: %s", answer.StatusCode, got.Error)
	}
	return got.Access, nil
}
