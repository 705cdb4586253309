// SPDX-License-Identifier: Apache-2.0

package login

import (
	"context"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
)

// Signed returns the claims of an identity assertion of a provider; see [federation.Party.Signed]. It implements
// idjag.Providers.
func (l *Login) Signed(ctx context.Context, idp *directory.Provider, compact string) (claims []byte, err error) {
	return l.party.Signed(ctx, idp, compact)
}

// Asserted returns the uid of the user whom verified claims of an identity assertion tell of (JAG-12): of whoever has the
// account, else of whom the control plane links or makes, as at a login. Faults: Denied, with the reason of federation or of
// the control plane; Unavailable.
func (l *Login) Asserted(ctx context.Context, view *directory.View, idp *directory.Provider, claims []byte) (uid string, err error) {
	account, err := federation.Asserted(idp, claims)
	if err != nil {
		return "", err
	}
	return l.userOf(ctx, view, idp, account)
}
