// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/penstockhq/penstock/deploy/bench/subject"
)

// startSystems starts the upstream, the reference systems and those of the settings. What it returns besides an error has to be stopped.
func startSystems(ctx context.Context, s settings) ([]*subject.System, error) {
	direct, err := subject.StartOwn(ctx, "direct", "upstream", "")
	if err != nil {
		return nil, err
	}
	systems := []*subject.System{direct}
	upstream := direct.Endpoint.URL()
	for _, own := range []struct {
		name      string
		workloads map[string]bool
	}{
		{reference, nil},
		{"rp-buffered", nil},
		{"mcp-go", map[string]bool{"call-legacy": true}}, // its client speaks to the upstream in one era, for both kinds of clients
	} {
		started, err := subject.StartOwn(ctx, own.name, own.name, upstream)
		if err != nil {
			return systems, err
		}
		started.Workloads = own.workloads
		systems = append(systems, started)
	}
	for _, file := range s.Systems {
		description, err := subject.ReadDescription(file, s.Root, upstream)
		if err != nil {
			return systems, err
		}
		started, err := description.Start(ctx)
		if err != nil {
			return systems, fmt.Errorf("%s: %w", file, err)
		}
		systems = append(systems, started)
	}
	return systems, nil
}
