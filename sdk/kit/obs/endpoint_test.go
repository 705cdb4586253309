// SPDX-License-Identifier: Apache-2.0

package obs

import "testing"

func TestParseEndpoint(t *testing.T) {
	for _, tc := range []struct {
		name, raw, base, address string
		secure                   bool
	}{
		{"off", "", "", "", false},
		{"host and port", "collector:4317", "", "collector:4317", false},
		{"IPv6", "[::1]:4317", "", "[::1]:4317", false},
		{"gRPC over TLS", "grpcs://collector:4317", "", "collector:4317", true},
		{"HTTP", "http://collector:4318", "http://collector:4318", "", false},
		{"HTTPS with a base path", "https://collector/otlp/", "https://collector/otlp/", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := parseEndpoint(tc.raw)
			if err != nil {
				t.Fatal(err)
			}
			base := ""
			if e.base != nil {
				base = e.base.String()
			}
			if base != tc.base || e.address != tc.address || e.secure != tc.secure || e.off() != (tc.raw == "") {
				t.Errorf("got %+v", e)
			}
		})
	}
}
