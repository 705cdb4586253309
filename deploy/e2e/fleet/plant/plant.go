// SPDX-License-Identifier: Apache-2.0

package plant

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/penstockhq/penstock/deploy/e2e/fleet/balancer"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/topology"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/redisx/redistest"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
)

const trustDomain = "penstock.internal"

// Config says how large a plant is.
type Config struct {
	Bin  string // folder of the binaries
	Logs string // folder that gets the processes' logs

	ControlPlanes, Authservers int
	Regions                    []Region
}

// Region is a place with nodes and a Redis of its own.
type Region struct {
	Name  string
	Nodes int
}

// Zone is what runs in a region.
type Zone struct {
	Region
	Fleet    topology.Fleet // as the region's nodes see it
	Redis    *redistest.Server
	Nodes    []*Process
	Balancer *balancer.Balancer // before the nodes
	// Links are the ways from the last node to control planes, authservers and Redis; the others have straight ones.
	Links *Links
}

// Plant is a fleet of processes.
type Plant struct {
	Dir           string
	Postgres      *Postgres
	ControlPlanes []*Process
	Authservers   []*Process
	Zones         []*Zone
	// Admin, Public and Credential are the balancers before the admin API and the two sides of the authservers.
	Admin, Public, Credential *balancer.Balancer
	// Unknown are settings of the topology that a binary does not have, as "role name".
	Unknown []string

	tb    testing.TB
	c     Config
	ca    *tlsxtest.CA
	fleet topology.Fleet
	help  map[topology.Role]string
}

// New makes a plant, starts its PostgreSQL, Redis and balancers, and no process yet.
func New(tb testing.TB, c Config) *Plant {
	tb.Helper()
	p := &Plant{tb: tb, c: c, Dir: tb.TempDir(), ca: tlsxtest.NewCA(tb, trustDomain), help: map[topology.Role]string{}}
	p.Postgres = startPostgres(tb, c.Logs)
	for _, role := range []topology.Role{topology.ControlPlane, topology.Node, topology.Authserver} {
		help, err := Help(c.Bin, role)
		if err != nil {
			tb.Fatalf("%s --help: %v", role, err)
		}
		p.help[role] = help
	}
	var seal [32]byte
	_, _ = rand.Read(seal[:]) // never fails
	p.fleet = topology.Fleet{
		Database: p.Postgres.URL, Secrets: p.Postgres.URL, SealKeyset: base64.StdEncoding.EncodeToString(seal[:]),
		Keyset: filepath.Join(p.Dir, "vault.keyset"), Approvals: filepath.Join(p.Dir, "approvals.keyset"), Loopback: true,
	}
	var admin, public, credential []string
	for i := range c.ControlPlanes {
		q := p.add(topology.ControlPlane, "", fmt.Sprintf("control-%d", i+1), "admin", "nodes")
		p.ControlPlanes = append(p.ControlPlanes, q)
		admin = append(admin, q.Instance.Listen["admin"])
		p.fleet.ControlPlanes = append(p.fleet.ControlPlanes, q.Instance.Listen["nodes"])
	}
	for i := range c.Authservers {
		q := p.add(topology.Authserver, "", fmt.Sprintf("auth-%d", i+1), "public", "credential")
		p.Authservers = append(p.Authservers, q)
		public, credential = append(public, q.Instance.Listen["public"]), append(credential, q.Instance.Listen["credential"])
	}
	p.Admin, p.Public, p.Credential = p.balance(admin), p.balance(public), p.balance(credential)
	p.fleet.Issuer, p.fleet.Credential = "http://"+p.Public.Address(), "https://"+p.Credential.Address()
	for _, r := range c.Regions {
		p.zone(r)
	}
	p.fleet.Gateways, p.fleet.Redis = p.Zones[0].Fleet.Gateways, p.Zones[0].Fleet.Redis
	for _, q := range append(p.ControlPlanes, p.Authservers...) {
		p.equip(q, p.fleet)
	}
	return p
}

