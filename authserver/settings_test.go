// SPDX-License-Identifier: Apache-2.0

package authserver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/penstockhq/penstock/authserver"
	"github.com/penstockhq/penstock/sdk/kit/conf"
	"github.com/penstockhq/penstock/sdk/kit/fault"
)

// enough returns the defaults and what has none.
func enough(t *testing.T) authserver.Settings {
	t.Helper()
	s := authserver.Settings{Database: "sqlite:///a"}
	s.Vault.Keyset, s.Data.Dir = "/k", "/d"
	s.TLS = authserver.TLSSettings{Cert: "/c", Key: "/k", CA: "/a"}
	_, err := conf.Load(conf.Program{Name: "authserver"}, &s)
	must(t, err)
	return s
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*authserver.Settings)
		want string // refused fields
	}{
		{"nothing set", func(s *authserver.Settings) { *s = authserver.Settings{} }, "vault.keyset database data.dir issuer gateways.url " +
			"control_plane.endpoints oauth.access_token_life oauth.refresh_idle"},
		{"enough", func(*authserver.Settings) {}, ""},
		{"listening without certificates", func(s *authserver.Settings) { s.TLS = authserver.TLSSettings{} }, "tls.cert tls.key tls.ca tls.trust_domain"},
		{"negative drain", func(s *authserver.Settings) { s.Shutdown.Drain = -1 }, "shutdown.drain"},
		{"only rotating", func(s *authserver.Settings) {
			*s = authserver.Settings{Vault: authserver.VaultSettings{Keyset: "/k", Rotate: true}}
			s.Credential.Listen = "x"
		}, ""},
		{"no data folder", func(s *authserver.Settings) { s.Data.Dir = "" }, "data.dir"},
		{"no control plane", func(s *authserver.Settings) { s.ControlPlane.Endpoints = nil }, "control_plane.endpoints"},
		{"gateways with a slash", func(s *authserver.Settings) { s.Gateways.URL = "https://gw.example.com/" }, ""},
		{"gateways without a scheme", func(s *authserver.Settings) { s.Gateways.URL = "gw.example.com" }, "gateways.url"},
		{"gateways over another scheme", func(s *authserver.Settings) { s.Gateways.URL = "ftp://gw.example.com" }, "gateways.url"},
		{"gateways with a path", func(s *authserver.Settings) { s.Gateways.URL = "https://gw.example.com/v1" }, "gateways.url"},
		{"proxies", func(s *authserver.Settings) { s.Public.TrustedProxies = []string{"10.0.0.0/8", "fd00::/8"} }, ""},
		{"proxy that is no network", func(s *authserver.Settings) { s.Public.TrustedProxies = []string{"10.0.0.0/8", "10.0.0.1"} }, "public.trusted_proxies"},
		{"exceptions", func(s *authserver.Settings) { s.Egress.Allow = []string{"idp.internal=10.1.0.0/16"} }, ""},
		{"exception without a host", func(s *authserver.Settings) { s.Egress.Allow = []string{"=10.1.0.0/16"} }, "egress.allow"},
		{"exception without a network", func(s *authserver.Settings) { s.Egress.Allow = []string{"idp.internal"} }, "egress.allow"},
		{"exception with an address", func(s *authserver.Settings) { s.Egress.Allow = []string{"idp.internal=10.1.0.1"} }, "egress.allow"},
		// TK-6: clients exchange tokens five minutes before their end.
		{"access tokens of 5 minutes", func(s *authserver.Settings) { s.OAuth.AccessTokenLife = 5 * time.Minute }, "oauth.access_token_life"},
		{"access tokens of more", func(s *authserver.Settings) { s.OAuth.AccessTokenLife = 5*time.Minute + time.Second }, ""},
		{"access tokens of an hour", func(s *authserver.Settings) { s.OAuth.AccessTokenLife = time.Hour }, ""},
		{"access tokens of more than an hour", func(s *authserver.Settings) { s.OAuth.AccessTokenLife = time.Hour + time.Second }, "oauth.access_token_life"},
		{"refresh tokens that never idle", func(s *authserver.Settings) { s.OAuth.RefreshIdle = 0 }, "oauth.refresh_idle"},
		{"refresh tokens that idle for longer than they live", func(s *authserver.Settings) { s.OAuth.RefreshIdle = 91 * 24 * time.Hour }, "oauth.refresh_idle"},
		{"no grace", func(s *authserver.Settings) { s.OAuth.RefreshGrace = 0 }, ""},
		{"grace of 300 s", func(s *authserver.Settings) { s.OAuth.RefreshGrace = 300 * time.Second }, ""},
		{"more grace", func(s *authserver.Settings) { s.OAuth.RefreshGrace = 301 * time.Second }, "oauth.refresh_grace"},
		{"negative grace", func(s *authserver.Settings) { s.OAuth.RefreshGrace = -1 }, "oauth.refresh_grace"},
		{"registration with a token that is not set", func(s *authserver.Settings) { s.OAuth.DCR = "initial_access_token" }, "oauth.initial_access_token"},
		{"registration with a token", func(s *authserver.Settings) {
			s.OAuth.DCR, s.OAuth.InitialAccessToken = "initial_access_token", "correct horse"
		}, ""},
		{"documents of nobody", func(s *authserver.Settings) { s.OAuth.CIMD = "allow_listed" }, "oauth.cimd_allow"},
		{"documents of somebody", func(s *authserver.Settings) { s.OAuth.CIMD, s.OAuth.CIMDAllow = "allow_listed", []string{"vscode.dev"} }, ""},
		{"redirects to a script", func(s *authserver.Settings) { s.OAuth.PrivateRedirects = []string{"javascript:alert(1)"} }, "oauth.private_use_redirects"},
		{"redirects to an application", func(s *authserver.Settings) { s.OAuth.PrivateRedirects = []string{"com.example.app:/callback"} }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := enough(t)
			c.edit(&s)
			refused(t, s, c.want)
		})
	}
	if _, err := authserver.New(authserver.Config{}); err == nil {
		t.Error("a server without telemetry was made")
	}
}

