// SPDX-License-Identifier: Apache-2.0

package authserver

import (
	"context"

	"github.com/penstockhq/penstock/authserver/internal/directory"
)

// ListUsers implements scim.Directory.
func (l *link) ListUsers(ctx context.Context, provider string, w directory.Wanted) (page []directory.Provisioned, total int, err error) {
	client, err := l.followed()
	if err != nil {
		return nil, 0, err
	}
	return directory.NewRemote(client.DirectoryService()).ListUsers(ctx, provider, w)
}

// PutUser implements scim.Directory.
func (l *link) PutUser(ctx context.Context, provider string, u directory.Provisioned) (stored directory.Provisioned, revision uint64, err error) {
	client, err := l.followed()
	if err != nil {
		return directory.Provisioned{}, 0, err
	}
	return directory.NewRemote(client.DirectoryService()).PutUser(ctx, provider, u)
}

// ListTeams implements scim.Directory.
func (l *link) ListTeams(ctx context.Context, provider string, w directory.Wanted) (page []directory.ProvisionedTeam, total int, err error) {
	client, err := l.followed()
	if err != nil {
		return nil, 0, err
	}
	return directory.NewRemote(client.DirectoryService()).ListTeams(ctx, provider, w)
}

// ChangeTeam implements scim.Directory.
func (l *link) ChangeTeam(ctx context.Context, provider string, c directory.TeamChange) (stored directory.ProvisionedTeam, revision uint64, err error) {
	client, err := l.followed()
	if err != nil {
		return directory.ProvisionedTeam{}, 0, err
	}
	return directory.NewRemote(client.DirectoryService()).ChangeTeam(ctx, provider, c)
}
