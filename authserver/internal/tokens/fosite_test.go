// SPDX-License-Identifier: Apache-2.0

package tokens

import (
	"errors"
	"strings"
	"testing"

	"github.com/ory/fosite"

	"github.com/penstockhq/penstock/authserver/internal/oauthfault"
)

// fosite's hints, debug texts and causes quote requests and stores: none of it is told (auth.md §17).
func TestErrorsOfFosite(t *testing.T) {
	const canary = "canary-7d1e"
	for _, tc := range []struct {
		err  error
		want oauthfault.Code
	}{
		{fosite.ErrInvalidRequest, oauthfault.InvalidRequest},
		{fosite.ErrInvalidGrant, oauthfault.InvalidGrant},
		{fosite.ErrInvalidClient, oauthfault.InvalidClient},
		{fosite.ErrServerError, oauthfault.ServerError},
		{fosite.ErrSerializationFailure, oauthfault.ServerError},
		{fosite.ErrNotFound, oauthfault.ServerError},
		{fosite.ErrInactiveToken, oauthfault.ServerError},
	} {
		theirs := fosite.ErrorToRFC6749Error(tc.err).WithHint(canary).WithDebug(canary).WithWrap(errors.New(canary))
		got := oauthfault.From(asOurs(theirs))
		if got.Code != tc.want || strings.Contains(got.Description, canary) {
			t.Errorf("%v: %s, %q", tc.err, got.Code, got.Description)
		}
	}
	if got := oauthfault.From(asOurs(errors.New(canary))); got.Code != oauthfault.ServerError || strings.Contains(got.Description, canary) {
		t.Errorf("an unknown error is %s, %q", got.Code, got.Description)
	}
	ours := oauthfault.New(oauthfault.InvalidTarget, "x")
	if got := oauthfault.From(asOurs(ours)); got != ours {
		t.Error("an error of ours is changed")
	}
}
