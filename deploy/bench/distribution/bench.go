// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
	"github.com/penstockhq/penstock/sdk/admin"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// step bounds one part of the measurement: minutes, on a machine that does other things too.
const step = 30 * time.Minute

// bench is one measurement.
type bench struct {
	settings
	catalogue synthetic.Catalogue
	log       io.Writer
	result    *result

	dir, bin             string
	controlTLS, nodeTLS  []string // flags of the certificates
	caCert, caKey        string
	adminAddr, nodesAddr string
	mcpAddr              string
	nodeOps, controlOps  string
	database             *postgres
	upstream             *synthetic.Upstream
	stopUpstream         func() error
	asNodes              *grpc.ClientConn // with a node\'s certificate
	edit                 string           // tool with a proposed change
	editions             atomic.Int64     // of what tools are said to do
	client               *admin.Client
	token                string
	left                 leftover
	control              *proc.Process
	fleet                *fleet
	idleRate             float64 // bytes a second that an idle node reads
}

// measure makes everything, measures, and stops everything.
func measure(ctx context.Context, s settings, log io.Writer) (_ *result, err error) {
	c := synthetic.Catalogue{Gateways: s.Gateways, Tools: s.Tools, Servers: s.Servers, Seed: s.Seed, Zipf: true}
	b := &bench{settings: s, log: log, catalogue: c, result: newResult(s, c)}
	if b.dir = s.Dir; b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "distribution-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	} else if b.dir, err = filepath.Abs(b.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(b.dir, 0o711); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	if b.database, err = startPostgres(ctx, b.dir); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.database.Stop()) }()
	if err := b.configured(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if b.control != nil {
			b.control.Kill()
		}
	}()
	return b.result, b.parts(ctx)
}

func (b *bench) say(format string, a ...any) {
	_, _ = fmt.Fprintf(b.log, "distribution: "+format+"\n", a...) // for people
}

// prepare builds the binaries, unless they are given, and issues the certificates.
func (b *bench) prepare(ctx context.Context) error {
	if b.bin = b.Bin; b.bin == "" {
		b.bin = filepath.Join(b.dir, "bin")
		b.say("building the binaries")
		const ours = "github.com/penstockhq/penstock/"
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.bin+"/",
			ours+"controlplane/cmd/controlplane", ours+"dataplane/cmd/dataplane", ours+"dataplane/cmd/nodesim")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	certs, err := synthetic.NewCertificates()
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if b.caCert, b.caKey, err = certs.Authority(b.dir); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if b.controlTLS, err = certs.Issue(filepath.Join(b.dir, "tls-control"), ident.RoleControlPlane, "control"); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if b.nodeTLS, err = certs.Issue(filepath.Join(b.dir, "tls-node"), ident.RoleNode, "node"); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	for _, addr := range []*string{&b.adminAddr, &b.nodesAddr, &b.mcpAddr, &b.nodeOps, &b.controlOps} {
		if *addr, err = proc.FreeAddress(); err != nil {
			return err
		}
	}
	return nil
}

// serveUpstream is the MCP servers of the catalogue until the returned function is called.
func (b *bench) serveUpstream(address string) (base string, stop func() error, err error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, err
	}
	b.upstream = &synthetic.Upstream{Catalogue: b.catalogue}
	web := &http.Server{Handler: b.upstream, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	return l.Addr().String(), func() error {
		err := web.Close()
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
		return err
	}, nil
}

func (b *bench) startControl(ctx context.Context) (err error) {
	b.control, err = proc.Options{Env: []string{"GOMAXPROCS=" + strconv.Itoa(b.Procs)}}.Start(b.dir, "controlplane",
		filepath.Join(b.bin, "controlplane"), append(b.controlTLS,
			"--database", b.database.url(), "--admin.listen", b.adminAddr, "--nodes.listen", b.nodesAddr, "--ops.listen", b.controlOps,
			"--bootstrap.token_file", b.tokenFile())...)
	if err != nil {
		return err
	}
	return b.control.Ready(ctx, b.controlOps)
}

func (b *bench) tokenFile() string { return filepath.Join(b.dir, "admin.token") }

func (b *bench) nodeDir() string { return filepath.Join(b.dir, "node") }

func (b *bench) startNode() (*proc.Process, error) {
	return proc.Start(b.dir, "dataplane", filepath.Join(b.bin, "dataplane"), append(b.nodeTLS,
		"--data.dir", b.nodeDir(), "--mcp.listen", b.mcpAddr, "--mcp.url", "http://"+b.mcpAddr, "--ops.listen", b.nodeOps,
		"--control_plane.endpoints", b.nodesAddr, "--upstream.allow_loopback")...)
}

func (b *bench) startFleet() (err error) {
	b.fleet = &fleet{}
	if b.fleet.address, err = proc.FreeAddress(); err != nil {
		return err
	}
	b.fleet.Process, err = proc.Options{Env: []string{"GOGC=40"}}.Start(b.dir, "nodesim", filepath.Join(b.bin, "nodesim"),
		"-endpoints", b.nodesAddr, "-ca-cert", b.caCert, "-ca-key", b.caKey, "-trust-domain", synthetic.TrustDomain,
		"-nodes", strconv.Itoa(b.Nodes), "-real", strconv.Itoa(b.Real), "-for", "24h", "-listen", b.fleet.address)
	return err
}

// profile keeps a profile of the control plane under a name.
func (b *bench) profile(ctx context.Context, name, page string) error {
	return b.keep(ctx, name, "http://"+b.controlOps+"/debug/pprof/"+page)
}

// profiles has the control plane and nodesim profiled while a part takes so long, until the returned function is called.
func (b *bench) profiles(ctx context.Context, part string, length time.Duration) (wait func() error) {
	control := b.controlProfile(ctx, part, length)
	nodes := b.taken(ctx, "nodesim-"+part, "http://"+b.fleet.address+"/cpu", length)
	return func() error { return errors.Join(control(), nodes()) }
}

// controlProfile is the same for the control plane alone.
func (b *bench) controlProfile(ctx context.Context, part string, length time.Duration) (wait func() error) {
	return b.taken(ctx, "control-"+part, "http://"+b.controlOps+"/debug/pprof/profile", length)
}

// taken keeps a profile that is taken meanwhile.
func (b *bench) taken(ctx context.Context, name, url string, length time.Duration) (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- b.keep(ctx, name, fmt.Sprintf("%s?seconds=%d", url, max(1, int(length.Seconds())-1))) }()
	return func() error { return <-done }
}

// keep keeps a page that holds a profile.
func (b *bench) keep(ctx context.Context, name, url string) error {
	if b.Profiles == "" {
		return nil
	}
	text, err := proc.Fetch(ctx, url)
	if err != nil {
		return err
	}
	return errors.Join(os.MkdirAll(b.Profiles, 0o750), os.WriteFile(filepath.Join(b.Profiles, name+".pprof"), text, 0o600))
}

// rest lets a moment pass in which nothing is asked of anybody.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
