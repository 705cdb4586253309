// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/penstockhq/penstock/controlplane"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	distributionv1 "github.com/penstockhq/penstock/proto/gen/penstock/distribution/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
	"github.com/penstockhq/penstock/sdk/kit/obs"
	"github.com/penstockhq/penstock/sdk/kit/tlsx"
	"github.com/penstockhq/penstock/sdk/kit/tlsx/tlsxtest"
	"github.com/penstockhq/penstock/sdk/node"
)

// patience is how long a test waits for what must happen.
const patience = 90 * time.Second

// cable is a TCP line that can be cut: connections break, and new ones are refused at once.
type cable struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// lay makes a cable to an address.
func lay(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, to: to, conns: make(map[net.Conn]bool)}
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.sever()
		c.wg.Wait()
	})
	return c
}

func (c *cable) addr() string { return c.listener.Addr().String() }

func (c *cable) accept() {
	for {
		in, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.wg.Go(func() { c.carry(in) })
	}
}

func (c *cable) carry(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	c.conns[in], c.conns[out] = true, true
	c.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = in.Close()
			_ = out.Close()
		})
	}
	both.Wait()
	c.mu.Lock()
	delete(c.conns, in)
	delete(c.conns, out)
	c.mu.Unlock()
}

// sever cuts the cable until it is mended.
func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for conn := range c.conns {
		_ = conn.Close()
	}
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

// deployment is control planes on one PostgreSQL, and nodes.
type deployment struct {
	t     *testing.T
	dsn   string
	ca    *tlsxtest.CA
	token string
	cps   []*controller
}

// controller is one control plane of a deployment, on a machine of its own: all its lines can be cut.
type controller struct {
	d        *deployment
	name     string
	settings controlplane.Settings
	nodes    *cable // others reach its node stream by it
	database *cable // it reaches the database by it
	api      *admin.Client
	stop     func()
}

