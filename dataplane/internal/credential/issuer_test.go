// SPDX-License-Identifier: Apache-2.0

package credential_test

import (
	"context"
	"errors"
	"testing"

	"connectrpc.com/connect"

	"github.com/penstockhq/penstock/dataplane/internal/credential"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// GetIssuer implements credentialv1connect.CredentialServiceHandler.
func (a *authserver) GetIssuer(context.Context, *credentialv1.GetIssuerRequest) (*credentialv1.GetIssuerResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fail != nil {
		return nil, a.fail
	}
	return &credentialv1.GetIssuerResponse{Issuer: "https://auth.example.com", Metadata: []byte("m \n"), Jwks: []byte("k")}, nil
}

func TestIssuer(t *testing.T) {
	bubble(t, 0, func(t *testing.T, b *bench) {
		issuer, metadata, jwks, err := b.Issuer(t.Context())
		if issuer != "https://auth.example.com" || string(metadata) != "m \n" || string(jwks) != "k" || err != nil {
			t.Errorf("%s %q %q %v", issuer, metadata, jwks, err)
		}
		b.server.set(func(a *authserver) { a.fail = connect.NewError(connect.CodeUnimplemented, errors.New("old")) })
		if _, _, _, err := b.Issuer(t.Context()); fault.From(err).Reason != credential.ReasonUnavailable {
			t.Errorf("got %v", err)
		}
	})
}
