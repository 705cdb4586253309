// SPDX-License-Identifier: Apache-2.0

package federation_test

import (
	"strings"
	"testing"

	"github.com/penstockhq/penstock/authserver/internal/directory"
	"github.com/penstockhq/penstock/authserver/internal/login/federation"
	"github.com/penstockhq/penstock/authserver/internal/login/loginfake"
)

// JAG-2: whose signature an assertion has, by the keys that the provider's own document names. Keys that cannot be had say
// nothing about it, and those that are known serve while the provider is away.
func TestSigned(t *testing.T) {
	metadata := func(name string, value any) loginfake.Behavior {
		return loginfake.Behavior{Metadata: func(m map[string]any) { m[name] = value }}
	}
	for _, tc := range []struct {
		name     string
		behavior func(*loginfake.Provider) loginfake.Behavior
		sign     loginfake.Signature
		algs     []string
		reason   string
	}{
		{name: "good"},
		{name: "another key", sign: loginfake.Foreign, reason: "SIGNATURE_INVALID"},
		{name: "another form", sign: loginfake.DER, reason: "SIGNATURE_INVALID"},
		{name: "algorithm that is not allowed", algs: []string{"RS256"}, reason: "SIGNATURE_INVALID"},
		{name: "keys away", behavior: func(p *loginfake.Provider) loginfake.Behavior {
			return metadata("jwks_uri", p.Issuer+"/nothing")
		}, reason: "PROVIDER_UNREACHABLE"},
		{name: "document of another issuer", behavior: func(*loginfake.Provider) loginfake.Behavior {
			return metadata("issuer", "https://evil.example")
		}, reason: "ISSUER_MISMATCH"},
		{name: "plain keys elsewhere", behavior: func(*loginfake.Provider) loginfake.Behavior {
			return metadata("jwks_uri", "http://idp.example/jwks")
		}, reason: "PROVIDER_DOCUMENT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := loginfake.New(t)
			if tc.behavior != nil {
				p.Set(tc.behavior(p))
			}
			if tc.algs == nil {
				tc.algs = []string{"ES256"}
			}
			idp := &directory.Provider{Issuer: p.Issuer, IDJAG: &directory.Trust{Algorithms: tc.algs}}
			party := newParty(t, federation.Config{})
			assertion := p.Assertion(nil, map[string]any{"aud": "https://auth.example.com"}, tc.sign)
			claims, err := party.Signed(t.Context(), idp, assertion)
			if reason(err) != tc.reason || (err == nil) != strings.Contains(string(claims), `"sub":"sub-1"`) {
				t.Fatalf("%s, %v", claims, err)
			}
			if err != nil && strings.Contains(err.Error(), assertion) {
				t.Error("the error has the assertion")
			}
			if tc.reason != "" {
				return
			}
			p.Lock()
			p.Down = true
			p.Unlock()
			if _, err := party.Signed(t.Context(), idp, assertion); err != nil {
				t.Errorf("with the provider away: %v", err)
			}
			if _, err := party.Signed(t.Context(), idp, p.Assertion(nil, nil, loginfake.Foreign)); reason(err) != "PROVIDER_UNREACHABLE" {
				t.Errorf("another key, with the provider away: %v", err)
			}
		})
	}
}