// deploy starts control planes on a database.
func deploy(t *testing.T, dsn string, n int, change func(*controlplane.Settings)) *deployment {
	t.Helper()
	d := &deployment{t: t, dsn: dsn, ca: tlsxtest.NewCA(t, "test")}
	token := filepath.Join(t.TempDir(), "token")
	for i := range n {
		c := &controller{d: d, name: fmt.Sprintf("cp%d", i)}
		u, err := url.Parse(dsn)
		if err != nil {
			t.Fatal(err)
		}
		c.database = lay(t, u.Host)
		u.Host = c.database.addr()
		files := d.ca.Files(t, ident.Workload{Role: ident.RoleControlPlane, Name: c.name})
		s := &c.settings
		s.Database = obs.Secret(u.String())
		s.Admin.Listen, s.Nodes.Listen = free(t), free(t)
		c.nodes = lay(t, s.Nodes.Listen)
		s.Nodes.Advertise, s.Nodes.Drain, s.Nodes.MaxAge = c.nodes.addr(), time.Second, time.Hour
		s.Gateways.URL, s.Authserver.URL, s.TLS.TrustDomain = "http://127.0.0.1:8080", "http://authserver.local", "test"
		s.TLS.Cert, s.TLS.Key, s.TLS.CA = files.Cert, files.Key, files.CA
		s.Bootstrap.Email, s.Shutdown.Drain = "admin@example.com", time.Second
		if i == 0 {
			s.Bootstrap.TokenFile = token
		}
		if change != nil {
			change(s)
		}
		d.cps = append(d.cps, c)
		c.start()
		if i == 0 {
			text, err := os.ReadFile(token)
			if err != nil {
				t.Fatal(err)
			}
			d.token = strings.TrimSpace(string(text))
		}
		if c.api, err = admin.New("http://"+s.Admin.Listen, d.token, admin.WithAttempts(1)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start runs the control plane until the test ends or it is stopped, and waits until it is ready.
func (c *controller) start() {
	c.d.t.Helper()
	select {
	case <-c.launch():
	case <-time.After(patience):
		c.d.t.Fatalf("%s is not ready", c.name)
	}
}

// launch is start that waits for nothing.
func (c *controller) launch() (ready <-chan struct{}) {
	t := c.d.t
	t.Helper()
	p, err := controlplane.New(controlplane.Config{
		Settings: c.settings, Version: "test", Credentials: &http.Client{},
		Telemetry: &obs.Telemetry{
			Log: slog.New(slog.NewTextHandler(logTo{t, c.name}, &slog.HandlerOptions{Level: slog.LevelWarn})), Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Metrics: http.NotFoundHandler(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() { ran <- p.Run(ctx) }()
	c.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	})
	t.Cleanup(func() { c.stop() })
	return p.Ready()
}

// logTo sends a log to the test's.
type logTo struct {
	t    *testing.T
	name string
}

// Write implements io.Writer.
func (l logTo) Write(b []byte) (int, error) {
	l.t.Logf("%s: %s", l.name, strings.TrimSpace(string(b)))
	return len(b), nil
}

// member is a node of the deployment.
type member struct {
	name   string
	client *node.Client

	mu    sync.Mutex
	full  int // full states taken
	tasks chan *distributionv1.Task
	stop  func()
}

// Apply implements node.Applier.
func (m *member) Apply(_ context.Context, _ node.State, touched []node.Key, _ bool) []node.Reject {
	m.mu.Lock()
	defer m.mu.Unlock()
	if touched == nil {
		m.full++
	}
	return nil
}

// Deny implements node.Applier.
func (*member) Deny(context.Context, uint64, []node.Key) {}

func (m *member) fulls() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.full
}

// join runs a node that knows all control planes and prefers one.
func (d *deployment) join(name string, prefers int) *member {
	t := d.t
	t.Helper()
	m := &member{name: name, tasks: make(chan *distributionv1.Task, 8)}
	config, err := tlsx.Client(d.ca.Files(t, ident.Workload{Region: "eu", Role: ident.RoleNode, Name: name}), "test", ident.RoleControlPlane)
	if err != nil {
		t.Fatal(err)
	}
	var endpoints []string
	for i := range d.cps {
		endpoints = append(endpoints, d.cps[(prefers+i)%len(d.cps)].nodes.addr())
	}
	m.client, err = node.New(node.Config{
		Endpoints: endpoints, DialOptions: []grpc.DialOption{grpc.WithTransportCredentials(credentials.NewTLS(config))},
		Applier: m, Log: slog.New(slog.DiscardHandler), Tasks: func(_ context.Context, task *distributionv1.Task) { m.tasks <- task },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- m.client.Run(ctx) }()
	m.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.stop)
	return m
}

// quiet is a log that nobody reads.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// reason returns the reason of a fault.
func reason(err error) string { return fault.From(err).Reason }

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// picture is what a control plane shows of the nodes: by name, the control plane that has it ("" is disconnected).
func (c *controller) picture() map[string]string {
	out := make(map[string]string)
	for n, err := range c.api.Nodes.All(c.d.t.Context(), &adminv1.ListNodesRequest{}) {
		if err != nil {
			return nil
		}
		at := n.GetReplica()
		if i := strings.LastIndexByte(at, '-'); i > 0 {
			at = at[:i] // without what is random
		}
		if n.GetConnected() != (at != "") {
			c.d.t.Errorf("%s shows node %s: connected %t at %q", c.name, n.GetName(), n.GetConnected(), at)
		}
		out[n.GetName()] = at
	}
	return out
}

// spread counts the nodes of each control plane.
func spread(picture map[string]string) map[string]int {
	out := make(map[string]int)
	for _, at := range picture {
		out[at]++
	}
	return out
}

// write makes a change and returns its revision.
func (c *controller) write(team string) (uint64, error) {
	res, err := c.api.Teams.CreateTeam(c.d.t.Context(), &adminv1.CreateTeamRequest{Team: &resourcev1.Team{Name: team}})
	return res.GetRevision(), err
}

// mustWrite is write that may not fail.
func (c *controller) mustWrite(team string) uint64 {
	c.d.t.Helper()
	rev, err := c.write(team)
	if err != nil {
		c.d.t.Fatalf("write at %s: %v", c.name, err)
	}
	return rev
}

// wait asks whether a revision is enforced, for so long.
func (c *controller) wait(rev uint64, timeout time.Duration) *adminv1.WaitEnforcedResponse {
	c.d.t.Helper()
	res, err := c.api.Configuration.WaitEnforced(c.d.t.Context(), &adminv1.WaitEnforcedRequest{Revision: rev, Timeout: durationpb.New(timeout)})
	if err != nil {
		c.d.t.Fatalf("wait at %s: %v", c.name, err)
	}
	return res
}

// enforcedBy checks that a revision is enforced by exactly these nodes, as a control plane says.
func (c *controller) enforcedBy(rev uint64, nodes []*member) {
	c.d.t.Helper()
	var names []string
	for _, n := range nodes {
		names = append(names, n.name)
	}
	slices.Sort(names)
	var res *adminv1.WaitEnforcedResponse
	defer func() {
		if c.d.t.Failed() {
			c.d.t.Logf("%s says of revision %d: %v", c.name, rev, res)
		}
	}()
	// A node may be on its way from one control plane to another, when it is nobody's.
	eventually(c.d.t, "all nodes enforce, as "+c.name+" says", func() bool {
		res = c.wait(rev, 5*time.Second)
		return res.GetEnforced() && slices.Equal(res.GetEnforcingNodes(), names)
	})
}
