// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/penstockhq/penstock/deploy/conformance/gate"
	"github.com/penstockhq/penstock/deploy/conformance/gateway"
	"github.com/penstockhq/penstock/deploy/conformance/shim"
	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

//go:embed exceptions.yaml
var exceptions []byte

// conform runs the legs one after the other: beside each other they would compete for two cores, and the suite's scenarios
// have time limits.
func conform(ctx context.Context, s settings, log io.Writer) (_ []result, err error) {
	program, err := suite.Find(s.Clients)
	if err != nil {
		return nil, err
	}
	all := legs()
	excepted, err := gate.ReadExceptions(exceptions, known())
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(s.Out), os.MkdirAll(s.Out, 0o755)); err != nil {
		return nil, fmt.Errorf("make the output folder: %w", err)
	}
	penstock, err := gateway.Start(ctx, s.Out)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, penstock.Stop()) }()

	c := &conformance{settings: s, suite: program, penstock: penstock}
	var results []result
	for _, leg := range all {
		if !s.Legs.MatchString(leg.Name) {
			continue
		}
		began := time.Now()
		direct, through, err := c.run(ctx, leg)
		if err != nil {
			return nil, fmt.Errorf("leg %s: %w", leg.Name, err)
		}
		r := result{
			Leg: leg.Name, Set: leg.set, Upstream: leg.upstream, Protocol: leg.protocol, Baseline: leg.baseline,
			Direct: countOf(direct), Gateway: countOf(through), Verdict: excepted.Judge(leg.Leg, direct, through),
		}
		if _, err := fmt.Fprintf(log, "%-23s %d/%d directly, %d/%d through the gateway, %s\n", leg.Name, r.Direct.Passed, r.Direct.Failed,
			r.Gateway.Passed, r.Gateway.Failed, time.Since(began).Round(time.Second/10)); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	for _, leg := range clientLegs() {
		if !s.Legs.MatchString(leg.Name) {
			continue
		}
		began := time.Now()
		r, err := c.runClient(ctx, leg, excepted)
		if err != nil {
			return nil, fmt.Errorf("leg %s: %w", leg.Name, err)
		}
		if _, err := fmt.Fprintf(log, "%-23s %d/%d as a client, %s\n", leg.Name, r.Gateway.Passed, r.Gateway.Failed,
			time.Since(began).Round(time.Second/10)); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	if name := authorizationLeg().Name; s.Legs.MatchString(name) {
		r, err := c.runAuthorization(ctx, excepted)
		if err != nil {
			return nil, fmt.Errorf("leg %s: %w", name, err)
		}
		if _, err := fmt.Fprintf(log, "%-23s %d/%d at the authserver\n", name, r.Gateway.Passed, r.Gateway.Failed); err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// known are the legs of all kinds, for exceptions.
func known() []gate.Leg {
	var all []gate.Leg
	for _, leg := range legs() {
		all = append(all, leg.Leg)
	}
	for _, leg := range clientLegs() {
		all = append(all, leg.Leg)
	}
	return append(all, authorizationLeg())
}

type conformance struct {
	settings
	suite    *suite.Suite
	penstock *gateway.Penstock
}

// run runs the suite at the upstream of a leg, and at a gateway of its own in front of it.
func (c *conformance) run(ctx context.Context, l leg) (direct, through []suite.Check, err error) {
	direct, err = c.runAt(ctx, l, "direct", func(url string) (string, func() error, error) {
		return url, func() error { return nil }, nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("directly: %w", err)
	}
	through, err = c.runAt(ctx, l, "gateway", func(url string) (string, func() error, error) {
		published, err := c.penstock.Publish(ctx, gateway.Server{Name: l.Name, URL: url, Protocol: l.protocol})
		if err != nil {
			return "", nil, err
		}
		front, err := shim.Start(ctx, published.URL, published.Token)
		if err != nil {
			return "", nil, err
		}
		return front.URL(published.URL), front.Stop, nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("through the gateway: %w", err)
	}
	return direct, through, nil
}

// runAt starts the upstream of a leg, has reach say under which URL the suite gets to it, and runs the suite there.
func (c *conformance) runAt(ctx context.Context, l leg, path string, reach func(url string) (string, func() error, error)) (_ []suite.Check, err error) {
	dir := filepath.Join(c.Out, l.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	url, stop, err := l.upstream.start(ctx, c.Reference, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	url, leave, err := reach(url)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	return c.suite.Run(ctx, suite.Run{
		Args: append([]string{"server", "--url", url}, l.args...), Out: filepath.Join(dir, path), Timeout: c.Timeout,
	})
}
