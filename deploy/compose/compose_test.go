// SPDX-License-Identifier: Apache-2.0

package compose

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/controlplane"
	"github.com/penstockhq/penstock/dataplane"
	"github.com/penstockhq/penstock/deploy/e2e/fleet/topology"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
)

var update = flag.Bool("update", false, "write compose.yaml anew") //nolint:gochecknoglobals // a flag of the test

const (
	file          = "compose.yaml"
	controlPlanes = 3
	authservers   = 2
	nodes         = 5
)

// fleet is the fleet of the containers.
func fleet() topology.Fleet {
	const database = "postgres://penstock:${POSTGRES_PASSWORD}@postgres/penstock?sslmode=disable"
	return topology.Fleet{
		Gateways: "http://localhost:8080", Issuer: "http://localhost:8083", Credential: "https://balancer:8085",
		ControlPlanes: []string{"control-1:8082", "control-2:8082", "control-3:8082"},
		Database:      database, Secrets: database, Redis: "redis://redis:6379",
		SealKeyset: "${PENSTOCK_SEAL_KEYSET}", Keyset: "/vault/vault.keyset", Approvals: "/approvals/approvals.keyset",
	}
}

// instances are its processes, in the order of the file.
func instances() []topology.Instance {
	var all []topology.Instance
	add := func(role topology.Role, name string, listen map[string]string) {
		all = append(all, topology.Instance{
			Role: role, Name: name, Listen: listen, Data: "/data", Cert: "/tls/cert.pem", Key: "/tls/key.pem", CA: "/tls/ca.pem",
		})
	}
	for i := range controlPlanes {
		add(topology.ControlPlane, fmt.Sprintf("control-%d", i+1), map[string]string{"admin": ":8081", "nodes": ":8082", "ops": ":9081"})
	}
	for i := range authservers {
		add(topology.Authserver, fmt.Sprintf("auth-%d", i+1), map[string]string{"public": ":8083", "credential": ":8085", "ops": ":9083"})
	}
	for i := range nodes {
		add(topology.Node, fmt.Sprintf("node-%d", i+1), map[string]string{"mcp": ":8080", "forward": ":8084", "ops": ":9080"})
		all[len(all)-1].Reach = all[len(all)-1].Name + ":8084"
	}
	return all
}

// document and service are what is in the file, as far as this package writes it.
type document struct {
	Name     string             `yaml:"name"`
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image       string               `yaml:"image,omitempty"`
	Build       *build               `yaml:"build,omitempty"`
	Command     []string             `yaml:"command,omitempty"`
	Environment map[string]string    `yaml:"environment,omitempty"`
	Volumes     []string             `yaml:"volumes,omitempty"`
	Ports       []string             `yaml:"ports,omitempty"`
	Depends     map[string]condition `yaml:"depends_on,omitempty"`
	Health      *health              `yaml:"healthcheck,omitempty"`
	Restart     string               `yaml:"restart,omitempty"`
	Grace       string               `yaml:"stop_grace_period,omitempty"`
}

type build struct {
	Context    string            `yaml:"context"`
	Dockerfile string            `yaml:"dockerfile"`
	Args       map[string]string `yaml:"args"`
}

type condition struct {
	Condition string `yaml:"condition"`
}

type health struct {
	Test     []string `yaml:"test"`
	Interval string   `yaml:"interval"`
}

// written is what the file must say.
func written() document {
	d := document{Name: "penstock", Services: map[string]service{}, Volumes: map[string]any{"postgres": nil, "vault": nil, "approvals": nil}}
	d.Services["postgres"] = service{
		Image: "postgres:15", Volumes: []string{"postgres:/var/lib/postgresql/data"}, Restart: "unless-stopped",
		Environment: map[string]string{"POSTGRES_USER": "penstock", "POSTGRES_DB": "penstock", "POSTGRES_PASSWORD": "${POSTGRES_PASSWORD}"},
		Health:      &health{Test: []string{"CMD-SHELL", "pg_isready -U penstock"}, Interval: "2s"},
	}
	d.Services["redis"] = service{Image: "redis:7.0", Restart: "unless-stopped", Command: []string{"redis-server", "--save", ""}}
	d.Services["balancer"] = service{
		Image: "haproxy:3.0", Restart: "unless-stopped", Volumes: []string{"./haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro"},
		Ports: []string{"127.0.0.1:8080:8080", "127.0.0.1:8081:8081", "127.0.0.1:8083:8083"},
	}
	for _, i := range instances() {
		args, env := topology.Split(topology.Settings(fleet(), i))
		s := service{
			Build:   &build{Context: "../..", Dockerfile: "deploy/compose/Dockerfile", Args: map[string]string{"BINARY": string(i.Role)}},
			Command: args, Environment: map[string]string{}, Restart: "unless-stopped",
			// Longer than calls may take to finish (shutdown.drain).
			Grace:   "50s",
			Volumes: []string{i.Name + ":/data", "./tls/" + i.Name + ":/tls:ro"},
		}
		switch i.Role {
		case topology.Authserver:
			s.Volumes = append(s.Volumes, "vault:/vault")
		case topology.ControlPlane:
			s.Volumes = append(s.Volumes, "approvals:/approvals")
		case topology.Node:
		}
		if i.Role != topology.Node {
			s.Depends = map[string]condition{"postgres": {Condition: "service_healthy"}}
		}
		for _, e := range env {
			name, value, _ := strings.Cut(e, "=")
			s.Environment[name] = value
		}
		d.Services[i.Name], d.Volumes[i.Name] = s, nil
	}
	return d
}