// TestIssuer is AS-2, AS-3 and AS-17: what is not the same to every client, or not safe, is no issuer.
func TestIssuer(t *testing.T) {
	for issuer, says := range map[string]string{
		"https://auth.example.com":              "",
		"https://auth.example.com:8443":         "",
		"https://example.com/auth":              "",
		"http://127.0.0.1:8083":                 "",
		"http://127.8.8.8":                      "",
		"http://[::1]:8083":                     "",
		"http://localhost:8083":                 "",
		"":                                      "is no URL",
		"auth.example.com":                      "is no URL",
		"https:auth.example.com":                "is no URL",
		"https://":                              "is no URL",
		"https://me@auth.example.com":           "is no URL",
		"https://auth.example.com\n":            "is no URL",
		"https://auth.example.com?tenant=a":     "has a query",
		"https://auth.example.com?":             "has a query",
		"https://auth.example.com#a":            "fragment",
		"https://auth.example.com#":             "fragment",
		"https://auth.example.com/":             "ends with a slash",
		"https://example.com/auth/":             "ends with a slash",
		"https://Auth.example.com":              "not in its plain form",
		"HTTPS://auth.example.com":              "not in its plain form",
		"https://example.com/a b":               "not in its plain form",
		"http://auth.example.com":               "is http and not on this machine",
		"http://10.0.0.1:8083":                  "is http and not on this machine",
		"http://0.0.0.0:8083":                   "is http and not on this machine",
		"http://localhost.example.com":          "is http and not on this machine",
		"http://127.0.0.1.example.com":          "is http and not on this machine",
		"ftp://auth.example.com":                "is neither http nor https",
		"javascript://auth.example.com/%0aevil": "is neither http nor https",
	} {
		s := enough(t)
		s.Issuer = issuer
		if says == "" {
			refused(t, s, "")
			continue
		}
		if problem := refused(t, s, "issuer"); !strings.Contains(problem, says) {
			t.Errorf("%q is refused with %q, want %q", issuer, problem, says)
		}
	}
}

// refused checks which fields are refused and returns what is said about the first.
func refused(t *testing.T, s authserver.Settings, want string) (problem string) {
	t.Helper()
	err := s.Validate()
	if want == "" {
		must(t, err)
		return ""
	}
	f := fault.From(err)
	if f == nil || f.Kind != fault.Invalid || f.Reason != authserver.ReasonConfig {
		t.Fatalf("error is %v", err)
	}
	var got []string
	for _, field := range f.Fields {
		got = append(got, field.Path)
	}
	if strings.Join(got, " ") != want {
		t.Errorf("refused are %v, want %s", got, want)
	}
	return f.Fields[0].Problem
}
