// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"

	"github.com/penstockhq/penstock/controlplane/internal/catalog"
	instructions "github.com/penstockhq/penstock/controlplane/internal/connect"
	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// gateways serves GatewayService.
type gateways struct{ *api }

// CreateGateway implements adminv1connect.GatewayServiceHandler.
func (s gateways) CreateGateway(ctx context.Context, req *adminv1.CreateGatewayRequest) (*adminv1.CreateGatewayResponse, error) {
	m, w, err := create(ctx, s.api, req.GetGateway(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.CreateGatewayResponse{Gateway: m, Revision: uint64(w.Revision)}, nil
}

// GetGateway implements adminv1connect.GatewayServiceHandler.
func (s gateways) GetGateway(ctx context.Context, req *adminv1.GetGatewayRequest) (*adminv1.GetGatewayResponse, error) {
	m, err := get[*resourcev1.Gateway](ctx, s.api, catalog.KindGateway, req.GetName())
	if err != nil {
		return nil, err
	}
	return &adminv1.GetGatewayResponse{Gateway: m}, nil
}

// ListGateways implements adminv1connect.GatewayServiceHandler.
func (s gateways) ListGateways(ctx context.Context, req *adminv1.ListGatewaysRequest) (*adminv1.ListGatewaysResponse, error) {
	page, next, err := list[*resourcev1.Gateway](ctx, s.api, catalog.KindGateway, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.ListGatewaysResponse{Gateways: page, NextPageToken: next}, nil
}

// UpdateGateway implements adminv1connect.GatewayServiceHandler.
func (s gateways) UpdateGateway(ctx context.Context, req *adminv1.UpdateGatewayRequest) (*adminv1.UpdateGatewayResponse, error) {
	m, rev, err := update(ctx, s.api, req.GetGateway(), req.GetUpdateMask(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UpdateGatewayResponse{Gateway: m, Revision: rev}, nil
}

// DeleteGateway implements adminv1connect.GatewayServiceHandler.
func (s gateways) DeleteGateway(ctx context.Context, req *adminv1.DeleteGatewayRequest) (*adminv1.DeleteGatewayResponse, error) {
	rev, err := remove(ctx, s.api, catalog.KindGateway, req)
	if err != nil {
		return nil, err
	}
	return &adminv1.DeleteGatewayResponse{Revision: rev}, nil
}

// UndeleteGateway implements adminv1connect.GatewayServiceHandler.
func (s gateways) UndeleteGateway(ctx context.Context, req *adminv1.UndeleteGatewayRequest) (*adminv1.UndeleteGatewayResponse, error) {
	m, rev, err := undelete[*resourcev1.Gateway](ctx, s.api, catalog.KindGateway, req.GetName(), req.GetValidateOnly())
	if err != nil {
		return nil, err
	}
	return &adminv1.UndeleteGatewayResponse{Gateway: m, Revision: rev}, nil
}

// GetConnectInstructions implements adminv1connect.GatewayServiceHandler (G-70).
func (s gateways) GetConnectInstructions(ctx context.Context, req *adminv1.GetConnectInstructionsRequest) (*adminv1.GetConnectInstructionsResponse, error) {
	g, err := get[*resourcev1.Gateway](ctx, s.api, catalog.KindGateway, req.GetGateway())
	if err != nil {
		return nil, err
	}
	url := g.GetStatus().GetUrl()
	if url == "" {
		return nil, fault.New(fault.Precondition, "GATEWAY_URL_UNKNOWN",
			"The control plane does not know under which URL its gateways are reached; set its public MCP URL.")
	}
	of := instructions.Gateway{
		Name: g.GetName(), Title: g.GetDisplayName(), URL: url,
		// Clients find an identity provider as they find the authserver: in the gateway's metadata.
		OAuth:       g.GetAuthentication().GetOauth() != nil || len(g.GetAuthentication().GetJwks().GetIssuers()) > 0,
		BearerToken: g.GetAuthentication().GetBearerToken() != nil,
	}
	if !of.OAuth && !of.BearerToken && g.GetAuthentication().GetIdJag() != nil {
		return nil, fault.Newf(fault.Precondition, "GATEWAY_MANAGED_BY_PROVIDER",
			"Gateway %s takes identity assertions only: whoever manages the identity provider connects clients to %s; set authentication: {oauth: {}} to let people do it.",
			g.GetName(), url)
	}
	if !of.OAuth && !of.BearerToken {
		return nil, fault.Newf(fault.Precondition, "GATEWAY_WITHOUT_AUTHENTICATION",
			"Gateway %s admits no client; set authentication: {oauth: {}} or {bearer_token: {}} on it.", g.GetName())
	}
	written, err := instructions.Instructions(of, req.GetClient())
	if err != nil {
		return nil, err
	}
	res := &adminv1.GetConnectInstructionsResponse{Url: url, TokenRequired: !of.OAuth}
	for _, i := range written {
		res.Instructions = append(res.Instructions, &adminv1.ConnectInstruction{
			Client: i.Client, Title: i.Title, Steps: i.Steps, Format: i.Format, File: i.File, Content: i.Content, Transport: i.Transport,
		})
	}
	return res, nil
}
