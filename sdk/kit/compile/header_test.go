// SPDX-License-Identifier: Apache-2.0

package compile_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	resourcev1 "github.com/penstockhq/penstock/proto/gen/penstock/resource/v1"
	"github.com/penstockhq/penstock/sdk/kit/compile"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// A node reads the list in the form of net/http, and takes none that it would not keep to (G-40, G-41).
func TestPassedHeaders(t *testing.T) {
	for _, tc := range []struct {
		name   string
		listed []string
		want   []string
		reason string
	}{
		{"none", nil, nil, ""},
		{"in canonical form (G-40)", []string{"x-tenant-id", "baggage", "x_odd"}, []string{"X-Tenant-Id", "Baggage", "X_odd"}, ""},
		{"one that is never handed on (G-41)", []string{"x-a", "Authorization"}, nil, "UNKNOWN_PASSTHROUGH_HEADER"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g, err := compile.MakeGateway(&resourcev1.Gateway{
				Visibility: &resourcev1.Visibility{Kind: &resourcev1.Visibility_Organization{}}, PassthroughHeaders: tc.listed,
			})
			if tc.reason != "" {
				if fault.From(err).Reason != tc.reason {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, g.PassedHeaders); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
