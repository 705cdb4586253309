// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// Variables of the environment of the command.
const (
	envSite     = "PENSTOCK_CONFORMANCE_SITE"
	envProgram  = "PENSTOCK_CONFORMANCE_PROGRAM"
	envScenario = "MCP_CONFORMANCE_SCENARIO"
	envVersion  = "MCP_CONFORMANCE_PROTOCOL_VERSION"
	envContext  = "MCP_CONFORMANCE_CONTEXT"
)

// Command is what the suite is to run, for --command: this program with the argument name. The suite cuts it at spaces and gives
// it to a shell, so the path of the program, which may have some, is in the environment.
func Command(name string) string { return `"$` + envProgram + `" ` + name }

// Environment is what the suite must be given for [Command] to work, as NAME=value.
func (s *Site) Environment() ([]string, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return []string{envProgram + "=" + program, envSite + "=" + s.url}, nil
}

// Main is the command. The only argument is the URL of the scenario's server; the error is that of the scenario.
func Main(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("want the URL of a server; the conformance suite runs this")
	}
	t := task{Scenario: os.Getenv(envScenario), Version: os.Getenv(envVersion), URL: args[0]}
	if text := os.Getenv(envContext); text != "" {
		if err := json.Unmarshal([]byte(text), &t.Context); err != nil {
			return fmt.Errorf("read %s: %w", envContext, err)
		}
	}
	body, err := json.Marshal(t)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv(envSite), bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // it is read to its end
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", t.Scenario, strings.TrimSpace(string(text)))
	}
	return nil
}

// task is one scenario.
type task struct {
	Scenario string        `json:"scenario"`
	Version  string        `json:"version"` // that the scenario's server speaks
	URL      string        `json:"url"`
	Context  scenarioHints `json:"context"`
}

// scenarioHints are what a scenario says about itself, and the client that it has registered.
type scenarioHints struct {
	ToolCalls    []toolCall `json:"toolCalls"`
	ClientID     string     `json:"client_id"`
	ClientSecret string     `json:"client_secret"`
	PrivateKey   string     `json:"private_key_pem"`

	// Of the identity provider, which exchanges the ID token that somebody has from it.
	ProviderClientID      string `json:"idp_client_id"`
	ProviderIDToken       string `json:"idp_id_token"`
	ProviderTokenEndpoint string `json:"idp_token_endpoint"`
}

// toolCall is a call that a scenario wants.
type toolCall struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}