// zone adds a region.
func (p *Plant) zone(r Region) {
	z := &Zone{Region: r, Redis: redistest.Start(p.tb), Links: newLinks(p.tb)}
	var mcp []string
	for i := range r.Nodes {
		q := p.add(topology.Node, r.Name, fmt.Sprintf("%s-node-%d", r.Name, i+1), "mcp", "forward")
		z.Nodes = append(z.Nodes, q)
		mcp = append(mcp, q.Instance.Listen["mcp"])
	}
	z.Balancer = p.balance(mcp)
	z.Fleet = p.fleet
	z.Fleet.Gateways, z.Fleet.Redis = "http://"+z.Balancer.Address(), z.Redis.URL().Reveal()
	for _, q := range z.Nodes[:len(z.Nodes)-1] {
		p.equip(q, z.Fleet)
	}
	last := z.Fleet
	last.ControlPlanes = nil
	for _, address := range z.Fleet.ControlPlanes {
		last.ControlPlanes = append(last.ControlPlanes, z.Links.through(address))
	}
	last.Credential, last.Redis = "https://"+z.Links.through(p.Credential.Address()), "redis://"+z.Links.through(z.Redis.Addr)
	p.equip(z.Nodes[len(z.Nodes)-1], last)
	p.Zones = append(p.Zones, z)
}

// add makes a process with addresses, a certificate and a folder.
func (p *Plant) add(role topology.Role, region, name string, parts ...string) *Process {
	p.tb.Helper()
	i := topology.Instance{Role: role, Name: name, Listen: map[string]string{}, Data: filepath.Join(p.Dir, name)}
	for _, part := range append(parts, "ops") {
		i.Listen[part] = address(freePort(p.tb))
	}
	roles := map[topology.Role]ident.Role{
		topology.ControlPlane: ident.RoleControlPlane, topology.Authserver: ident.RoleAuthserver, topology.Node: ident.RoleNode,
	}
	files := p.ca.Issue(p.tb, filepath.Join(p.Dir, "tls", name), ident.Workload{Region: region, Role: roles[role], Name: name})
	i.Cert, i.Key, i.CA = files.Cert, files.Key, files.CA
	if err := os.MkdirAll(i.Data, 0o700); err != nil {
		p.tb.Fatal(err)
	}
	q := &Process{
		Name: name, Instance: i, tb: p.tb, binary: filepath.Join(p.c.Bin, string(role)), log: filepath.Join(p.c.Logs, name+".log"),
	}
	p.tb.Cleanup(q.Kill)
	return q
}

// equip gives a process its settings, as far as its binary has them.
func (p *Plant) equip(q *Process, f topology.Fleet) {
	all, unknown := topology.Known(topology.Settings(f, q.Instance), p.help[q.Instance.Role])
	for _, name := range unknown {
		p.Unknown = append(p.Unknown, string(q.Instance.Role)+" "+name)
	}
	q.args, q.env = topology.Split(all)
}

func (p *Plant) balance(backends []string) *balancer.Balancer {
	p.tb.Helper()
	b, err := balancer.New(p.tb.Context(), backends...)
	if err != nil {
		p.tb.Fatal(err)
	}
	p.tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			p.tb.Error(err)
		}
	})
	return b
}

// Start starts all processes and waits until they are ready: all at once, but for the authservers, of which the first one makes
// the keys that the others read.
func (p *Plant) Start() {
	p.tb.Helper()
	for i, q := range p.Authservers {
		q.Start()
		if i == 0 {
			Eventually(p.tb, startTimeout, q.Name+" makes the keys", func() error {
				_, err := os.Stat(p.fleet.Keyset)
				return err
			})
		}
	}
	for _, q := range p.All() {
		if !q.Running() {
			q.Start()
		}
	}
	for _, q := range p.All() {
		q.Ready()
	}
}

// All returns all processes but PostgreSQL and Redis.
func (p *Plant) All() []*Process {
	all := append(append([]*Process(nil), p.ControlPlanes...), p.Authservers...)
	for _, z := range p.Zones {
		all = append(all, z.Nodes...)
	}
	return all
}

// AdminToken returns the first administrator's token, which the control plane that came first has written.
func (p *Plant) AdminToken() string {
	p.tb.Helper()
	for _, q := range p.ControlPlanes {
		if text, err := os.ReadFile(filepath.Join(q.Instance.Data, "admin.token")); err == nil {
			return string(text)
		}
	}
	p.tb.Fatal("no control plane has written the administrator's token")
	return ""
}

// Ports are below those that the system gives to clients, so that nobody gets one by chance in between.
const firstPort, lastPort = 11_000, 30_000

func freePort(tb testing.TB) int {
	tb.Helper()
	for range 200 {
		port := firstPort + mathrand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", address(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
		return port
	}
	tb.Fatal("no free port after 200 attempts")
	return 0
}

// address is a port on loopback.
func address(port int) string { return net.JoinHostPort("127.0.0.1", fmt.Sprint(port)) }
