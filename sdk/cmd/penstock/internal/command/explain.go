// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/show"
)

// explainCommand is penstock explain. It ends with 0 if the call would go to the server, with 1 if not.
type explainCommand struct {
	Gateway    string            `required:"" help:"Gateway that would be called."`
	Tool       string            `required:"" help:"Tool, by its name at the gateway or as SERVER/TOOL."`
	As         string            `required:"" help:"Who would call: USER, token:NAME, team:NAME, service-account:CLIENT_ID or organization." placeholder:"USER"`
	Args       string            `help:"Arguments, a JSON object, or @FILE, or @- for standard input. Without it they are not known." placeholder:"JSON"`
	AuthMethod string            `help:"How the caller proves itself." enum:",bearer_token,client_credentials,id_jag,jwks,oauth" default:"" placeholder:"METHOD"`
	ClientID   string            `help:"client_id of the caller's OAuth client." placeholder:"ID"`
	Scope      []string          `help:"Scope of the access token; all that the gateway knows unless given." placeholder:"SCOPE"`
	Header     map[string]string `help:"Header of the request." placeholder:"NAME=VALUE"`
	Untrusted  bool              `help:"In an untrusted context." xor:"context"`
	Trusted    bool              `help:"In a trusted context." xor:"context"`
	Source     []string          `help:"Server whose result made the context untrusted." placeholder:"SERVER"`
	Time       *time.Time        `help:"Time of the call, RFC 3339; now unless given." placeholder:"TIME"`
	Node       string            `help:"Node that answers; any unless given." placeholder:"NAME"`
	Timeout    time.Duration     `help:"How long to wait for a node." default:"10s"`
}

// Run implements the command.
func (c *explainCommand) Run(ctx context.Context, r *run) error {
	req, err := c.request(r)
	if err != nil {
		return err
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.Explain.Explain(ctx, req)
	if err != nil {
		return err
	}
	e := res.GetExplanation()
	if r.forPeople() {
		err = show.Explanation(r.Stdout, e)
	} else {
		err = show.One(r.Stdout, r.grammar.Output, e)
	}
	if err != nil {
		return err
	}
	switch e.GetVerdict() {
	case resourcev1.Verdict_VERDICT_ALLOWED:
		return nil
	case resourcev1.Verdict_VERDICT_HELD:
		return errors.New("the call would wait for an approval")
	case resourcev1.Verdict_VERDICT_UNSPECIFIED, resourcev1.Verdict_VERDICT_REFUSED:
	}
	return errors.New("the call would be refused")
}

func (c *explainCommand) request(r *run) (*adminv1.ExplainRequest, error) {
	who, err := principal(c.As)
	if err != nil {
		return nil, err
	}
	args := c.Args
	switch file, named := strings.CutPrefix(args, "@"); {
	case named && file == "-":
		text, err := io.ReadAll(r.Stdin)
		if err != nil {
			return nil, fmt.Errorf("read the arguments: %w", err)
		}
		args = string(text)
	case named:
		text, err := r.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the arguments: %w", err)
		}
		args = string(text)
	}
	q := &resourcev1.ExplainQuestion{
		Gateway: c.Gateway, Tool: c.Tool, Args: args, Principal: who, AuthMethod: c.AuthMethod, ClientId: c.ClientID, Scopes: c.Scope,
		Headers: c.Header, Sources: c.Source,
	}
	if c.Untrusted || c.Trusted {
		q.Untrusted = &c.Untrusted
	}
	if c.Time != nil {
		q.Time = timestamppb.New(*c.Time)
	}
	return &adminv1.ExplainRequest{Question: q, Node: c.Node, Timeout: durationpb.New(c.Timeout)}, nil
}

// principal reads who would call.
func principal(as string) (*resourcev1.ExplainPrincipal, error) {
	p := &resourcev1.ExplainPrincipal{}
	kind, name, named := strings.Cut(as, ":")
	switch {
	case as == "organization":
		p.Who = &resourcev1.ExplainPrincipal_Organization{Organization: true}
	case named && kind == "token":
		p.Who = &resourcev1.ExplainPrincipal_BearerToken{BearerToken: name}
	case named && kind == "team":
		p.Who = &resourcev1.ExplainPrincipal_Team{Team: name}
	case named && kind == "service-account":
		p.Who = &resourcev1.ExplainPrincipal_ServiceAccount{ServiceAccount: name}
	case strings.Contains(as, "@"):
		p.Who = &resourcev1.ExplainPrincipal_User{User: as}
	default:
		return nil, usageError{fmt.Errorf("--as %q is neither an e-mail address nor token:NAME, team:NAME, service-account:CLIENT_ID or organization", as)}
	}
	return p, nil
}
