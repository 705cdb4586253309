// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"testing"

	"github.com/penstockhq/penstock/sdk/kit/fault"
	"github.com/penstockhq/penstock/sdk/kit/obs"
)

// What opens addresses for requests to identity providers (auth.md JW-6, CIMD-5), and what cannot be read, by its setting.
func TestEgressSettings(t *testing.T) {
	for _, tt := range []struct {
		name  string
		allow []string
		ok    bool
	}{
		{"nothing", nil, true},
		{"networks of a host", []string{"idp.internal=10.1.0.0/16", "idp.internal=fd00::/8"}, true},
		{"no network", []string{"idp.internal"}, false},
		{"an address", []string{"idp.internal=10.1.0.1"}, false},
		{"no host", []string{"=10.1.0.0/16"}, false},
	} {
		e := EgressSettings{Allow: tt.allow, AllowLoopback: true}
		p, problem := e.policy()
		if (problem == "") != tt.ok || !p.AllowLoopback || p.AllowPrivate || tt.ok && len(p.Exceptions) != len(tt.allow) {
			t.Errorf("%s: %+v, %q", tt.name, p, problem)
		}
		for i, x := range p.Exceptions {
			if x.Host != "idp.internal" || x.Port != 0 || len(x.Prefixes) != 1 || x.Prefixes[0] != netip.MustParsePrefix(tt.allow[i][len("idp.internal="):]) {
				t.Errorf("%s: %+v", tt.name, x)
			}
		}
		c := Config{Settings: Settings{Egress: e}, Telemetry: &obs.Telemetry{}}
		found := false
		for _, field := range fault.From(c.validate()).Fields {
			found = found || field.Path == "egress.allow"
		}
		if found == tt.ok {
			t.Errorf("%s: refused is %v", tt.name, found)
		}
	}
}
