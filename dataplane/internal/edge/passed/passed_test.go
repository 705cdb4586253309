// SPDX-License-Identifier: Apache-2.0

package passed_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstockhq/penstock/dataplane/internal/edge/passed"
	"github.com/penstockhq/penstock/sdk/kit/ident"
)

// TestOf is G-40 and RS-13 for one request.
func TestOf(t *testing.T) {
	static, _ := ident.MintBearer(ident.KindUser)
	refresh, _ := ident.MintSecret("psr_")
	list := []string{"X-Tenant", "X-Trace", "Baggage"}
	for _, tc := range []struct {
		name string
		sent []string // name, value
		want http.Header
	}{
		{"nothing", nil, nil},
		{"others are dropped (G-40)", []string{"X-Other", "a", "Cookie", "b"}, nil},
		{"any case (G-40)", []string{"x-TENANT", "a", "X-trace", "b"}, http.Header{"X-Tenant": {"a"}, "X-Trace": {"b"}}},
		{"several values (G-40)", []string{"x-tenant", "a", "X-Tenant", "b, c", "X-TENANT", ""}, http.Header{"X-Tenant": {"a, b, c, "}}},
		{"empty", []string{"X-Tenant", ""}, http.Header{"X-Tenant": {""}}},
		{"of the connection (RFC 9110 7.6.1)", []string{"X-Tenant", "a", "X-Trace", "b", "Connection", "keep-alive, x-tenant"}, http.Header{"X-Trace": {"b"}}},
		{"static token (RS-13)", []string{"X-Tenant", "t=" + static + ";", "X-Trace", "b"}, http.Header{"X-Trace": {"b"}}},
		{"one of the values is a token (RS-13)", []string{"X-Tenant", "a", "X-Tenant", static}, nil},
		{"refresh token (RS-13)", []string{"X-Tenant", refresh}, nil},
		{"the caller's token (RS-13)", []string{"X-Tenant", "v1 eyJ.a.b", "X-Trace", "eyJ.a", "Authorization", "Bearer eyJ.a.b"}, http.Header{"X-Trace": {"eyJ.a"}}},
		{"no token", []string{"X-Tenant", "psr_" + strings.Repeat("x", 48), "Authorization", "Bearer"}, http.Header{"X-Tenant": {"psr_" + strings.Repeat("x", 48)}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := make(http.Header)
			for i := 0; i < len(tc.sent); i += 2 {
				h.Add(tc.sent[i], tc.sent[i+1])
			}
			before := h.Clone()
			if d := cmp.Diff(tc.want, passed.Of(h, list)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(before, h); d != "" {
				t.Errorf("the request was changed:\n%s", d)
			}
		})
	}
}
