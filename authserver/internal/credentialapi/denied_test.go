// SPDX-License-Identifier: Apache-2.0

package credentialapi_test

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/authserver/internal/credentialapi"
	"github.com/penstockhq/penstock/authserver/internal/store"
	"github.com/penstockhq/penstock/authserver/internal/vault"
	credentialv1 "github.com/penstockhq/penstock/proto/gen/penstock/credential/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// D-81, D-85: who is banned gets nothing and changes nothing, what is out of scope is not looked up, and both are audited.
func TestDenied(t *testing.T) {
	b := newBench(t)
	b.vault.secrets["c1 v_1"] = vault.Secret{}
	b.people.refuse["c1"] = fault.New(fault.Denied, "CONNECTION_OUT_OF_SCOPE", "No.")
	node, controlPlane := b.as(t, ident.RoleNode), b.as(t, ident.RoleControlPlane)
	resolve := func() error {
		_, err := node.Resolve(t.Context(), &credentialv1.ResolveRequest{ConnectionUid: "c1", Version: "v_1"})
		return err
	}
	wantError(t, resolve(), connect.CodePermissionDenied, "CONNECTION_OUT_OF_SCOPE")
	delete(b.people.refuse, "c1")
	must(t, resolve())
	b.people.banned["the-node"], b.people.banned["the-controlplane"] = true, true
	wantError(t, resolve(), connect.CodePermissionDenied, credentialapi.ReasonBanned)
	_, err := node.GetIssuer(t.Context(), &credentialv1.GetIssuerRequest{})
	wantError(t, err, connect.CodePermissionDenied, credentialapi.ReasonBanned)
	_, err = controlPlane.PutSecret(t.Context(), putRequest())
	wantError(t, err, connect.CodePermissionDenied, credentialapi.ReasonBanned)
	_, err = controlPlane.DeleteSecrets(t.Context(), &credentialv1.DeleteSecretsRequest{ConnectionUid: "c1"})
	wantError(t, err, connect.CodePermissionDenied, credentialapi.ReasonBanned)
	if len(b.vault.secrets) != 1 {
		t.Error("a banned control plane changed something")
	}
	event := func(role, target, reason string) store.Event {
		return store.Event{
			Time: b.now, ActorType: role, Actor: "spiffe://example.org/region/eu/" + role + "/the-" + role, Action: "access.denied",
			Target: target, Result: "refused", Reason: reason,
		}
	}
	want := []store.Event{
		event("node", "c1", "CONNECTION_OUT_OF_SCOPE"), event("node", "c1", "WORKLOAD_BANNED"), event("node", "", "WORKLOAD_BANNED"),
		event("controlplane", "c1", "WORKLOAD_BANNED"), event("controlplane", "c1", "WORKLOAD_BANNED"),
	}
	if diff := cmp.Diff(want, b.people.denials); diff != "" {
		t.Errorf("audit (-want +got):\n%s", diff)
	}
}
