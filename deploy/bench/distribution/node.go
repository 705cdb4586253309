// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/bench/subject"
	"github.com/penstockhq/penstock/deploy/bench/synthetic"
)

// oneNode measures a real node with the whole catalogue, at last without a control plane.
func (b *bench) oneNode(ctx context.Context) error {
	if err := os.RemoveAll(b.nodeDir()); err != nil {
		return err
	}
	node, err := b.startNode()
	if err != nil {
		return err
	}
	defer func() { node.Kill() }()
	if err := errors.Join(node.Until(ctx, 20*time.Millisecond, b.call), node.Until(ctx, 50*time.Millisecond, b.onDisk), rest(ctx, b.Settle)); err != nil {
		return err
	}
	if b.result.Node, err = node.Memory(); err != nil {
		return err
	}
	if err := node.Stop(); err != nil {
		return err
	}
	b.control.Kill()
	b.control = nil
	for n := range 3 { // the fastest start counts: whatever else the machine does only adds
		if node, err = b.startNode(); err != nil {
			return err
		}
		if err := node.Until(ctx, 10*time.Millisecond, b.call); err != nil {
			return err
		}
		took := time.Since(node.Began).Seconds()
		used, err := cpuOf(node)
		if err != nil {
			return err
		}
		if n == 0 || took < b.result.DiskSeconds {
			b.result.DiskSeconds, b.result.DiskCPUSeconds = took, used.Seconds()
		}
		if err := node.Stop(); err != nil {
			return err
		}
	}
	return nil
}

// cpuOf is the CPU time that a process has used.
func cpuOf(p *proc.Process) (time.Duration, error) {
	used, err := subject.UsageOf(p.PID())
	return used.CPU, err
}

// call calls the first tool of the first gateway.
func (b *bench) call(ctx context.Context) error {
	tool := b.catalogue.ToolsOn(0)[0]
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
