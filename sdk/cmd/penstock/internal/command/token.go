// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/admin/manifest"
)

// tokenCommands is penstock token.
type tokenCommands struct {
	Create tokenCreateCommand `cmd:"" help:"Make a bearer token and print it, once and alone, on standard output."`
	Rotate tokenRotateCommand `cmd:"" help:"Make a new secret for a bearer token and print it, once and alone, on standard output."`
	Revoke tokenRevokeCommand `cmd:"" help:"Delete a bearer token: it is refused everywhere from then on."`
}

// tokenCreateCommand is penstock token create.
type tokenCreateCommand struct {
	User           string `xor:"owner" required:"" placeholder:"EMAIL" help:"The token acts as this user."`
	Team           string `xor:"owner" required:"" placeholder:"NAME" help:"The token acts as this team."`
	Organization   bool   `xor:"owner" required:"" help:"The token acts as the organisation."`
	ServiceAccount string `xor:"owner" required:"" placeholder:"NAME" help:"The token acts as this service account."`

	Gateway  []string `xor:"audience" required:"" sep:"none" placeholder:"NAME" help:"Gateway the token may be used at; repeatable."`
	AdminAPI bool     `name:"admin-api" xor:"audience" required:"" help:"The token may be used at the admin API, and nowhere else."`

	Expires     string   `default:"90d" help:"Life of the token, for example 12h or 30d; at most 365d."`
	Scope       []string `sep:"none" help:"OAuth scope of the token; repeatable. Without any: mcp."`
	Name        string   `help:"Name of the token; made up if not given."`
	DisplayName string   `help:"What the token is for."`
}

// Run implements the command.
func (c *tokenCreateCommand) Run(ctx context.Context, r *run) error {
	life, err := manifest.Duration(c.Expires)
	if err != nil {
		return usageError{err}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.BearerTokens.CreateBearerToken(ctx, &adminv1.CreateBearerTokenRequest{BearerToken: &resourcev1.BearerToken{
		Name: c.Name, DisplayName: c.DisplayName, Owner: c.owner(), Gateways: c.Gateway, AdminApi: c.AdminAPI, Scopes: c.Scope,
		Ttl: durationpb.New(life),
	}})
	if err != nil {
		return err
	}
	t := res.GetBearerToken()
	where := "the admin API"
	if !t.GetAdminApi() {
		where = "gateway " + strings.Join(t.GetGateways(), ", ")
	}
	r.note("token %s for %s, expires %s; it is shown this once", t.GetName(), where, t.GetExpireTime().AsTime().Format("2006-01-02 15:04Z"))
	return r.print("%s", res.GetToken())
}

func (c *tokenCreateCommand) owner() *resourcev1.Owner {
	switch {
	case c.User != "":
		return &resourcev1.Owner{Kind: &resourcev1.Owner_User{User: c.User}}
	case c.Team != "":
		return &resourcev1.Owner{Kind: &resourcev1.Owner_Team{Team: c.Team}}
	case c.ServiceAccount != "":
		return &resourcev1.Owner{Kind: &resourcev1.Owner_ServiceAccount{ServiceAccount: c.ServiceAccount}}
	default:
		return &resourcev1.Owner{Kind: &resourcev1.Owner_Organization{Organization: &resourcev1.OrganizationOwner{}}}
	}
}

// tokenRotateCommand is penstock token rotate.
type tokenRotateCommand struct {
	Name    string `arg:"" help:"Name of the token (penstock get tokens), not the token itself."`
	Overlap string `default:"24h" help:"How long the old secret stays good beside the new one, at most 24h; 0s ends it now."`
	Expires string `help:"New life of the token from now on, for example 30d; at most 365d. Without it the token expires when it would have."`
}

// Run implements the command.
func (c *tokenRotateCommand) Run(ctx context.Context, r *run) error {
	if strings.HasPrefix(c.Name, "pst_") {
		return usageError{errTokenItself}
	}
	overlap, err := manifest.Duration(c.Overlap)
	if err != nil {
		return usageError{err}
	}
	req := &adminv1.RotateBearerTokenRequest{Name: c.Name, Overlap: durationpb.New(overlap)}
	if c.Expires != "" {
		life, err := manifest.Duration(c.Expires)
		if err != nil {
			return usageError{err}
		}
		req.Ttl = durationpb.New(life)
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.BearerTokens.RotateBearerToken(ctx, req)
	if err != nil {
		return err
	}
	const minute = "2006-01-02 15:04Z"
	t, old := res.GetBearerToken(), "the old secret is refused from now on"
	if end := t.GetPreviousExpireTime(); end != nil {
		old = "the old secret is good until " + end.AsTime().Format(minute)
	}
	r.note("new secret of token %s, expires %s; it is shown this once; %s", t.GetName(), t.GetExpireTime().AsTime().Format(minute), old)
	return r.print("%s", res.GetToken())
}

// tokenRevokeCommand is penstock token revoke.
type tokenRevokeCommand struct {
	Name string `arg:"" help:"Name of the token (penstock get tokens), not the token itself."`
}

// Run implements the command.
func (c *tokenRevokeCommand) Run(ctx context.Context, r *run) error {
	if strings.HasPrefix(c.Name, "pst_") {
		return usageError{errTokenItself}
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.BearerTokens.DeleteBearerToken(ctx, &adminv1.DeleteBearerTokenRequest{Name: c.Name})
	if err != nil {
		return err
	}
	return r.print("token %s revoked (revision %d)", c.Name, res.GetRevision())
}
