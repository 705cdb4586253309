// SPDX-License-Identifier: Apache-2.0

package directory_test

import (
	"context"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	directoryv1 "github.com/penstockhq/penstock/proto/gen/penstock/directory/v1"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// TestProviderOf: a SCIM token is that of the provider which has its hash, while it is not disabled.
func TestProviderOf(t *testing.T) {
	f, _ := organization(t)
	if p := f.View().ProviderOf([32]byte{}); p == nil || p.Name != "okta" {
		t.Errorf("got %+v", p)
	}
	if p := f.View().ProviderOf([32]byte{1}); p != nil {
		t.Errorf("a hash of nobody is that of %+v", p)
	}
	off := directory.NewView(directory.Content{Providers: []*directory.Provider{{Name: "off", Disabled: true, ScimTokens: [][32]byte{{2}}}}})
	if p := off.ProviderOf([32]byte{2}); p != nil {
		t.Errorf("a hash of a provider that is off is that of %+v", p)
	}
}

// refusing is a control plane that answers with one error.
type refusing struct {
	directoryv1.DirectoryServiceClient
	err error
}

func (r refusing) ProvisionUser(context.Context, *directoryv1.ProvisionUserRequest, ...grpc.CallOption) (*directoryv1.ProvisionUserResponse, error) {
	return nil, r.err
}

// TestProvisionFaults: what the control plane refuses keeps its reason; what its contract refuses says nothing of its fields.
func TestProvisionFaults(t *testing.T) {
	with := func(code codes.Code, reason string) error {
		s, err := status.New(code, "text").WithDetails(&errdetails.ErrorInfo{Reason: reason})
		if err != nil {
			t.Fatal(err)
		}
		return s.Err()
	}
	for _, tt := range []struct {
		err    error
		kind   fault.Kind
		reason string
		text   string
	}{
		{with(codes.AlreadyExists, "PROVISIONING_CONFLICT"), fault.AlreadyExists, "PROVISIONING_CONFLICT", "text"},
		{with(codes.NotFound, "RESOURCE_NOT_FOUND"), fault.NotFound, "RESOURCE_NOT_FOUND", "text"},
		{with(codes.Aborted, "ETAG_STALE"), fault.Conflict, "ETAG_STALE", "text"},
		{with(codes.FailedPrecondition, "LAST_ADMIN"), fault.Precondition, "LAST_ADMIN", "text"},
		{with(codes.PermissionDenied, "PROVISIONING_NOT_ALLOWED"), fault.Denied, "PROVISIONING_NOT_ALLOWED", "text"},
		{with(codes.InvalidArgument, "PROVISIONING_REFUSED"), fault.Invalid, "PROVISIONING_REFUSED", "text"},
		{status.Error(codes.InvalidArgument, "user_name: too long"), fault.Invalid, "PROVISIONING_REFUSED", "A value is too long, or not of the form it must have."},
		{status.Error(codes.Unavailable, "x"), fault.Unavailable, "CONTROL_PLANE_UNAVAILABLE", "The control plane cannot be reached."},
		{status.Error(codes.Internal, "x"), fault.Bug, "INTERNAL", ""},
	} {
		_, _, err := directory.NewRemote(refusing{err: tt.err}).PutUser(t.Context(), "okta", directory.Provisioned{UserName: "x"})
		f := fault.From(err)
		if f.Kind != tt.kind || f.Reason != tt.reason || tt.text != "" && f.Public != tt.text {
			t.Errorf("%v: got %v %s %q", tt.err, f.Kind, f.Reason, f.Public)
		}
	}
}
