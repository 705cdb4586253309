// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/conformance/fixture"
)

// startTimeout is how long the reference upstream may take until it listens.
const startTimeout = 20 * time.Second

// start starts the upstream with its log in dir and returns its endpoint. Every run of the suite gets one of its own: the suite
// changes what a server lists, and a change that was made before is none.
func (u upstream) start(ctx context.Context, reference, dir string) (url string, stop func() error, err error) {
	if u == ours {
		f, err := fixture.Start(ctx)
		if err != nil {
			return "", nil, fmt.Errorf("start the fixture: %w", err)
		}
		return f.URL, f.Stop, nil
	}
	program, err := filepath.Abs(reference)
	if err != nil {
		return "", nil, err
	}
	addr, err := proc.FreeAddress()
	if err != nil {
		return "", nil, err
	}
	p, err := proc.Start(dir, "reference", program, "-http", addr, "-stateless="+strconv.FormatBool(u == referenceStateless))
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = p.Until(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		p.Kill()
		return "", nil, err
	}
	return "http://" + addr + "/mcp", p.Stop, nil
}
