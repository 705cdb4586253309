// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// policyCommands is penstock policy.
type policyCommands struct {
	Test policyTestCommand `cmd:"" help:"Decide made-up calls by the policies and compare with what is expected."`
}

// policyTestCommand is penstock policy test.
type policyTestCommand struct {
	Files []string `arg:"" help:"Files with cases, *.policytest.yaml."`
}

// policyFile is a *.policytest.yaml.
type policyFile struct {
	Cases []policyCase `yaml:"cases"`
}

// policyCase is one case of it.
type policyCase struct {
	Name    string         `yaml:"name"`
	Gateway string         `yaml:"gateway"`
	Tool    string         `yaml:"tool"`
	Args    map[string]any `yaml:"args"`
	// ToolLabels are the labels of the tool in place of those that its server has.
	ToolLabels map[string]string `yaml:"tool_labels"`
	Caller     struct {
		User       string   `yaml:"user"`
		Email      string   `yaml:"email"`
		Teams      []string `yaml:"teams"`
		Roles      []string `yaml:"roles"`
		AuthMethod string   `yaml:"auth_method"`
		ClientID   string   `yaml:"client_id"`
		TokenID    string   `yaml:"token_id"`

		Claims map[string]any `yaml:"claims"`
	} `yaml:"caller"`
	Context struct {
		Untrusted bool     `yaml:"untrusted"`
		Sources   []string `yaml:"sources"`
	} `yaml:"context"`
	Request struct {
		Headers map[string]string `yaml:"headers"`
		Time    *time.Time        `yaml:"time"`
		Region  string            `yaml:"region"`
	} `yaml:"request"`
	Expect struct {
		Action string `yaml:"action"`
		Policy string `yaml:"policy"`
	} `yaml:"expect"`
}

// Run implements the command.
func (c *policyTestCommand) Run(ctx context.Context, r *run) error {
	req := &adminv1.TestPoliciesRequest{}
	for _, file := range c.Files {
		text, err := r.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read cases: %w", err)
		}
		cases, err := policyCases(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		req.Cases = append(req.Cases, cases...)
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Policies.TestPolicies(ctx, req)
	if err != nil {
		return err
	}
	failed := 0
	for i, one := range res.GetResults() {
		if one.GetPassed() {
			continue
		}
		failed++
		got := decided(one.GetAction(), one.GetPolicy())
		if one.GetRefusal() != "" {
			got = "refused before policies: " + strings.TrimSuffix(one.GetRefusal(), ".")
		}
		if err := r.print("FAIL %s: %s; expected %s", one.GetName(), got,
			decided(req.GetCases()[i].GetExpectAction(), req.GetCases()[i].GetExpectPolicy())); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases are not as expected", failed, len(res.GetResults()))
	}
	return r.print("%d cases are as expected", len(res.GetResults()))
}

// decided is a decision in words.
func decided(action resourcev1.PolicyAction, policy string) string {
	words := strings.TrimPrefix(action.String(), "POLICY_ACTION_")
	if action == resourcev1.PolicyAction_POLICY_ACTION_UNSPECIFIED {
		words = "any action"
	}
	if policy != "" {
		words += " by " + policy
	}
	return words
}

// policyCases reads the cases of a file. A field that is not known, and a case that expects nothing, is an error.
func policyCases(text []byte) ([]*adminv1.PolicyCase, error) {
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	var f policyFile
	if err := d.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read cases: %w", err)
	}
	if len(f.Cases) == 0 {
		return nil, errors.New("there are no cases")
	}
	var out []*adminv1.PolicyCase
	for i := range f.Cases {
		c := &f.Cases[i]
		action, ok := resourcev1.PolicyAction_value["POLICY_ACTION_"+strings.ToUpper(c.Expect.Action)]
		if c.Expect.Action != "" && (!ok || action == 0) {
			return nil, fmt.Errorf("case %d, expect.action: %q is not ALLOW, BLOCK or REQUIRE_APPROVAL", i+1, c.Expect.Action)
		}
		if c.Expect.Action == "" && c.Expect.Policy == "" {
			return nil, fmt.Errorf("case %d expects nothing; set expect.action or expect.policy", i+1)
		}
		args, err := jsonText(c.Args)
		if err != nil {
			return nil, fmt.Errorf("case %d, args: %w", i+1, err)
		}
		claims, err := jsonText(c.Caller.Claims)
		if err != nil {
			return nil, fmt.Errorf("case %d, caller.claims: %w", i+1, err)
		}
		one := &adminv1.PolicyCase{
			Name: c.Name, Gateway: c.Gateway, Tool: c.Tool, Args: args, Untrusted: c.Context.Untrusted, Sources: c.Context.Sources,
			Caller: &adminv1.PolicyCaller{
				User: c.Caller.User, Email: c.Caller.Email, Teams: c.Caller.Teams, Roles: c.Caller.Roles,
				AuthMethod: c.Caller.AuthMethod, ClientId: c.Caller.ClientID, TokenId: c.Caller.TokenID,
			},
			Claims: claims, ToolLabels: c.ToolLabels, Region: c.Request.Region,
			Headers: c.Request.Headers, ExpectAction: resourcev1.PolicyAction(action), ExpectPolicy: c.Expect.Policy,
		}
		if one.Name == "" {
			one.Name = fmt.Sprintf("case %d", i+1)
		}
		if c.Request.Time != nil {
			one.Time = timestamppb.New(*c.Request.Time)
		}
		out = append(out, one)
	}
	return out, nil
}

// jsonText writes what stands in a case as JSON; what does not stand there is empty.
func jsonText(object map[string]any) (string, error) {
	if object == nil {
		return "", nil
	}
	text, err := json.Marshal(object)
	return string(text), err
}
