// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"errors"
	"strings"

	"github.com/alecthomas/kong"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/cmd/penstock/internal/prompt"
)

// userCommands is penstock user.
type userCommands struct {
	SetPassword setPasswordCommand `cmd:"" help:"Set the password that a user logs in with where there is no identity provider."`
}

// setPasswordCommand is penstock user set-password.
type setPasswordCommand struct {
	Email  string `arg:"" help:"E-mail address of the user."`
	Remove bool   `help:"Take the password away in place of setting one."`
}

// Help implements kong.HelpProvider.
func (*setPasswordCommand) Help() string {
	return "The password, 12 to 256 characters, is read from standard input: up to the end, without the last line break; on a terminal " +
		"it is asked for twice and not shown. It never stands in the command line. Logins of the user end."
}

var (
	errPasswordArgument = errors.New("a password does not stand in the command line, where other programs and the shell's history see it; give it on standard input")
	errNoPassword       = errors.New("there is no password on standard input; to take the password away use --remove")
)

// Run implements the command.
func (c *setPasswordCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	password := ""
	if !c.Remove {
		if password, err = prompt.Password(ctx, r.Stdin, r.Stderr, "Password of "+c.Email); err != nil {
			return err
		}
		if password == "" {
			return usageError{errNoPassword}
		}
	}
	if _, err := client.Users.SetUserPassword(ctx, &adminv1.SetUserPasswordRequest{Name: c.Email, Password: password}); err != nil {
		return err
	}
	if c.Remove {
		return r.print("password of %s taken away", c.Email)
	}
	return r.print("password of %s set", c.Email)
}

// withoutPassword hides what is wrong with a command line that may hold a password.
func withoutPassword(err error) error {
	wrong, ok := errors.AsType[*kong.ParseError](err)
	if !ok || wrong.Context == nil || !strings.HasPrefix(wrong.Context.Command(), "user set-password") {
		return err
	}
	if text := err.Error(); strings.HasPrefix(text, "unexpected argument") || strings.HasPrefix(text, "unknown flag") {
		return errPasswordArgument
	}
	return err
}

// oauthClientCommands is penstock oauth-client.
type oauthClientCommands struct {
	CreateSecret createSecretCommand `cmd:"" help:"Make a client secret and print it, once and alone, on standard output."`
}

// createSecretCommand is penstock oauth-client create-secret.
type createSecretCommand struct {
	Name       string `arg:"" help:"Name of the OAuth client, which is its client_id."`
	DropOthers bool   `help:"End every secret made before at once; without it the newest one stays good until the next is made."`
}

// Run implements the command.
func (c *createSecretCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.OAuthClients.CreateOAuthClientSecret(ctx, &adminv1.CreateOAuthClientSecretRequest{Name: c.Name, DropOthers: c.DropOthers})
	if err != nil {
		return err
	}
	others := "the one before stays good until the next is made"
	if c.DropOthers {
		others = "those before are refused from now on"
	}
	r.note("client secret of %s (revision %d); it is shown this once; %s", c.Name, res.GetRevision(), others)
	return r.print("%s", res.GetClientSecret())
}

// providerCommands is penstock identity-provider.
type providerCommands struct {
	CreateScimToken createScimTokenCommand `cmd:"" help:"Make a SCIM token and print it, once and alone, on standard output."`
}

// createScimTokenCommand is penstock identity-provider create-scim-token.
type createScimTokenCommand struct {
	Name       string `arg:"" help:"Name of the identity provider."`
	DropOthers bool   `help:"End every token made before at once; without it the newest one stays good until the next is made."`
}

// Run implements the command.
func (c *createScimTokenCommand) Run(ctx context.Context, r *run) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	res, err := client.IdentityProviders.CreateScimToken(ctx, &adminv1.CreateScimTokenRequest{Name: c.Name, DropOthers: c.DropOthers})
	if err != nil {
		return err
	}
	others := "the one before stays good until the next is made"
	if c.DropOthers {
		others = "those before are refused from now on"
	}
	r.note("SCIM token of %s (revision %d); it is shown this once; %s", c.Name, res.GetRevision(), others)
	return r.print("%s", res.GetScimToken())
}
