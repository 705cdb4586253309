// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

// users serves UserService.
type users struct{ *api }

// CreateUser implements adminv1connect.UserServiceHandler.
func (s users) CreateUser(ctx context.Context, req *adminv1.CreateUserRequest) (*adminv1.CreateUserResponse, error) {
	m, w, err := create(ctx, s.api, req.GetUser(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateUserResponse{User: m, Revision: uint64(w.Revision)}, nil
}

// GetUser implements adminv1connect.UserServiceHandler.
func (s users) GetUser(ctx context.Context, req *adminv1.GetUserRequest) (*adminv1.GetUserResponse, error) {
	m, err := get[*resourcev1.User](ctx, s.api, catalog.KindUser, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetUserResponse{User: m}, nil
}

// ListUsers implements adminv1connect.UserServiceHandler.
func (s users) ListUsers(ctx context.Context, req *adminv1.ListUsersRequest) (*adminv1.ListUsersResponse, error) {
	page, next, err := list[*resourcev1.User](ctx, s.api, catalog.KindUser, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListUsersResponse{Users: page, NextPageToken: next}, nil
}

// UpdateUser implements adminv1connect.UserServiceHandler.
func (s users) UpdateUser(ctx context.Context, req *adminv1.UpdateUserRequest) (*adminv1.UpdateUserResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetUser(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateUserResponse{User: m, Revision: rev}, nil
}

// SetUserPassword implements adminv1connect.UserServiceHandler.
func (s users) SetUserPassword(ctx context.Context, req *adminv1.SetUserPasswordRequest) (*adminv1.SetUserPasswordResponse, error) {
	if err := s.catalog.SetPassword(ctx, callerOf(ctx), req.GetName(), req.GetPassword()); err != nil {
		return nil, err
	}
	return &adminv1.SetUserPasswordResponse{}, nil
}

// DeleteUser implements adminv1connect.UserServiceHandler.
func (s users) DeleteUser(ctx context.Context, req *adminv1.DeleteUserRequest) (*adminv1.DeleteUserResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindUser, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteUserResponse{Revision: rev}, nil
}