// TestFile: the file is what the table says.
func TestFile(t *testing.T) {
	if *update {
		var b bytes.Buffer
		b.WriteString("# Written by `go test ./deploy/compose -update`; see README.md.\n")
		e := yaml.NewEncoder(&b)
		e.SetIndent(2)
		if err := e.Encode(written()); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got document
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(written(), got); diff != "" {
		t.Errorf("compose.yaml (-want +got); go test ./deploy/compose -update writes it:\n%s", diff)
	}
}

// TestCommands: each server reads its command line and environment, and finds no mistake.
func TestCommands(t *testing.T) {
	for name, s := range written().Services {
		if s.Build == nil {
			continue
		}
		var settings any
		switch topology.Role(s.Build.Args["BINARY"]) {
		case topology.ControlPlane:
			settings = new(controlplane.Settings)
		case topology.Node:
			settings = new(dataplane.Settings)
		case topology.Authserver:
			settings = new(authserver.Settings)
		}
		var env []string
		for k, v := range s.Environment {
			env = append(env, k+"="+v)
		}
		slices.Sort(env)
		if _, err := conf.Load(conf.Program{Name: name, Version: "1", Summary: "test", Args: s.Command, Environ: env}, settings); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBalancer: each process is behind the balancer, on its ports, and nobody else is.
func TestBalancer(t *testing.T) {
	text, err := os.ReadFile("haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "server "); ok {
			got = append(got, rest)
		}
	}
	for _, part := range []struct {
		role topology.Role
		name string
	}{{topology.Node, "mcp"}, {topology.ControlPlane, "admin"}, {topology.Authserver, "public"}, {topology.Authserver, "credential"}} {
		for _, i := range instances() {
			if i.Role == part.role {
				want = append(want, fmt.Sprintf("%s %s%s port %s", i.Name, i.Name, i.Listen[part.name], strings.TrimPrefix(i.Listen["ops"], ":")))
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("haproxy.cfg (-want +got):\n%s", diff)
	}
}

// TestPrepare: the script makes a certificate for each process that the servers take, and runs twice.
func TestPrepare(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("this test needs openssl; install it with: apt-get install openssl")
	}
	dir := t.TempDir()
	for range 2 {
		if out, err := exec.Command("./prepare.sh", dir).CombinedOutput(); err != nil {
			t.Fatalf("prepare.sh: %v\n%s", err, out)
		}
	}
	roles := map[topology.Role]ident.Role{
		topology.ControlPlane: ident.RoleControlPlane, topology.Authserver: ident.RoleAuthserver, topology.Node: ident.RoleNode,
	}
	for _, i := range instances() {
		at := filepath.Join(dir, "tls", i.Name)
		files := tlsx.Files{Cert: at + "/cert.pem", Key: at + "/key.pem", CA: at + "/ca.pem", Role: roles[i.Role]}
		if err := usable(files); err != nil {
			t.Errorf("%s: %v", i.Name, err)
		}
	}
	env, err := os.ReadFile(filepath.Join(dir, ".env"))
	if err != nil || !strings.Contains(string(env), "PENSTOCK_SEAL_KEYSET=") {
		t.Errorf(".env: %v, %d bytes", err, len(env))
	}
}

// usable loads files as a server does, which refuses a certificate of another role.
func usable(files tlsx.Files) error {
	_, err := tlsx.Server(files, "penstock.internal", ident.RoleNode)
	return err
}
