// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/subject"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

const (
	// step bounds one step of the measurement: minutes, on a machine that does other things too.
	step = 15 * time.Minute
	// gatewaysPerApply keeps one change below the 10,000 resources of D-29.
	gatewaysPerApply = 500
)

// bench is one measurement.
type bench struct {
	settings
	catalogue synthetic.Catalogue
	log       io.Writer

	dir                  string
	bin                  string
	control, node        []string // flags of the certificates
	adminAddr, nodesAddr string
	mcpAddr              string
	nodeOps, controlOps  string
	token                string
}

// measure fills a control plane and reads the figures.
func measure(ctx context.Context, s settings, log io.Writer) (_ *result, err error) {
	b := &bench{
		settings: s, log: log,
		catalogue: synthetic.Catalogue{Gateways: s.Gateways, Tools: s.Tools, Servers: s.Servers, Seed: s.Seed},
	}
	if b.dir = s.Dir; b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "scale-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	before, err := b.left()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", before.Upstream)
	if err != nil {
		return nil, err
	}
	web := &http.Server{Handler: &synthetic.Upstream{Catalogue: b.catalogue}, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	defer func() {
		err = errors.Join(err, web.Close())
		if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
			err = errors.Join(err, ended)
		}
	}()

	r := newResult(s, b.catalogue)
	if b.token = before.Token; b.token == "" {
		if err := b.fill(ctx, "http://"+l.Addr().String(), r); err != nil {
			return nil, err
		}
		if err := b.leave(l.Addr().String()); err != nil {
			return nil, err
		}
	}
	if err := b.load(ctx, r); err != nil {
		return nil, err
	}
	return r, nil
}

func (b *bench) say(format string, a ...any) { _, _ = fmt.Fprintf(b.log, "scale: "+format+"\n", a...) }

