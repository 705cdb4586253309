// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
)

type connections struct {
	adminv1connect.UnimplementedConnectionServiceHandler
	a *API
}

// CreateConnectLink implements the service.
func (s connections) CreateConnectLink(_ context.Context, req *adminv1.CreateConnectLinkRequest) (*adminv1.CreateConnectLinkResponse, error) {
	m, err := get[*resourcev1.Server](s.a, req.GetServer())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateConnectLinkResponse{
		Url: "https://auth.example.com/connect/of-" + m.GetName(), ExpireTime: timestamppb.New(time.Date(2026, 5, 1, 12, 10, 0, 0, time.UTC)),
	}, nil
}
