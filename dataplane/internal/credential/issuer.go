// SPDX-License-Identifier: Apache-2.0

package credential

import (
	"context"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
)

// Issuer returns the public documents of the authserver: its issuer identifier, its metadata (RFC 8414) byte for byte, and
// its JSON Web Key Set. The fault is as that of [Client.Resolve].
func (c *Client) Issuer(ctx context.Context) (issuer string, metadata, jwks []byte, err error) {
	ctx, stop := context.WithTimeout(ctx, fetchTimeout)
	defer stop()
	r, err := c.remote.GetIssuer(ctx, &credentialv1.GetIssuerRequest{})
	if err != nil {
		return "", nil, nil, toFault(err)
	}
	return r.GetIssuer(), r.GetMetadata(), r.GetJwks(), nil
}
