// SPDX-License-Identifier: Apache-2.0

package adminfake

import (
	"context"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	adminv1connect "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1/adminv1connect"
)

type explains struct {
	adminv1connect.UnimplementedExplainServiceHandler
	a *API
}

// Explain implements the service.
func (s explains) Explain(_ context.Context, req *adminv1.ExplainRequest) (*adminv1.ExplainResponse, error) {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	s.a.Asked = append(s.a.Asked, req)
	return &adminv1.ExplainResponse{Explanation: s.a.Explanation}, nil
}
