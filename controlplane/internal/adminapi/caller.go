// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"net/http"
	"strings"

	"connectrpc.com/authn"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// authenticate turns the bearer token of a request into a caller, before its body is read.
func (a *api) authenticate(ctx context.Context, r *http.Request) (any, error) {
	token, ok := authn.BearerToken(r)
	if !ok || token == "" {
		return nil, a.answer(ctx, r, fault.New(fault.Unauthenticated, "TOKEN_MISSING",
			"Send a bearer token made for the admin API: Authorization: Bearer pst_…"))
	}
	caller, err := a.catalog.Authenticate(ctx, token)
	if err != nil {
		return nil, a.answer(ctx, r, err)
	}
	return caller, nil
}

// answer maps and logs an error outside the interceptors.
func (a *api) answer(ctx context.Context, r *http.Request, err error) error {
	logFailure(ctx, a.logger, r.URL.Path, err)
	ce := toConnect(ctx, err)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		// gRPC would send it as a trailer, which RFC 9110 section 6.5.1 forbids: net/http drops it and complains.
		ce.Meta().Del("WWW-Authenticate")
	}
	return ce
}

// callerOf returns who makes the call. Without authentication it is the zero Caller, who may do nothing.
func callerOf(ctx context.Context) catalog.Caller {
	caller, _ := authn.GetInfo(ctx).(catalog.Caller)
	return caller
}

// requireAdmin is for what the catalog does not hold: nodes.
func requireAdmin(ctx context.Context) error {
	if c := callerOf(ctx); c.System || c.Role == catalog.RoleAdmin {
		return nil
	}
	return fault.New(fault.Denied, "ROLE_REQUIRED", "Only an ADMIN may see the nodes, let workloads join or ban them.")
}
