// SPDX-License-Identifier: Apache-2.0

package command

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

func teamKind() kind {
	return kind{
		name: "team", plural: "teams",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Teams.All(ctx, &adminv1.ListTeamsRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Teams.GetTeam(ctx, &adminv1.GetTeamRequest{Name: name})
			return res.GetTeam(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.Teams.DeleteTeam(ctx, &adminv1.DeleteTeamRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}

func userKind() kind {
	return kind{
		name: "user", plural: "users",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.Users.All(ctx, &adminv1.ListUsersRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.Users.GetUser(ctx, &adminv1.GetUserRequest{Name: name})
			return res.GetUser(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.Users.DeleteUser(ctx, &adminv1.DeleteUserRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}

func tokenKind() kind {
	return kind{
		name: "token", plural: "tokens", short: "bearer-token",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.BearerTokens.All(ctx, &adminv1.ListBearerTokensRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.BearerTokens.GetBearerToken(ctx, &adminv1.GetBearerTokenRequest{Name: name})
			return res.GetBearerToken(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.BearerTokens.DeleteBearerToken(ctx, &adminv1.DeleteBearerTokenRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}

func providerKind() kind {
	return kind{
		name: "identity-provider", plural: "identity-providers", short: "idp",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.IdentityProviders.All(ctx, &adminv1.ListIdentityProvidersRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.IdentityProviders.GetIdentityProvider(ctx, &adminv1.GetIdentityProviderRequest{Name: name})
			return res.GetIdentityProvider(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.IdentityProviders.DeleteIdentityProvider(ctx, &adminv1.DeleteIdentityProviderRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}

func clientKind() kind {
	return kind{
		name: "oauth-client", plural: "oauth-clients",
		all: func(ctx context.Context, c *admin.Client, l listing) iter.Seq2[proto.Message, error] {
			return messages(c.OAuthClients.All(ctx, &adminv1.ListOAuthClientsRequest{Filter: l.filter, ShowDeleted: l.deleted}))
		},
		get: func(ctx context.Context, c *admin.Client, name string) (proto.Message, error) {
			res, err := c.OAuthClients.GetOAuthClient(ctx, &adminv1.GetOAuthClientRequest{Name: name})
			return res.GetOauthClient(), err
		},
		remove: func(ctx context.Context, c *admin.Client, r removal) (uint64, error) {
			res, err := c.OAuthClients.DeleteOAuthClient(ctx, &adminv1.DeleteOAuthClientRequest{Name: r.name, Etag: r.etag, ValidateOnly: r.dryRun})
			return res.GetRevision(), err
		},
	}
}