// prepare builds the binaries, unless they are given, and issues the certificates.
func (b *bench) prepare(ctx context.Context) error {
	if b.bin = b.Bin; b.bin == "" {
		b.bin = filepath.Join(b.dir, "bin")
		b.say("building the binaries")
		const ours = "github.com/penstockhq/penstock/"
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.bin+"/",
			ours+"controlplane/cmd/controlplane", ours+"dataplane/cmd/dataplane")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	certs, err := synthetic.NewCertificates()
	if err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if b.control, err = certs.Issue(filepath.Join(b.dir, "tls-control"), ident.RoleControlPlane, "control"); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	if b.node, err = certs.Issue(filepath.Join(b.dir, "tls-node"), ident.RoleNode, "node"); err != nil {
		return fmt.Errorf("make certificates: %w", err)
	}
	for _, addr := range []*string{&b.adminAddr, &b.nodesAddr, &b.mcpAddr, &b.nodeOps, &b.controlOps} {
		if *addr, err = proc.FreeAddress(); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startControl() (*proc.Process, error) {
	return proc.Start(b.dir, "controlplane", filepath.Join(b.bin, "controlplane"), append(b.control,
		"--database", "sqlite://"+filepath.Join(b.dir, "controlplane.db"), "--admin.listen", b.adminAddr, "--nodes.listen", b.nodesAddr,
		"--ops.listen", b.controlOps, "--bootstrap.token_file", filepath.Join(b.dir, "admin.token"))...)
}

func (b *bench) startNode() (*proc.Process, error) {
	return proc.Start(b.dir, "dataplane", filepath.Join(b.bin, "dataplane"), append(b.node,
		"--data.dir", b.nodeDir(), "--mcp.listen", b.mcpAddr, "--mcp.url", "http://"+b.mcpAddr, "--ops.listen", b.nodeOps,
		"--control_plane.endpoints", b.nodesAddr, "--upstream.allow_loopback")...)
}

func (b *bench) nodeDir() string { return filepath.Join(b.dir, "node") }

// both starts a control plane and a node and waits until they are ready.
func (b *bench) both(ctx context.Context) (control, node *proc.Process, err error) {
	if control, err = b.startControl(); err != nil {
		return nil, nil, err
	}
	if err := control.Ready(ctx, b.controlOps); err != nil {
		return nil, nil, errors.Join(err, control.Stop())
	}
	if node, err = b.startNode(); err != nil {
		return nil, nil, errors.Join(err, control.Stop())
	}
	if err := node.Ready(ctx, b.nodeOps); err != nil {
		return nil, nil, errors.Join(err, node.Stop(), control.Stop())
	}
	return control, node, nil
}

// load measures a control plane and a node that start anew: the node first without anything on its disk, then without a
// control plane.
func (b *bench) load(ctx context.Context, r *result) (err error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	if err := os.RemoveAll(b.nodeDir()); err != nil {
		return err
	}
	control, err := b.startControl()
	if err != nil {
		return err
	}
	defer control.Kill()
	if err := control.Ready(ctx, b.controlOps); err != nil {
		return err
	}
	r.ControlStartSeconds = time.Since(control.Began).Seconds()
	b.say("control plane ready again after %.2f s", r.ControlStartSeconds)
	if r.Control, err = b.settled(ctx, control, b.controlOps, "control"); err != nil {
		return err
	}
	node, err := b.startNode()
	if err != nil {
		return err
	}
	defer func() { node.Kill() }()
	if err := node.Until(ctx, 10*time.Millisecond, b.call); err != nil {
		return err
	}
	r.StreamSeconds = time.Since(node.Began).Seconds()
	b.say("first call after %.2f s from the stream", r.StreamSeconds)
	if err := node.Until(ctx, 50*time.Millisecond, b.onDisk); err != nil {
		return err
	}
	r.DiskWriteSeconds = time.Since(node.Began).Seconds()
	if r.Node, err = b.settled(ctx, node, b.nodeOps, "node"); err != nil {
		return err
	}
	if r.ControlServed, err = b.settled(ctx, control, b.controlOps, "control-served"); err != nil {
		return err
	}
	if err := node.Stop(); err != nil {
		return err
	}
	if r.DiskBytes, err = size(b.nodeDir()); err != nil {
		return err
	}
	control.Kill()
	return b.fromDisk(ctx, r)
}

// fromDisk starts the node three times without a control plane. The fastest start counts: whatever else the machine does
// only adds.
func (b *bench) fromDisk(ctx context.Context, r *result) error {
	for n := range 3 {
		node, err := b.startNode()
		if err != nil {
			return err
		}
		err = node.Until(ctx, 10*time.Millisecond, b.call) // polling takes CPU time from what is measured
		took := time.Since(node.Began).Seconds()
		used, usedErr := subject.UsageOf(node.PID())
		err = errors.Join(err, usedErr)
		if n == 0 || took < r.DiskSeconds {
			r.DiskSeconds, r.DiskCPUSeconds = took, used.CPU.Seconds()
		}
		b.say("first call after %.2f s from disk, %.2f s of CPU time", took, used.CPU.Seconds())
		if err == nil && n == 2 {
			r.NodeFromDisk, err = b.settled(ctx, node, b.nodeOps, "node-from-disk")
		}
		if err := errors.Join(err, node.Stop()); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until the process has nothing left to do and reads its memory.
func (b *bench) settled(ctx context.Context, p *proc.Process, ops, name string) (proc.Memory, error) {
	select {
	case <-ctx.Done():
		return proc.Memory{}, ctx.Err()
	case <-p.Done:
		return proc.Memory{}, fmt.Errorf("%s ended\n%s", p.Name, p.Tail())
	case <-time.After(b.Settle):
	}
	m, err := p.Memory()
	if err != nil || b.Profiles == "" {
		return m, err
	}
	profile, err := proc.Fetch(ctx, "http://"+ops+"/debug/pprof/heap")
	if err != nil {
		return proc.Memory{}, err
	}
	return m, errors.Join(os.MkdirAll(b.Profiles, 0o755), os.WriteFile(filepath.Join(b.Profiles, name+".pprof"), profile, 0o600))
}

// call calls the last tool of the first gateway.
func (b *bench) call(ctx context.Context) error {
	tool := b.catalogue.ToolsOn(0)[b.Tools/b.Gateways-1]
	name := synthetic.ServerName(b.catalogue.ServerOf(tool)) + "__" + synthetic.ToolName(tool)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{},"_meta":{`+
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`, name)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.mcpAddr+"/v1/mcp/"+synthetic.GatewayName(0), bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	request.Header = http.Header{
		"Authorization": {"Bearer " + b.token}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {name},
	}
	response, err := (&http.Client{}).Do(request)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(answer, []byte(`"text":"done"`)) {
		return fmt.Errorf("call: status %d: %s", response.StatusCode, answer)
	}
	return nil
}

// onDisk reports whether the node has written its state.
func (b *bench) onDisk(context.Context) error {
	found, err := filepath.Glob(filepath.Join(b.nodeDir(), "state", "state.*"))
	if err == nil && len(found) == 0 {
		err = errors.New("no state on disk")
	}
	return err
}

// size sums up the files of a folder.
func size(dir string) (int64, error) {
	sum := int64(0)
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
