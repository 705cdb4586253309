// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// startApart starts a control plane, an authserver and a node as processes of their own with mutual TLS between them, their data in
// dir: what is then counted in the node is the node's. It makes the clients whose names are given.
func startApart(ctx context.Context, s settings, dir, upstream string, clients []string) (*node, error) {
	bin, err := filepath.Abs(s.Bin)
	if err != nil {
		return nil, err
	}
	n := &node{secrets: map[string]string{}}
	var control, credential, controlOps, authOps string
	for _, addr := range []*string{&n.mcp, &n.admin, &n.ops, &n.auth, &control, &credential, &controlOps, &authOps} {
		if *addr, err = proc.FreeAddress(); err != nil {
			return nil, err
		}
	}
	certs, err := synthetic.NewCertificates()
	if err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	tokenFile := filepath.Join(dir, "admin.token")
	gateways, database := "http://"+n.mcp, func(name string) string { return "sqlite://" + filepath.Join(dir, name+".db") }
	var o proc.Options
	if s.Profiles != "" {
		o.Env = []string{"GODEBUG=memprofilerate=1"} // every allocation is in them
	}
	for _, p := range []struct {
		name string
		role ident.Role
		ops  string
		args []string
	}{
		{"controlplane", ident.RoleControlPlane, controlOps, []string{
			"--database", database("controlplane"), "--admin.listen", n.admin, "--nodes.listen", control,
			"--authserver.url", "https://" + credential, "--gateways.url", gateways, "--bootstrap.token_file", tokenFile,
		}},
		{"authserver", ident.RoleAuthserver, authOps, []string{
			"--database", database("authserver"), "--vault.keyset", filepath.Join(dir, "vault.keyset"), "--vault.create_keyset",
			"--data.dir", filepath.Join(dir, "authserver"), "--public.listen", n.auth, "--issuer", "http://" + n.auth, "--gateways.url", gateways,
			"--credential.listen", credential, "--control_plane.endpoints", control,
		}},
		{"dataplane", ident.RoleNode, n.ops, []string{
			"--data.dir", filepath.Join(dir, "dataplane"), "--mcp.listen", n.mcp, "--mcp.url", gateways, "--upstream.allow_loopback",
			"--authserver.url", "https://" + credential, "--control_plane.endpoints", control,
		}},
	} {
		tls, err := certs.Issue(filepath.Join(dir, "tls-"+p.name), p.role, p.name)
		if err != nil {
			return n.failed(fmt.Errorf("make certificates: %w", err))
		}
		one, err := o.Start(dir, p.name, filepath.Join(bin, p.name), append(append(p.args, "--ops.listen", p.ops), tls...)...)
		if err != nil {
			return n.failed(err)
		}
		n.processes = append(n.processes, one)
		if err := one.Ready(ctx, p.ops); err != nil {
			return n.failed(err)
		}
	}
	if err := n.configure(ctx, tokenFile, upstream, clients); err != nil {
		return n.failed(err)
	}
	return n, nil
}
