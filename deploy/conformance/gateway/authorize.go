// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/rand"
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/penstockhq/penstock/proto/gen/penstock/admin/v1"
)

// Authorization is what a client and a person need to log in.
type Authorization struct {
	Issuer, ClientID, Resource string
	Email, Password            string
}

// Authorize makes a gateway that takes OAuth, a registered public client with one redirect URI, and somebody who may use
// the gateway. It returns when that is enforced.
func (p *Penstock) Authorize(ctx context.Context, redirectURI string) (Authorization, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	const name = "authorization"
	a := Authorization{
		Issuer: p.issuer, ClientID: name, Resource: p.mcp + "/v1/mcp/" + name, Email: "person@penstock.test", Password: rand.Text(),
	}
	err := p.apply(ctx, fmt.Sprintf(`
kind: User
name: %[2]s
---
kind: OAuthClient
name: %[1]s
display_name: Conformance suite
redirect_uris: [%[3]q]
---
kind: Gateway
name: %[1]s
visibility: {organization: {}}
authentication: {oauth: {}}
`, name, a.Email, redirectURI))
	if err != nil {
		return a, fmt.Errorf("make a gateway for OAuth: %w", err)
	}
	if _, err := p.admin.Users.SetUserPassword(ctx, &adminv1.SetUserPasswordRequest{Name: a.Email, Password: a.Password}); err != nil {
		return a, fmt.Errorf("set the password: %w", err)
	}
	if _, err := p.admin.Configuration.WaitEnforced(ctx, &adminv1.WaitEnforcedRequest{Timeout: durationpb.New(patience)}); err != nil {
		return a, fmt.Errorf("wait for the gateway: %w", err)
	}
	return a, nil
}
