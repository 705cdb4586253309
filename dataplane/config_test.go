// SPDX-License-Identifier: Apache-2.0

package dataplane

import (
	"net/netip"
	"slices"
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

// What the audit can be told, and what is refused, by its setting (G-60).
func TestAuditSettings(t *testing.T) {
	const least = 64 << 10
	for _, tt := range []struct {
		name    string
		a       AuditSettings
		refused []string
	}{
		{"nothing", AuditSettings{}, nil},
		{"drop", AuditSettings{Full: "drop", MaxBytes: least}, nil},
		{"block, with a file", AuditSettings{Full: "block", MaxBytes: least, File: "x", FileSize: least}, nil},
		{"another word", AuditSettings{Full: "wait", MaxBytes: least}, []string{"audit.full"}},
		{"too small", AuditSettings{Full: "drop", MaxBytes: least - 1}, []string{"audit.max_bytes"}},
		{"a file that is too small", AuditSettings{Full: "drop", MaxBytes: least, File: "x", FileSize: least - 1}, []string{"audit.file_size"}},
	} {
		var got []string
		for _, field := range tt.a.problems(fault.New(fault.Invalid, ReasonConfig, "")).Fields {
			got = append(got, field.Path)
		}
		if !slices.Equal(got, tt.refused) {
			t.Errorf("%s: refused %v, want %v", tt.name, got, tt.refused)
		}
	}
	if a := (AuditSettings{}).orDefault(); a.Full != "drop" || a.MaxBytes != 256<<20 {
		t.Errorf("by default: %+v", a)
	}
}
