// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/settings"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// placeholder stands in instructions where the token belongs; see ConnectInstruction.
const placeholder = "${PENSTOCK_TOKEN}"

// connectCommand is penstock connect.
type connectCommand struct {
	Gateway   string `arg:"" help:"Name of the gateway."`
	Client    string `help:"Only this client, for example cursor or claude-code."`
	TokenFile string `placeholder:"FILE" help:"Put the token in this file into what is shown."`
}

// Run implements the command.
func (c *connectCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Gateways.GetConnectInstructions(ctx, &adminv1.GetConnectInstructionsRequest{Gateway: c.Gateway, Client: c.Client})
	if err != nil {
		return err
	}
	if c.TokenFile != "" {
		token, err := settings.ReadToken(c.TokenFile)
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		for _, i := range res.GetInstructions() {
			i.Content = withToken(i.GetFormat(), i.GetContent(), token)
		}
	}
	if !r.forPeople() {
		return show.One(r.Stdout, r.grammar.Output, res)
	}
	return c.write(r, res)
}

func (c *connectCommand) write(r *run, res *adminv1.GetConnectInstructionsResponse) error {
	if c.Client == "" {
		if err := r.print("Gateway %s: %s", c.Gateway, res.GetUrl()); err != nil {
			return err
		}
		needs := "No token is needed: the client opens a browser to log in."
		switch makeOne := "penstock token create --user EMAIL --gateway " + c.Gateway; {
		case res.GetTokenRequired():
			needs = "A bearer token is needed: " + makeOne
		case takesToken(res.GetInstructions()):
			needs += " Where there is none, use a bearer token: " + makeOne
		}
		if err := r.print("%s", needs); err != nil {
			return err
		}
	}
	for _, i := range res.GetInstructions() {
		title := i.GetTitle()
		if i.GetFile() != "" {
			title += " (" + i.GetFile() + ")"
		}
		if err := r.print("\n## %s\n%s\n\n%s", title, i.GetSteps(), strings.TrimSuffix(i.GetContent(), "\n")); err != nil {
			return err
		}
	}
	return nil
}

// takesToken reports whether some instruction has a place for a bearer token.
func takesToken(list []*adminv1.ConnectInstruction) bool {
	return slices.ContainsFunc(list, func(i *adminv1.ConnectInstruction) bool { return strings.Contains(i.GetContent(), placeholder) })
}

// withToken puts the token into the places for it. In a link the configuration is base64 inside a query.
func withToken(format, content, token string) string {
	if format != "url" {
		return strings.ReplaceAll(content, placeholder, token)
	}
	u, err := url.Parse(content)
	if err != nil {
		return content
	}
	q := u.Query()
	config, err := base64.StdEncoding.DecodeString(q.Get("config"))
	if err != nil {
		return content
	}
	q.Set("config", base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(string(config), placeholder, token))))
	u.RawQuery = q.Encode()
	return u.String()
}
