// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
	"github.com/penstockhq/penstock/sdk/admin"
)

// Withdraw deletes what Publish or Protect made under that name, or some of it if that failed half way. It returns when the node
// has let go of the server.
func (p *Penstock) Withdraw(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var wrong []error
	deleted := func(err error) {
		if err != nil && !admin.IsNotFound(err) {
			wrong = append(wrong, err)
		}
	}
	// What refers to others goes first.
	_, err := p.admin.BearerTokens.DeleteBearerToken(ctx, &adminv1.DeleteBearerTokenRequest{Name: name})
	deleted(err)
	_, err = p.admin.Gateways.DeleteGateway(ctx, &adminv1.DeleteGatewayRequest{Name: name})
	deleted(err)
	listed, err := p.admin.Connections.ListConnections(ctx, &adminv1.ListConnectionsRequest{Filter: fmt.Sprintf("server = %q", name)})
	deleted(err)
	for _, c := range listed.GetConnections() { // people may have made some for themselves
		_, err = p.admin.Connections.DeleteConnection(ctx, &adminv1.DeleteConnectionRequest{Name: c.GetName()})
		deleted(err)
	}
	last, err := p.admin.Servers.DeleteServer(ctx, &adminv1.DeleteServerRequest{Name: name})
	deleted(err)
	_, gone := p.admin.IdentityProviders.DeleteIdentityProvider(ctx, &adminv1.DeleteIdentityProviderRequest{Name: name})
	deleted(gone)
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	if err != nil {
		return nil // there was no server
	}
	_, err = p.admin.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{
		Revision: last.GetRevision(), Timeout: durationpb.New(patience),
	})
	if err != nil {
		return fmt.Errorf("wait until %s is gone: %w", name, err)
	}
	return nil
}
