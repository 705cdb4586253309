// SPDX-License-Identifier: Apache-2.0

package credentialapi_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

func TestSetPassword(t *testing.T) {
	b := newBench(t)
	c := b.as(t, ident.RoleControlPlane)
	_, err := c.SetPassword(t.Context(), &credentialv1.SetPasswordRequest{UserUid: "u1", Password: canary})
	must(t, err)
	if b.house.passwords["u1"] != canary {
		t.Error("the password did not arrive")
	}
	_, err = c.SetPassword(t.Context(), &credentialv1.SetPasswordRequest{UserUid: "u1", Password: "short"})
	wantError(t, err, connect.CodeInvalidArgument, "PASSWORD_INVALID")
	noCanary(t, "the answer", err.Error())
	noCanary(t, "the log", b.log.String())
	if strings.Contains(b.log.String(), `"u1"`) || !strings.Contains(b.log.String(), `"method":"set_password"`) {
		t.Errorf("the audit line: %s", b.log)
	}
}

func TestGetIssuer(t *testing.T) {
	b := newBench(t)
	got, err := b.as(t, ident.RoleNode).GetIssuer(t.Context(), &credentialv1.GetIssuerRequest{})
	must(t, err)
	want := &credentialv1.GetIssuerResponse{
		Issuer: "https://auth.example.com", Metadata: []byte(`{"issuer":"https://auth.example.com"}`), Jwks: []byte(`{"keys":[]}`),
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if b.log.Len() > 0 {
		t.Errorf("what nodes ask for every minute is logged: %s", b.log)
	}
}

// The secret of an OAuth client takes the same way as headers.
func TestPutClientSecret(t *testing.T) {
	b := newBench(t)
	_, err := b.as(t, ident.RoleControlPlane).PutSecret(t.Context(), &credentialv1.PutSecretRequest{
		ConnectionUid: "idp1", Secret: &credentialv1.StaticSecret{ClientSecret: canary},
	})
	must(t, err)
	if got := b.vault.secrets["idp1 v_1"].ClientSecret.Reveal(); got != canary {
		t.Errorf("stored %q", got)
	}
}
